// What an operation that is under way waits for, who is in its way, and what can be done about it.
import { Alert, List, Text } from "@mantine/core";
import { IconHourglass } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { JobState } from "../api/virtyard/api/jobs/v1/job_pb";
import { WaitCause, type WaitExplanation, type WaitParty } from "../api/virtyard/api/jobs/v1/wait_explanation_pb";
import { jobs as jobService } from "../client/services";
import { Command } from "../ui/Command";
import { ResourceLink } from "../ui/ResourceLink";
import type { Story } from "./use-story";

const QUIET = new Set([WaitCause.UNSPECIFIED, WaitCause.NONE, WaitCause.RUNNING]);

export function WaitPanel({ story }: { story: Story }) {
  const told = useExplanation(story);
  if (!told || QUIET.has(told.cause)) return null;
  return (
    <Alert color="yellow" variant="outline" icon={<IconHourglass aria-hidden />} title={capitalised(told.summary)} data-testid="wait">
      {told.queuePlace > 0 && <Text size="sm">It is number {told.queuePlace} in the queue.</Text>}
      <List size="sm">
        {told.parties.map((party) => (
          <List.Item key={party.owner}>
            <Party party={party} />
          </List.Item>
        ))}
      </List>
      {told.remedies.length > 0 && (
        <>
          <Text size="sm" fw={600} mt="xs">
            What can be done
          </Text>
          <List size="sm">
            {told.remedies.map((remedy) => (
              <List.Item key={remedy.text}>
                {remedy.text} {remedy.command && <Command text={remedy.command} />}
              </List.Item>
            ))}
          </List>
        </>
      )}
    </Alert>
  );
}

/** A sentence that stands by itself. */
function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function Party({ party }: { party: WaitParty }) {
  return (
    <>
      <ResourceLink name={party.owner} />: {party.title}
      {party.object && (
        <>
          {" on "}
          <ResourceLink name={party.object} />
        </>
      )}
      {party.principal && `, asked for by ${party.principal}`}
      {party.percent > 0 && `, ${Math.floor(party.percent)} %`}
      {party.stage && `, ${party.stage}`}
    </>
  );
}

/** The explanation of the job that stands still, asked for anew whenever its state or its wait changes. */
function useExplanation(story: Story): WaitExplanation | undefined {
  const [told, setTold] = useState<WaitExplanation>();
  const job = story.jobs.find((each) => each.state !== JobState.COMPLETED && !each.done) ?? story.jobs.find((each) => each.state === JobState.ROLLBACK_FAILED);
  const name = job?.name ?? "";
  const moment = job && [job.state, job.waitingFor, job.contactLost, job.held, story.metadata.waitingFor, story.metadata.abortRequested].join("|");
  useEffect(() => {
    if (!name) return setTold(undefined);
    const abort = new AbortController();
    jobService.explainWait({ name }, { signal: abort.signal }).then(setTold, () => abort.signal.aborted || setTold(undefined));
    return () => abort.abort();
  }, [name, moment]);
  return told;
}
