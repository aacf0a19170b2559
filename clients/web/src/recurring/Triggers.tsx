// The triggers of the site: the events that each waits for, and what it submits then.
import { Code, Group, Text } from "@mantine/core";
import { useCallback } from "react";
import { TriggerState, type Trigger } from "../api/virtyard/api/inventory/v1/trigger_pb";
import { OperationService } from "../api/virtyard/api/operations/v1/operation_service_pb";
import { automation } from "../client/services";
import { clientOf } from "../client/transport";
import { Fact } from "../jobs/OperationFacts";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";
import { AutomationCard } from "./AutomationCard";
import { Counts } from "./Schedules";
import { useStatus } from "./use-status";
import { requestWords } from "./words";

const operations = clientOf(OperationService);

export function TriggerCard({ trigger }: { trigger: Trigger }) {
  const { name } = trigger;
  const { status, problem, again } = useStatus((signal) => automation.getTriggerStatus({ name }, { signal }), `${name} ${trigger.etag}`);
  const enable = useCallback(
    (enabled: boolean) =>
      operations.updateTrigger({
        trigger: { name, state: enabled ? TriggerState.ENABLED : TriggerState.DISABLED },
        updateMask: { paths: ["state"] },
        requestId: crypto.randomUUID(),
      }),
    [name],
  );
  return (
    <AutomationCard
      name={name}
      displayName={trigger.displayName}
      description={trigger.description}
      kind="Trigger"
      enabled={trigger.state !== TriggerState.DISABLED}
      onEnable={enable}
      onDone={again}
      problem={problem}
    >
      <Text size="sm">
        On events with <Code>{trigger.eventFilter}</Code>
      </Text>
      <Group gap="lg" style={{ rowGap: 4 }}>
        <Fact name="Submits">{requestWords(trigger.request)}</Fact>
        <Fact name="At most">{trigger.hourlyLimit || 60} in an hour</Fact>
        <Fact name="As">{trigger.owner}</Fact>
        {status && <Counts runs={status.runs} leftOut={status.leftOut} failed={status.failed} />}
        {status?.lastOperation && (
          <Fact name="Last run">
            <ResourceLink name={status.lastOperation} /> <Moment at={millisOf(status.lastTime)} />
          </Fact>
        )}
      </Group>
      {status?.lastError && <Text size="sm" c="var(--mantine-color-error)">The last submission was refused: {status.lastError}</Text>}
    </AutomationCard>
  );
}
