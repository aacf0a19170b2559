// A note that an operation runs: how far it is, how it ended, and the way to its page.
import { Anchor, Group, Progress, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useEffect } from "react";
import { Link } from "react-router";
import { OperationState } from "../api/virtyard/api/jobs/v1/operation_pb";
import { operationLook } from "../jobs/states";
import { useOperation } from "../live";
import { pathOf } from "../routes";
import { LookBadge } from "../ui/LookBadge";

const KEPT_MS = 8000;

/** Shows a note that follows an operation; it goes by itself a while after the operation has succeeded. */
export function followOperation(name: string, title: string): void {
  notifications.show({
    id: name,
    title,
    message: <OperationToast name={name} />,
    autoClose: false,
    closeButtonProps: { "aria-label": `Close the note about ${name}` },
  });
}

function OperationToast({ name }: { name: string }) {
  const { value } = useOperation(name);
  const state = value?.metadata.state ?? OperationState.ACTIVE;
  const ended = state !== OperationState.ACTIVE && state !== OperationState.UNSPECIFIED;
  useEffect(() => {
    if (state !== OperationState.SUCCEEDED) return undefined;
    const timer = setTimeout(() => notifications.hide(name), KEPT_MS);
    return () => clearTimeout(timer);
  }, [name, state]);
  const error = value?.operation.result.case === "error" ? value.operation.result.value.message : "";
  return (
    <Stack gap={6}>
      <Group justify="space-between" gap="xs">
        <LookBadge look={operationLook(state)} />
        <Anchor component={Link} to={pathOf(name)} size="sm">
          {name}
        </Anchor>
      </Group>
      {!ended && (
        <Progress
          value={value?.metadata.progress?.percent ?? 0}
          aria-label={`Progress of ${name}`}
          size="sm"
          animated
        />
      )}
      {!ended && value?.metadata.waitingFor && (
        <Text size="xs" c="dimmed">
          {value.metadata.waitingFor}
        </Text>
      )}
      {error && <Text size="sm">{error}</Text>}
      {value?.metadata.residue.map((missing) => (
        <Text key={missing} size="sm">
          {missing}
        </Text>
      ))}
    </Stack>
  );
}
