// One operation: where it stands and why, its jobs with their steps, its picture over time, and what it waits for.
import { Alert, Center, Loader, Progress, Stack, Tabs, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useState } from "react";
import { useParams } from "react-router";
import { colourOf } from "../ui/looks";
import { leftWords } from "../ui/left";
import { ListOf } from "../ui/ListOf";
import { millisOf } from "../ui/moments";
import { Page } from "../ui/Page";
import { problemOfStatus } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { useNow } from "../ui/use-now";
import { causesOf, failedObject } from "./causes";
import { timelineOf } from "./lanes";
import { JobPlan } from "./JobPlan";
import { OperationActions } from "./OperationActions";
import { OperationFacts } from "./OperationFacts";
import { PlannedLocks } from "./PlannedLocks";
import { operationLook } from "./states";
import { Timeline } from "./Timeline";
import { Transcript } from "./Transcript";
import { useStory, type Story } from "./use-story";
import { WaitPanel } from "./WaitPanel";

export default function OperationPage() {
  const { operation: id = "" } = useParams();
  const name = `operations/${id}`;
  const { story, problem } = useStory(name);
  if (!story)
    return (
      <Page title={`Operation ${id}`}>
        {problem ? (
          <ProblemAlert title="This operation cannot be shown" problem={problem} />
        ) : (
          <Center mih={200}>
            <Loader role="status" aria-label="Loading the operation" />
          </Center>
        )}
      </Page>
    );
  return <StoryPage key={name} name={name} story={story} />;
}

function StoryPage({ name, story }: { name: string; story: Story }) {
  const { metadata, operation } = story;
  return (
    <Page title={metadata.title || name} lead={name} actions={<OperationActions name={name} story={story} />}>
      <Stack gap="xs">
        <OperationFacts story={story} />
        <HowFar story={story} />
      </Stack>
      <Outcome story={story} />
      {!operation.done && <WaitPanel story={story} />}
      <Details story={story} />
    </Page>
  );
}

/** How far it is by the word of the service, and how long it still takes. */
function HowFar({ story: { metadata, operation } }: { story: Story }) {
  const now = useNow(!operation.done);
  const percent = metadata.progress?.percent ?? 0;
  const words = [metadata.progress?.stage, leftWords(metadata.progress?.expectedEndTime, now)].filter(Boolean).join(", ");
  return (
    <>
      <Progress value={percent} size="lg" aria-label="Progress of the operation" animated={!operation.done} color={colourOf(operationLook(metadata.state).tone)} />
      <Text size="sm" data-testid="operation-progress">
        {Math.floor(percent)} % {words}
      </Text>
    </>
  );
}

/** What became of it, where that is not simply success. */
function Outcome({ story: { operation, metadata, jobs } }: { story: Story }) {
  const error = operation.result.case === "error" ? operation.result.value : undefined;
  return (
    <>
      {error && <ProblemAlert title={`${metadata.title} failed`} problem={problemOfStatus(error)} about={failedObject(jobs)} causes={causesOf(jobs)} />}
      {metadata.tooLate && (
        <Alert color="yellow" variant="outline" icon={<IconAlertTriangle aria-hidden />} title="The abort came too late">
          The point of no return had been passed, so the operation goes on to its end.
        </Alert>
      )}
      {metadata.residue.length > 0 && (
        <Alert color="red" variant="outline" icon={<IconAlertTriangle aria-hidden />} title="What is still missing or left over">
          <ListOf items={metadata.residue} />
        </Alert>
      )}
    </>
  );
}

function Details({ story }: { story: Story }) {
  const [tab, setTab] = useState<string | null>("jobs");
  const { metadata, operation, jobs, events } = story;
  const now = useNow(!operation.done);
  const created = millisOf(metadata.createTime) ?? now;
  return (
    <Tabs value={tab} onChange={setTab} keepMounted={false}>
      <Tabs.List>
        <Tabs.Tab value="jobs">Jobs and steps</Tabs.Tab>
        <Tabs.Tab value="timeline">Timeline</Tabs.Tab>
        <Tabs.Tab value="transcript">Transcript</Tabs.Tab>
        <Tabs.Tab value="plan">Locks and servers</Tabs.Tab>
      </Tabs.List>
      <Tabs.Panel value="jobs" pt="md">
        <JobPlan story={story} />
      </Tabs.Panel>
      <Tabs.Panel value="timeline" pt="md">
        <Timeline timeline={timelineOf(jobs, events, created, millisOf(metadata.endTime), now)} running={!operation.done} />
      </Tabs.Panel>
      <Tabs.Panel value="transcript" pt="md">
        <Transcript story={story} />
      </Tabs.Panel>
      <Tabs.Panel value="plan" pt="md">
        <PlannedLocks story={story} />
      </Tabs.Panel>
    </Tabs>
  );
}
