// The webhooks of the site: which events and which ends of operations each sends and where to, and how that goes.
import { Code, Group, Text } from "@mantine/core";
import { useCallback } from "react";
import { WebhookContent, WebhookState, type Webhook } from "../api/virtyard/api/inventory/v1/webhook_pb";
import { OperationService } from "../api/virtyard/api/operations/v1/operation_service_pb";
import { automation } from "../client/services";
import { clientOf } from "../client/transport";
import { Fact } from "../jobs/OperationFacts";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { AutomationCard } from "./AutomationCard";
import { DeadDeliveries } from "./DeadDeliveries";
import { useStatus } from "./use-status";

const operations = clientOf(OperationService);

function sendsOperations(webhook: Webhook): boolean {
  return webhook.content === WebhookContent.OPERATIONS || webhook.content === WebhookContent.EVENTS_AND_OPERATIONS;
}

export function WebhookCard({ webhook }: { webhook: Webhook }) {
  const { name } = webhook;
  const { status, problem, again } = useStatus((signal) => automation.getWebhookStatus({ name }, { signal }), `${name} ${webhook.etag}`);
  const enable = useCallback(
    (enabled: boolean) =>
      operations.updateWebhook({
        webhook: { name, state: enabled ? WebhookState.ENABLED : WebhookState.DISABLED },
        updateMask: { paths: ["state"] },
        requestId: crypto.randomUUID(),
      }),
    [name],
  );
  return (
    <AutomationCard
      name={name}
      displayName={webhook.displayName}
      description={webhook.description}
      kind="Webhook"
      enabled={webhook.state !== WebhookState.DISABLED}
      onEnable={enable}
      onDone={again}
      problem={problem}
    >
      <Text size="sm">
        Sends {webhook.content !== WebhookContent.OPERATIONS && (webhook.eventFilter ? <>events with <Code>{webhook.eventFilter}</Code></> : "every event")}
        {webhook.content === WebhookContent.EVENTS_AND_OPERATIONS && " and "}
        {sendsOperations(webhook) &&
          (webhook.operationFilter ? <>the ends of operations with <Code>{webhook.operationFilter}</Code></> : "the end of every operation")}
        {webhook.within && <> about <Code>{webhook.within}</Code> and what belongs to it</>} to <Code style={{ overflowWrap: "anywhere" }}>{webhook.url}</Code>
      </Text>
      {status && (
        <Group gap="lg" style={{ rowGap: 4 }}>
          <Fact name="Delivered">{String(status.delivered)}</Fact>
          <Fact name="Waiting">{String(status.pending)}</Fact>
          <Fact name="Given up">{String(status.dead)}</Fact>
          {status.lastTime && (
            <Fact name="Last taken">
              <Moment at={millisOf(status.lastTime)} />
            </Fact>
          )}
          {status.nextTime && (
            <Fact name="Next attempt">
              <Moment at={millisOf(status.nextTime)} />
            </Fact>
          )}
        </Group>
      )}
      {status?.lastError && <Text size="sm" c="var(--mantine-color-error)">The last attempt failed: {status.lastError}</Text>}
      {status && status.dead > 0n && <DeadDeliveries name={name} count={status.dead} onDone={again} />}
    </AutomationCard>
  );
}
