// Breaks the locks of an owner in two phases: settle first, and only if that hangs, free them by force.
import { Alert, Button, Code, Group, List, Modal, Stack, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useState } from "react";
import type { BreakLockResponse } from "../api/virtyard/api/jobs/v1/lock_control_service_pb";
import type { Lock } from "../api/virtyard/api/locks/v1/lock_service_pb";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { lockControl } from "../client/services";
import { locksItself } from "../live";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { keepFocus } from "../ui/focus";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { useCall } from "../ui/use-call";

interface Props {
  /** Whose locks are to be broken; undefined while the dialog is closed. */
  owner: string | undefined;
  locks: readonly Lock[];
  onClose: () => void;
}

export function BreakDialog({ owner, locks, onClose }: Props) {
  const call = useCall();
  const [broken, setBroken] = useState<{ reason: string; answer: BreakLockResponse }>();
  const close = (): void => {
    setBroken(undefined);
    call.clear();
    onClose();
    // What opened it stood beside a lock that may be gone.
    keepFocus();
  };
  const request = (reason: string, force: boolean): void =>
    call.run(() => lockControl.breakLock({ target: owner ?? "", reason, force }), (answer) => setBroken({ reason, answer }));
  if (broken)
    return (
      <Modal opened onClose={close} title={`The locks of ${broken.answer.owner}`} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
        <Outcome answer={broken.answer} />
        {call.problem && <ProblemAlert title="They could not be freed" problem={call.problem} />}
        <Group justify="flex-end" mt="md">
          {!broken.answer.freed && (
            <Button color="red.9" loading={call.busy} onClick={() => request(broken.reason, true)}>
              Free them all the same
            </Button>
          )}
          <Button variant="default" onClick={close}>
            Close
          </Button>
        </Group>
      </Modal>
    );
  return (
    <ConfirmDialog
      opened={owner !== undefined}
      onClose={close}
      title={`Break the locks of ${owner ?? ""}?`}
      verb="Break"
      destructive
      reasonLabel="Why the locks must go"
      reasonRequired
      call={call}
      onConfirm={(reason) => request(reason, false)}
    >
      <What owner={owner ?? ""} locks={locks} />
    </ConfirmDialog>
  );
}

/** What will happen, and to which locks. */
function What({ owner, locks }: { owner: string; locks: readonly Lock[] }) {
  const held = locks.filter((lock) => lock.owner === owner && !lock.waiting);
  const waiters = new Set(held.flatMap((lock) => locks.filter((each) => each.waiting && each.object === lock.object && locksItself(lock)).map((each) => each.owner)));
  return (
    <Stack gap="xs">
      <List size="sm" type="ordered">
        <List.Item>What <ResourceLink name={owner} /> has under way is told to stop, and settled: nothing is guessed.</List.Item>
        <List.Item>Then its locks are freed, and whoever waits for them comes next.</List.Item>
        <List.Item>It never resumes. What it did is undone under new locks, or waits for a person where others have changed it since.</List.Item>
      </List>
      <Text size="sm" fw={600}>
        Locks that are freed
      </Text>
      <List size="sm">
        {held.map((lock) => (
          <List.Item key={lock.object}>
            <ResourceLink name={lock.object} /> <Code>{LockMode[lock.mode]}</Code>
          </List.Item>
        ))}
      </List>
      <Text size="sm">{waiters.size === 0 ? "Nobody waits for them." : `Waiting for them: ${[...waiters].join(", ")}.`}</Text>
    </Stack>
  );
}

function Outcome({ answer }: { answer: BreakLockResponse }) {
  if (answer.freed && answer.quarantined.length === 0) return <Text size="sm">They are free. What its operation did is being undone.</Text>;
  return (
    <Alert color="yellow" variant="outline" icon={<IconAlertTriangle aria-hidden />} title={answer.freed ? "They are free, and some objects are in quarantine" : "They are not free yet"}>
      {answer.unsettled.length > 0 && (
        <>
          <Text size="sm">These steps are not settled:</Text>
          <List size="sm">
            {answer.unsettled.map((step, index) => (
              <List.Item key={index}>
                {step.title} (<ResourceLink name={step.job} />, by <ResourceLink name={step.participant} />): {step.reason}
              </List.Item>
            ))}
          </List>
        </>
      )}
      {answer.quarantined.length > 0 && <Text size="sm">In quarantine: {answer.quarantined.join(", ")}.</Text>}
      {!answer.freed && (
        <Text size="sm" mt="xs">
          It goes on by itself. To free them all the same puts what these steps may still act on into quarantine: until
          everything is settled, only a refresh, a kill or a forgetting is allowed there.
        </Text>
      )}
    </Alert>
  );
}
