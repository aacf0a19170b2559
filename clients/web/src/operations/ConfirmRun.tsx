// The last question before something is destroyed, with what would be done.
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import type { Plan } from "../api/virtyard/api/jobs/v1/plan_pb";
import type { OperationType } from "../forms/catalogue";
import { PlanView } from "./PlanView";

interface Props {
  opened: boolean;
  operation: OperationType;
  plan: Plan | undefined;
  busy: boolean;
  close: () => void;
  run: () => void;
}

export function ConfirmRun({ opened, operation, plan, busy, close, run }: Props) {
  return (
    <Modal opened={opened} onClose={close} title={`${operation.title}?`} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
      <Stack gap="md">
        <Text>{operation.comment}</Text>
        {plan && <PlanView plan={plan} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={close} data-autofocus>
            Cancel
          </Button>
          <Button color="red" loading={busy} onClick={run}>
            {operation.title}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
