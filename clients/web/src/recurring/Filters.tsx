// The filters of the site: which operations each keeps back or refuses, and which those are now.
import { Code, Group, Text } from "@mantine/core";
import { useCallback } from "react";
import { FilterState, type Filter } from "../api/virtyard/api/inventory/v1/filter_pb";
import { OperationService } from "../api/virtyard/api/operations/v1/operation_service_pb";
import { automation } from "../client/services";
import { clientOf } from "../client/transport";
import { Fact } from "../jobs/OperationFacts";
import { ResourceLink } from "../ui/ResourceLink";
import { AutomationCard } from "./AutomationCard";
import { useStatus } from "./use-status";
import { actionWords } from "./words";

const operations = clientOf(OperationService);
const SHOWN = 20;

export function FilterCard({ filter }: { filter: Filter }) {
  const { name } = filter;
  const { status, problem, again } = useStatus((signal) => automation.getFilterStatus({ name }, { signal }), `${name} ${filter.etag}`);
  const enable = useCallback(
    (enabled: boolean) =>
      operations.updateFilter({
        filter: { name, state: enabled ? FilterState.ENABLED : FilterState.DISABLED },
        updateMask: { paths: ["state"] },
        requestId: crypto.randomUUID(),
      }),
    [name],
  );
  return (
    <AutomationCard
      name={name}
      displayName={filter.displayName}
      description={filter.description}
      kind="Filter"
      enabled={filter.state !== FilterState.DISABLED}
      onEnable={enable}
      onDone={again}
      problem={problem}
    >
      <Group gap="lg" style={{ rowGap: 4 }}>
        <Fact name="What it does">{actionWords(filter)}</Fact>
        <Text size="sm">
          Operations with <Code>{filter.matches}</Code>
        </Text>
      </Group>
      {status && <Names title="Kept back now" names={status.heldOperations} />}
      {status && <Names title="Matching and under way" names={status.activeOperations} />}
    </AutomationCard>
  );
}

function Names({ title, names }: { title: string; names: readonly string[] }) {
  return (
    <Fact name={title}>
      {names.length === 0 && "none"}
      {names.slice(0, SHOWN).map((name, index) => (
        <span key={name}>
          {index > 0 && ", "}
          <ResourceLink name={name} />
        </span>
      ))}
      {names.length > SHOWN && ` and ${names.length - SHOWN} more`}
    </Fact>
  );
}
