// The fields by which the list of events is narrowed; the types are those of the live log, with their numbers. Those of the
// archive are not counted, so any can be typed there.
import { Autocomplete, Button, Checkbox, Group, Select, TextInput } from "@mantine/core";
import { useEffect, useState } from "react";
import { Severity } from "../api/virtyard/api/inventory/v1/event_pb";
import { inventory } from "../client/services";
import { useTypedFilter } from "../ui/use-typed-filter";
import { addressOfFilter, NO_FILTER, type EventFilter } from "./event-filter";
import { SEVERITIES, severityLook } from "./severities";

const LEAST = SEVERITIES.map((severity) => ({ value: Severity[severity], label: severity === Severity.CRITICAL ? "critical" : `${severityLook(severity).word} and above` }));
const STANDINGS = ["open", "acknowledged", "cleared"];
/** The names of types are longer than their field. */
const LONG = { width: 300, position: "bottom-start" } as const;

interface Props {
  filter: EventFilter;
  onChange: (filter: EventFilter) => void;
}

export function EventFilters({ filter, onChange }: Props) {
  const { typed, type, pick } = useTypedFilter(filter, onChange);
  const types = useTypes();
  return (
    <Group gap="xs" align="flex-end" role="search" aria-label="Narrow the list of events">
      <Select size="xs" label="Severity" placeholder="any" w={140} data={LEAST} value={typed.severity || null} clearable onChange={(severity) => pick({ severity: severity ?? "" })} />
      <Select size="xs" label="State" placeholder="any" w={115} data={STANDINGS} value={typed.standing || null} clearable onChange={(standing) => pick({ standing: standing ?? "" })} />
      {typed.archived ? (
        <Autocomplete size="xs" label="Type" placeholder="JOB_FAILED" w={165} data={types.map(({ value }) => value)} value={typed.type} comboboxProps={LONG} onChange={(kind) => type({ type: kind })} />
      ) : (
        <Select size="xs" label="Type" placeholder="any" w={165} data={types} value={typed.type || null} clearable searchable comboboxProps={LONG} onChange={(kind) => pick({ type: kind ?? "" })} />
      )}
      <TextInput size="xs" label="Object" placeholder="virtualMachines/web" w={150} value={typed.object} onChange={(event) => type({ object: event.currentTarget.value })} />
      <TextInput size="xs" label="From" type="datetime-local" w={165} value={typed.since} onChange={(event) => type({ since: event.currentTarget.value })} />
      <TextInput size="xs" label="Before" type="datetime-local" w={165} value={typed.until} onChange={(event) => type({ until: event.currentTarget.value })} />
      <Checkbox label="Archive" size="xs" mb={7} checked={typed.archived} onChange={(event) => pick({ archived: event.currentTarget.checked })} />
      {addressOfFilter(filter).size > 0 && (
        <Button variant="subtle" size="xs" onClick={() => pick(NO_FILTER)}>
          Show all
        </Button>
      )}
    </Group>
  );
}

/** The types of which there are events, each with how many. */
function useTypes(): { value: string; label: string }[] {
  const [types, setTypes] = useState<{ value: string; label: string }[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    inventory.countEvents({}, { signal: abort.signal }).then(
      ({ counts }) => {
        const sums = new Map<string, bigint>();
        for (const { type, count } of counts) sums.set(type, (sums.get(type) ?? 0n) + count);
        setTypes([...sums].sort(([a], [b]) => a.localeCompare(b)).map(([value, sum]) => ({ value, label: `${value} (${sum})` })));
      },
      // Without them the field has nothing to offer, and the list says what is wrong.
      () => undefined,
    );
    return () => abort.abort();
  }, []);
  return types;
}
