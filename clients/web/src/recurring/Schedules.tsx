// The schedules of the site, each with its next five runs.
import { Group, List, Text } from "@mantine/core";
import { useCallback } from "react";
import { ScheduleState, type Schedule } from "../api/virtyard/api/inventory/v1/schedule_pb";
import { OperationService } from "../api/virtyard/api/operations/v1/operation_service_pb";
import { automation } from "../client/services";
import { clientOf } from "../client/transport";
import { Fact } from "../jobs/OperationFacts";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";
import { AutomationCard } from "./AutomationCard";
import { useStatus } from "./use-status";
import { dueWords, policyWords, requestWords } from "./words";

const operations = clientOf(OperationService);

export function ScheduleCard({ schedule }: { schedule: Schedule }) {
  const { name } = schedule;
  const { status, problem, again } = useStatus((signal) => automation.getScheduleStatus({ name }, { signal }), `${name} ${schedule.etag}`);
  const enable = useCallback(
    (enabled: boolean) =>
      operations.updateSchedule({
        schedule: { name, state: enabled ? ScheduleState.ENABLED : ScheduleState.DISABLED },
        updateMask: { paths: ["state"] },
        requestId: crypto.randomUUID(),
      }),
    [name],
  );
  const run = useCallback(() => automation.runSchedule({ name, requestId: crypto.randomUUID() }), [name]);
  return (
    <AutomationCard
      name={name}
      displayName={schedule.displayName}
      description={schedule.description}
      kind="Schedule"
      enabled={schedule.state !== ScheduleState.DISABLED}
      onEnable={enable}
      onRun={run}
      onDone={again}
      problem={problem}
    >
      <Group gap="lg" style={{ rowGap: 4 }}>
        <Fact name="Submits">{requestWords(schedule.request)}</Fact>
        <Fact name="Due">{dueWords(schedule)}</Fact>
        <Fact name="As">{schedule.owner}</Fact>
        {status && <Counts runs={status.runs} leftOut={status.leftOut} failed={status.failed} />}
        {status?.lastOperation && (
          <Fact name="Last run">
            <ResourceLink name={status.lastOperation} /> <Moment at={millisOf(status.lastTime)} />
          </Fact>
        )}
        {status !== undefined && status.queued > 0 && <Fact name="Due and waiting">{status.queued}</Fact>}
      </Group>
      {status?.lastError && <Text size="sm" c="var(--mantine-color-error)">The last submission was refused: {status.lastError}</Text>}
      {status !== undefined && status.nextTimes.length > 0 && (
        <Group gap="xs" align="flex-start">
          <Text size="sm" c="dimmed">
            Next runs
          </Text>
          <List size="sm" listStyleType="none" data-testid="next-runs">
            {status.nextTimes.map((time) => (
              <List.Item key={String(time.seconds)}>
                <Moment at={millisOf(time)} />
              </List.Item>
            ))}
          </List>
        </Group>
      )}
      <Text size="xs" c="dimmed">
        {policyWords(schedule).join(" ")}
      </Text>
    </AutomationCard>
  );
}

/** What an automation has come to so far. */
export function Counts({ runs, leftOut, failed }: { runs: bigint; leftOut: bigint; failed: bigint }) {
  return (
    <>
      <Fact name="Runs">{String(runs)}</Fact>
      {leftOut > 0n && <Fact name="Left out">{String(leftOut)}</Fact>}
      {failed > 0n && <Fact name="Not submitted">{String(failed)}</Fact>}
    </>
  );
}
