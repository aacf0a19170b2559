// The fields by which the list of jobs is narrowed; what is typed counts once the typing pauses.
import { Button, Checkbox, Group, Select, TextInput } from "@mantine/core";
import { JobState } from "../api/virtyard/api/jobs/v1/job_pb";
import { useTypedFilter } from "../ui/use-typed-filter";
import { isEmpty, NO_FILTER, type JobFilter } from "./job-filter";
import { JOB_STATES, jobLook, STATE_GROUPS, stateNames } from "./states";

const STATES = [
  { group: "Several", items: [
    { value: stateNames(STATE_GROUPS.open), label: "not ended" },
    { value: stateNames(STATE_GROUPS.pending), label: "pending or waiting" },
    { value: stateNames(STATE_GROUPS.inProgress), label: "in progress" },
    { value: stateNames(STATE_GROUPS.failed), label: "failed in any way" },
  ] },
  { group: "One", items: JOB_STATES.map((state) => ({ value: JobState[state], label: jobLook(state).word })) },
];
const KNOWN = new Set(STATES.flatMap(({ items }) => items.map(({ value }) => value)));

/** The choices of states, with that of the address where somebody has put together another one. */
function statesWith(chosen: string): typeof STATES {
  if (!chosen || KNOWN.has(chosen)) return STATES;
  const words = chosen.split(",").map((name) => jobLook(JobState[name as keyof typeof JobState]).word);
  return [...STATES, { group: "As in the address", items: [{ value: chosen, label: words.join(" or ") }] }];
}

interface Props {
  filter: JobFilter;
  onChange: (filter: JobFilter) => void;
}

export function JobFilters({ filter, onChange }: Props) {
  const { typed, type, pick } = useTypedFilter(filter, onChange);
  return (
    <Group gap="xs" align="flex-end" role="search" aria-label="Narrow the list of jobs">
      <Select size="xs" label="State" placeholder="any" w={130} data={statesWith(typed.state)} maxDropdownHeight={420} value={typed.state || null} clearable onChange={(state) => pick({ state: state ?? "" })} />
      <TextInput size="xs" label="Type" placeholder="Create Virtual Disk" w={135} value={typed.title} onChange={(event) => type({ title: event.currentTarget.value })} />
      <TextInput size="xs" label="User" placeholder="ann" w={80} value={typed.user} onChange={(event) => type({ user: event.currentTarget.value })} />
      <TextInput size="xs" label="Object" placeholder="virtualMachines/web" w={140} value={typed.object} onChange={(event) => type({ object: event.currentTarget.value })} />
      <TextInput size="xs" label="From" type="datetime-local" w={165} value={typed.since} onChange={(event) => type({ since: event.currentTarget.value })} />
      <TextInput size="xs" label="Before" type="datetime-local" w={165} value={typed.until} onChange={(event) => type({ until: event.currentTarget.value })} />
      <Checkbox label="Archive" size="xs" mb={7} checked={typed.archived} onChange={(event) => pick({ archived: event.currentTarget.checked })} />
      {!isEmpty(filter) && (
        <Button variant="subtle" size="xs" onClick={() => pick(NO_FILTER)}>
          Show all
        </Button>
      )}
    </Group>
  );
}
