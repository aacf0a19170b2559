// The button that aborts an operation by one of its jobs: it asks once, and says what came of it.
import { Button, Group, Popover, Stack, Text, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { JobService } from "../api/virtyard/api/jobs/v1/job_service_pb";
import { clientOf } from "../client/transport";
import { ProblemAlert } from "./ProblemAlert";
import { problemOf, type Problem } from "./problem";

interface Props {
  /** A job of the operation; its operation is aborted as a whole. */
  job: Job;
  /** What people call the operation. */
  title: string;
  size?: "xs" | "sm";
}

export function AbortButton({ job, title, size = "xs" }: Props) {
  const [asking, setAsking] = useState(false);
  // Past the point of no return an abort is answered "too late"; before a step has begun nothing says so yet.
  const tooLate = job.progress?.stage !== "" && job.progress?.abortable === false && job.startTime !== undefined;
  const disabled = job.abortRequested || job.done;
  return (
    <Popover opened={asking} onChange={setAsking} position="top-end" width={320} withArrow trapFocus shadow="md" withinPortal>
      <Popover.Target>
        <Button
          size={size}
          variant="default"
          disabled={disabled}
          onClick={() => setAsking(!asking)}
          aria-label={`Abort ${title}, ${job.operation}`}
        >
          {job.abortRequested ? "Aborting" : "Abort"}
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label={`Abort ${title}`}>
        <AbortForm job={job} title={title} tooLate={tooLate} onDone={() => setAsking(false)} />
      </Popover.Dropdown>
    </Popover>
  );
}

function AbortForm({ job, title, tooLate, onDone }: { job: Job; title: string; tooLate: boolean; onDone: () => void }) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const abort = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      const answer = await clientOf(JobService).abortJob({ name: job.name, reason });
      notifications.show({
        title: answer.tooLate ? "Too late to abort" : "Abort requested",
        message: answer.tooLate
          ? `${title} had passed the point of no return and goes on to its end.`
          : `${title} stops, and what it did is undone.`,
        color: answer.tooLate ? "yellow" : "blue",
      });
      onDone();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void abort();
      }}
    >
      <Stack gap="xs">
        <Text size="sm">
          {tooLate
            ? "It seems to be past the point of no return; the abort may come too late."
            : "The whole operation stops, and what it did is undone."}
        </Text>
        <TextInput size="xs" label="Reason" value={reason} onChange={(event) => setReason(event.currentTarget.value)} />
        {problem && <ProblemAlert title="It could not be aborted" problem={problem} />}
        <Group justify="flex-end" gap="xs">
          <Button size="xs" variant="default" onClick={onDone}>
            Keep it running
          </Button>
          <Button size="xs" color="red" type="submit" loading={busy}>
            Abort it
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
