// The button that aborts an operation by one of its jobs: it asks once, and says what came of it.
import { Button, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { ConfirmDialog } from "./ConfirmDialog";
import { useCall } from "./use-call";

interface Props {
  /** A job of the operation; its operation is aborted as a whole. */
  job: Job;
  /** What people call the operation. */
  title: string;
}

export function AbortButton({ job, title }: Props) {
  const [asking, setAsking] = useState(false);
  const call = useCall();
  const close = (): void => setAsking(false);
  const abort = (reason: string) =>
    call.run(
      () => jobService.abortJob({ name: job.name, reason, wholeOperation: true }),
      ({ tooLate }) => {
        notifications.show({
          title: tooLate ? "Too late to abort" : "It is being aborted",
          message: tooLate
            ? `${title} had passed the point of no return and goes on to its end.`
            : `${title} stops, and what it did is undone.`,
          color: tooLate ? "yellow" : "blue",
          closeButtonProps: { "aria-label": "Close the note" },
        });
        close();
      },
    );
  return (
    <>
      <Button
        size="compact-xs"
        variant="default"
        disabled={job.abortRequested || job.done}
        onClick={() => setAsking(true)}
        aria-label={`Abort ${title}, ${job.operation}`}
      >
        {job.abortRequested ? "Aborting" : "Abort"}
      </Button>
      <ConfirmDialog
        opened={asking}
        onClose={close}
        title={`Abort ${title}?`}
        verb="Abort"
        destructive
        reasonLabel="Why"
        call={call}
        onConfirm={abort}
      >
        <Text size="sm">{job.operation} stops as a whole, and what it did is undone.</Text>
      </ConfirmDialog>
    </>
  );
}
