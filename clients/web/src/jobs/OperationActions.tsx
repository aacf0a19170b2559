// What a person can do to an operation: abort, hold and release, another priority, run it again, and its export.
import { Button, NumberInput, Text } from "@mantine/core";
import { IconArrowsSort, IconDownload, IconPlayerPause, IconPlayerPlay, IconRepeat, IconSquare } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import { HeldReason } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { runPath } from "../routes";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { ExportButton } from "../ui/ExportButton";
import { quoted } from "../ui/filter-text";
import { useCall } from "../ui/use-call";
import { AbortDialog } from "./AbortDialog";
import { exportJobs } from "./export-jobs";
import type { Story } from "./use-story";

type Dialog = "abort" | "hold" | "release" | "priority" | undefined;

export function OperationActions({ name, story }: { name: string; story: Story }) {
  const [dialog, setDialog] = useState<Dialog>();
  const { operation, metadata } = story;
  const close = (): void => setDialog(undefined);
  // What a filter keeps back no release helps; a person can set it aside beside.
  const held = metadata.held !== HeldReason.UNSPECIFIED && metadata.held !== HeldReason.FILTER;
  return (
    <>
      {!operation.done && (
        <>
          <Button
            leftSection={<IconSquare size={16} aria-hidden />}
            color="red.9"
            disabled={metadata.abortRequested}
            title={metadata.abortRequested ? "It is being aborted already." : undefined}
            onClick={() => setDialog("abort")}
          >
            Abort
          </Button>
          <Button
            variant="default"
            leftSection={held ? <IconPlayerPlay size={16} aria-hidden /> : <IconPlayerPause size={16} aria-hidden />}
            onClick={() => setDialog(held ? "release" : "hold")}
          >
            {held ? "Release" : "Hold"}
          </Button>
          <Button variant="default" leftSection={<IconArrowsSort size={16} aria-hidden />} onClick={() => setDialog("priority")}>
            Priority
          </Button>
        </>
      )}
      {operation.done && (
        <Button
          variant="default"
          component={Link}
          to={runPath(metadata.method.replace("/", "."), { again: name })}
          leftSection={<IconRepeat size={16} aria-hidden />}
          title="Opens its form, filled in as it was for this one."
        >
          Run again
        </Button>
      )}
      <ExportButton read={() => exportJobs(`operation = ${quoted(name)}`)} file={`${name.replace("/", "-")}.jsonl`} icon={<IconDownload size={16} aria-hidden />} />
      <AbortDialog name={name} story={story} opened={dialog === "abort"} onClose={close} />
      <HoldDialog story={story} opened={dialog === "hold" || dialog === "release"} release={held} onClose={close} />
      <PriorityDialog story={story} opened={dialog === "priority"} onClose={close} />
    </>
  );
}

interface DialogProps {
  story: Story;
  opened: boolean;
  onClose: () => void;
}

function HoldDialog({ story, opened, release, onClose }: DialogProps & { release: boolean }) {
  const call = useCall();
  const job = story.jobs[0]?.name ?? "";
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title={`${release ? "Release" : "Hold"} ${story.metadata.title}?`}
      verb={release ? "Release" : "Hold"}
      reasonLabel="Why"
      call={call}
      onConfirm={(reason) => call.run(() => (release ? jobService.releaseJob({ name: job, reason }) : jobService.holdJob({ name: job, reason })), onClose)}
    >
      <Text size="sm">
        {release
          ? "It goes on from where it is, unless a filter keeps it back."
          : "No new step of it begins. What is under way is finished, and the locks that it has it keeps, until somebody releases it."}
      </Text>
    </ConfirmDialog>
  );
}

function PriorityDialog({ story, opened, onClose }: DialogProps) {
  const call = useCall();
  const job = story.jobs[0];
  const [priority, setPriority] = useState<number>();
  const value = priority ?? job?.priority ?? 0;
  const close = (): void => {
    setPriority(undefined);
    onClose();
  };
  return (
    <ConfirmDialog
      opened={opened}
      onClose={close}
      title={`Priority of ${story.metadata.title}`}
      verb="Set priority"
      reasonLabel="Why"
      call={call}
      onConfirm={(reason) => call.run(() => jobService.setJobPriority({ name: job?.name ?? "", priority: value, reason }), close)}
    >
      <Text size="sm">Higher comes first in the queues for locks. What holds its locks already is not affected.</Text>
      <NumberInput label="Priority, from -20 to 20" min={-20} max={20} value={value} onChange={(given) => setPriority(Number(given))} />
    </ConfirmDialog>
  );
}
