// A dialog that says what a button will do, takes a reason where one is wanted, and shows what went wrong.
import { Button, Group, Modal, Stack, Textarea } from "@mantine/core";
import { useState, type ReactNode } from "react";
import { keepFocus } from "./focus";
import { ProblemAlert } from "./ProblemAlert";
import type { Call } from "./use-call";

interface Props {
  opened: boolean;
  onClose: () => void;
  title: string;
  /** What the button says that does it: a verb, as "Abort". */
  verb: string;
  /** True where it takes something away. */
  destructive?: boolean;
  /** The label of the reason's field; without it none is asked for. */
  reasonLabel?: string;
  reasonRequired?: boolean;
  call: Call;
  /** Whether the button can be pressed yet. */
  ready?: boolean;
  onConfirm: (reason: string) => void;
  /** Other buttons before the one that does it. */
  more?: (reason: string) => ReactNode;
  children?: ReactNode;
}

export function ConfirmDialog(props: Props) {
  // What went wrong is of this opening: the next one begins without it.
  const close = (): void => {
    props.call.clear();
    props.onClose();
  };
  return (
    <Modal opened={props.opened} onClose={close} title={props.title} size="lg" onExitTransitionEnd={keepFocus} closeButtonProps={{ "aria-label": "Close" }}>
      <Content {...props} onClose={close} />
    </Modal>
  );
}

function Content({ onClose, verb, destructive, reasonLabel, reasonRequired, call, ready = true, onConfirm, more, children }: Props) {
  const [reason, setReason] = useState("");
  const missing = reasonRequired === true && reason.trim() === "";
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (!missing && ready) onConfirm(reason.trim());
      }}
    >
      <Stack gap="md">
        {children}
        {reasonLabel && (
          <Textarea
            label={reasonLabel}
            autosize
            minRows={2}
            maxRows={6}
            required={reasonRequired === true}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            data-autofocus
          />
        )}
        {call.problem && <ProblemAlert title="It could not be done" problem={call.problem} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          {more?.(reason.trim())}
          <Button type="submit" color={destructive ? "red.9" : undefined} loading={call.busy} disabled={missing || !ready}>
            {verb}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
