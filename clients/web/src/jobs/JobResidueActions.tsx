// What a person can do where an undo, or a step past the point of no return, was refused: have it tried again, or accept what is left.
import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useState } from "react";
import { JobState, StepState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { ListOf } from "../ui/ListOf";
import { ProblemAlert } from "../ui/ProblemAlert";
import { useCall } from "../ui/use-call";

/** Whether somebody must decide about a job: an undo of it was refused, or a step that cannot be undone any more. */
export function waitsForDecision(job: Job): boolean {
  return job.state === JobState.ROLLBACK_FAILED || isRefusedPastPivot(job);
}

function isRefusedPastPivot(job: Job): boolean {
  const refused = job.steps.some((step) => step.state === StepState.STARTED && (step.error?.message || job.stalled));
  return job.state === JobState.RUNNING && job.progress?.abortable === false && refused;
}

export function JobResidueActions({ job }: { job: Job }) {
  const forward = isRefusedPastPivot(job);
  const [accepting, setAccepting] = useState(false);
  const retry = useCall();
  const accept = useCall();
  return (
    <Alert color="red" variant="outline" icon={<IconAlertTriangle aria-hidden />} title={forward ? "A step was refused, past the point of no return" : "An undo was refused"}>
      <Text size="sm" mb="xs">
        {forward
          ? "It is tried on and on, and its objects stay locked: remove what is in the way and have it tried now, or accept that it is not done."
          : "Its objects stay locked until a person decides: remove what is in the way and have it tried again, or accept what it left behind."}
      </Text>
      <Group gap="xs">
        <Button size="compact-md" loading={retry.busy} onClick={() => retry.run(() => jobService.retryJob({ name: job.name }))}>
          {forward ? "Try it now" : "Try the undo again"}
        </Button>
        <Button size="compact-md" variant="default" onClick={() => setAccepting(true)}>
          {forward ? "Accept that it is not done" : "Accept what is left"}
        </Button>
      </Group>
      {retry.problem && <ProblemAlert title="It could not be tried again" problem={retry.problem} onClose={retry.clear} />}
      <ConfirmDialog
        opened={accepting}
        onClose={() => setAccepting(false)}
        title={forward ? `Accept that ${job.title} is not done?` : `Accept what ${job.title} left behind?`}
        verb="Accept"
        destructive
        call={accept}
        onConfirm={() => accept.run(() => jobService.acceptJob({ name: job.name }), () => setAccepting(false))}
      >
        <Text size="sm">
          {forward
            ? "The step is given up and what needs it is left out; the operation goes on and ends as partial, with what is left named."
            : "The operation ends as partial, its locks are released, and this stays for somebody to see to by hand:"}
        </Text>
        <ListOf items={job.residue} />
      </ConfirmDialog>
    </Alert>
  );
}
