// What a person can do where an undo, or a step past the point of no return, was refused: have it tried again, or accept what is left.
import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useState } from "react";
import { JobState, StepState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { ListOf } from "../ui/ListOf";
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
  const [dialog, setDialog] = useState<"retry" | "accept">();
  const close = (): void => setDialog(undefined);
  return (
    <Alert color="red" variant="outline" icon={<IconAlertTriangle aria-hidden />} title={forward ? "A step was refused, past the point of no return" : "An undo was refused"}>
      <Text size="sm" mb="xs">
        {forward
          ? "It is tried on and on, and its objects stay locked: remove what is in the way and have it tried now, or accept that it is not done."
          : "Its objects stay locked until a person decides: remove what is in the way and have it tried again, or accept what it left behind."}
      </Text>
      <Group gap="xs">
        <Button size="compact-md" onClick={() => setDialog("retry")}>
          {forward ? "Try it now" : "Try the undo again"}
        </Button>
        <Button size="compact-md" variant="default" onClick={() => setDialog("accept")}>
          {forward ? "Accept that it is not done" : "Accept what is left"}
        </Button>
      </Group>
      <RetryDialog job={job} forward={forward} opened={dialog === "retry"} onClose={close} />
      <AcceptDialog job={job} forward={forward} opened={dialog === "accept"} onClose={close} />
    </Alert>
  );
}

interface DialogProps {
  job: Job;
  /** Whether it is a step past the point of no return that is refused, and not an undo. */
  forward: boolean;
  opened: boolean;
  onClose: () => void;
}

function RetryDialog({ job, forward, opened, onClose }: DialogProps) {
  const call = useCall();
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title={forward ? `Try ${job.title} now?` : `Try to undo ${job.title} again?`}
      verb="Try again"
      reasonLabel="Why"
      call={call}
      onConfirm={(reason) => call.run(() => jobService.retryJob({ name: job.name, reason }), onClose)}
    >
      <Text size="sm">
        {forward
          ? "The step that was refused is asked for at once. Refused again, it is tried on and on as before."
          : "What was refused is asked for once more. Refused again, it waits for a decision as it does now, and its objects stay locked."}
      </Text>
    </ConfirmDialog>
  );
}

function AcceptDialog({ job, forward, opened, onClose }: DialogProps) {
  const call = useCall();
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title={forward ? `Accept that ${job.title} is not done?` : `Accept what ${job.title} left behind?`}
      verb="Accept"
      destructive
      reasonLabel="Why"
      call={call}
      onConfirm={(reason) => call.run(() => jobService.acceptJob({ name: job.name, reason }), onClose)}
    >
      <Text size="sm">
        {forward
          ? "The step is given up and what needs it is left out; the operation goes on and ends as partial, with what is left named."
          : "Nothing tries to undo this any more. The operation ends as partial, its locks are released, and this is left behind for somebody to see to by hand:"}
      </Text>
      {job.residue.length > 0 ? <ListOf items={job.residue} /> : !forward && <Text size="sm">What is left was not named; the transcript of the operation has what was refused.</Text>}
    </ConfirmDialog>
  );
}
