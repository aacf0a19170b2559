// Aborts one job with what cannot do without it, once it was said which jobs that are: the others go on where the policy lets them.
import { Alert, Button, Loader, Text } from "@mantine/core";
import { IconSquare } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import type { AbortJobResponse } from "../api/virtyard/api/jobs/v1/job_service_pb";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { ListOf } from "../ui/ListOf";
import { problemOf, type Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { useCall } from "../ui/use-call";
import { endingOf } from "./job-abort";

interface Props {
  job: Job;
  /** All jobs of its operation. */
  jobs: readonly Job[];
}

export function JobAbort({ job, jobs }: Props) {
  const [opened, setOpened] = useState(false);
  const call = useCall();
  const { answer, problem } = usePreview(job.name, opened);
  const close = (): void => setOpened(false);
  return (
    <div>
      <Button size="compact-sm" variant="default" leftSection={<IconSquare size={14} aria-hidden />} onClick={() => setOpened(true)} aria-label={`Abort this job: ${job.title}, ${job.object}`}>
        Abort this job
      </Button>
      <ConfirmDialog
        opened={opened}
        onClose={close}
        title={`Abort ${job.title} on ${job.object}?`}
        verb="Abort"
        destructive
        reasonLabel="Why"
        call={call}
        ready={answer !== undefined && !answer.tooLate}
        onConfirm={(reason) => call.run(() => jobService.abortJob({ name: job.name, reason }), close)}
      >
        {problem && <ProblemAlert title="It cannot be aborted now" problem={problem} />}
        {!answer && !problem && <Loader role="status" size="sm" aria-label="Asking which jobs would end" />}
        {answer && <Ending answer={answer} jobs={jobs} />}
      </ConfirmDialog>
    </div>
  );
}

function Ending({ answer, jobs }: { answer: AbortJobResponse; jobs: readonly Job[] }) {
  if (answer.tooLate)
    return (
      <Alert color="yellow" variant="outline" title="It is too late">
        This job is through and is kept, or the point of no return has been passed.
      </Alert>
    );
  const { ending, goingOn } = endingOf(answer.jobs, jobs);
  return (
    <>
      <div>
        <Text size="sm" fw={600}>
          These jobs end, and what they did is undone
        </Text>
        <ListOf items={ending.map(nameOf)} />
      </div>
      {goingOn.length === 0 ? (
        <Text size="sm">No other job of its operation goes on.</Text>
      ) : (
        <div>
          <Text size="sm" fw={600}>
            These go on
          </Text>
          <ListOf items={goingOn.map(nameOf)} />
        </div>
      )}
    </>
  );
}

function nameOf(job: Job): string {
  return `${job.title} on ${job.object}`;
}

/** Which jobs would end, asked for whenever the dialog is opened. */
function usePreview(name: string, opened: boolean): { answer: AbortJobResponse | undefined; problem: Problem | undefined } {
  const [preview, setPreview] = useState<{ answer: AbortJobResponse | undefined; problem: Problem | undefined }>({ answer: undefined, problem: undefined });
  useEffect(() => {
    if (!opened) return;
    const abort = new AbortController();
    setPreview({ answer: undefined, problem: undefined });
    jobService.abortJob({ name, validateOnly: true }, { signal: abort.signal }).then(
      (answer) => setPreview({ answer, problem: undefined }),
      (error: unknown) => abort.signal.aborted || setPreview({ answer: undefined, problem: problemOf(error) }),
    );
    return () => abort.abort();
  }, [name, opened]);
  return preview;
}
