// What a webhook has given up: what it was, when, why, and whether it is sent again or forgotten.
import { Button, Group, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { WebhookDeliveryState, type WebhookDelivery } from "../api/virtyard/api/jobs/v1/automation_service_pb";
import { automation } from "../client/services";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { countOf } from "../ui/counts";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { useCall } from "../ui/use-call";
import { useStatus } from "./use-status";

const PAGE = 20;

interface Props {
  /** The webhook, as webhooks/pager. */
  name: string;
  /** How many there are; they are read again when it changes. */
  count: bigint;
  /** Called after something was done to them. */
  onDone: () => void;
}

export function DeadDeliveries({ name, count, onDone }: Props) {
  const [size, setSize] = useState(PAGE);
  const retry = useCall();
  const discard = useCall();
  const [discarding, setDiscarding] = useState(false);
  const { status, problem, again } = useStatus(
    (signal) => automation.listWebhookDeliveries({ name, state: WebhookDeliveryState.DEAD, pageSize: size }, { signal }),
    `${name} ${count} ${size}`,
  );
  const done = (): void => {
    setDiscarding(false);
    again();
    onDone();
  };
  const deliveries = status?.deliveries ?? [];
  const short = name.slice(name.indexOf("/") + 1);
  return (
    <Stack gap="xs">
      <Table.ScrollContainer minWidth={560}>
        <Table aria-label={`What ${short} has given up`}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>What</Table.Th>
              <Table.Th>When</Table.Th>
              <Table.Th>Why</Table.Th>
              <Table.Th aria-label="Actions" />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {deliveries.map((delivery) => (
              <Row key={delivery.id} delivery={delivery} busy={retry.busy} onRetry={() => retry.run(() => automation.retryWebhookDeliveries({ name, id: delivery.id }), done)} />
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      <Group gap="xs">
        <Button variant="default" size="compact-sm" loading={retry.busy} onClick={() => retry.run(() => automation.retryWebhookDeliveries({ name }), done)}>
          Send all again
        </Button>
        <Button variant="subtle" color="red" size="compact-sm" onClick={() => setDiscarding(true)}>
          Forget all
        </Button>
        {status?.nextPageToken && (
          <Button variant="subtle" size="compact-sm" onClick={() => setSize(size * 2)}>
            Show more
          </Button>
        )}
      </Group>
      {problem && <ProblemAlert title="What was given up cannot be shown" problem={problem} />}
      {retry.problem && <ProblemAlert title="It could not be sent again" problem={retry.problem} onClose={retry.clear} />}
      <ConfirmDialog
        opened={discarding}
        onClose={() => setDiscarding(false)}
        title={`Forget all that ${short} has given up?`}
        verb="Forget"
        destructive
        call={discard}
        onConfirm={() => discard.run(() => automation.discardWebhookDeliveries({ name }), done)}
      >
        <Text size="sm">The receiver is never told of it. The events and operations themselves stay in their lists.</Text>
      </ConfirmDialog>
    </Stack>
  );
}

function Row({ delivery, busy, onRetry }: { delivery: WebhookDelivery; busy: boolean; onRetry: () => void }) {
  const subject = delivery.operation || delivery.event;
  return (
    <Table.Tr>
      <Table.Td>
        <Text size="sm">{delivery.eventType}</Text>
        <Text size="sm">
          <ResourceLink name={subject} />
        </Text>
      </Table.Td>
      <Table.Td><Moment at={millisOf(delivery.createTime)} /></Table.Td>
      <Table.Td style={{ overflowWrap: "anywhere" }}>
        {delivery.lastError || "no attempt was made"}
        {delivery.attempts > 0 && ` (${countOf(delivery.attempts, "attempt")})`}
      </Table.Td>
      <Table.Td>
        <Button variant="default" size="compact-sm" disabled={busy} onClick={onRetry} aria-label={`Send again: ${delivery.eventType}, ${subject}`}>
          Send again
        </Button>
      </Table.Td>
    </Table.Tr>
  );
}
