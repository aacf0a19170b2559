// The columns of the list of jobs, and which of them a person has chosen.
import { useLocalStorage } from "@mantine/hooks";
import { Text } from "@mantine/core";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { showLength } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";
import type { Column } from "../ui/VirtualGrid";
import { percentOf, stateOf, type JobLine, type Row } from "./job-list";
import { ProgressCell } from "./ProgressCell";
import { heldWords, isOpen, jobLook, originWord } from "./states";

/** A column that can be chosen; the first, with the tree, is always there. */
export interface ChosenColumn extends Column<Row> {
  readonly usual: boolean;
}

/** The job that speaks for a row: an operation's first one, as who, why and when are the same for all. */
const leader = (row: Row): JobLine | undefined => (row.kind === "job" ? row.job : row.operation.jobs[0]);

/** The state that a row shows. */
export const rowState = (row: Row) => (row.kind === "job" ? row.job.state : stateOf(row.operation.jobs));

/** How far a row is, in per cent. */
export const rowPercent = (row: Row): number => (row.kind === "job" ? row.job.percent : percentOf(row.operation.jobs));

const startOf = (row: Row): number | undefined => {
  if (row.kind === "job") return row.job.started;
  const starts = row.operation.jobs.flatMap((job) => job.started ?? []);
  return starts.length > 0 ? Math.min(...starts) : undefined;
};

const endOf = (row: Row): number | undefined => {
  if (row.kind === "job") return row.job.ended;
  if (row.operation.jobs.some((job) => isOpen(job.state))) return undefined;
  const ends = row.operation.jobs.flatMap((job) => job.ended ?? []);
  return ends.length > 0 ? Math.max(...ends) : undefined;
};

const lengthOf = (row: Row): string => {
  const [from, to] = [startOf(row), endOf(row)];
  return from !== undefined && to !== undefined ? showLength(to - from) : "";
};

const waitOf = (row: Row): string => {
  const jobs = row.kind === "job" ? [row.job] : row.operation.jobs;
  const waiting = jobs.find((job) => job.held !== 0 || job.contactLost || (job.waitingFor && isOpen(job.state)));
  if (!waiting) return "";
  return heldWords(waiting.held) || (waiting.contactLost ? "a silent host" : waiting.waitingFor);
};

export const COLUMNS: readonly ChosenColumn[] = [
  { key: "state", title: "State", width: "9.5rem", usual: true, cell: (row) => <LookBadge look={jobLook(rowState(row))} /> },
  { key: "progress", title: "Progress", width: "6.5rem", usual: true, cell: (row) => <ProgressCell percent={rowPercent(row)} state={rowState(row)} /> },
  { key: "object", title: "Object", width: "minmax(8rem, 1.2fr)", usual: true, cell: (row) => <ObjectCell row={row} /> },
  { key: "user", title: "User", width: "minmax(6rem, 0.6fr)", usual: true, cell: (row) => leader(row)?.principal },
  { key: "created", title: "Accepted", width: "8.5rem", usual: true, cell: (row) => <Moment at={leader(row)?.created} /> },
  { key: "length", title: "Took", width: "5.5rem", usual: true, cell: lengthOf },
  { key: "waits", title: "Waits for", width: "minmax(9rem, 1fr)", usual: false, cell: waitOf },
  { key: "started", title: "Began", width: "9.5rem", usual: false, cell: (row) => <Moment at={startOf(row)} /> },
  { key: "ended", title: "Ended", width: "9.5rem", usual: false, cell: (row) => <Moment at={endOf(row)} /> },
  { key: "reason", title: "Reason", width: "minmax(8rem, 1fr)", usual: false, cell: (row) => leader(row)?.reason },
  { key: "origin", title: "Asked by", width: "6rem", usual: false, cell: (row) => originWord(leader(row)?.origin ?? 0) },
  { key: "priority", title: "Priority", width: "5rem", usual: false, cell: (row) => leader(row)?.priority },
  { key: "name", title: "Name", width: "8rem", usual: false, cell: (row) => (row.kind === "job" ? row.job.name : row.operation.name) },
];

function ObjectCell({ row }: { row: Row }) {
  if (row.kind === "job") return <ResourceLink name={row.job.object} tabIndex={-1} />;
  const objects = new Set(row.operation.jobs.map((job) => job.object));
  const [first = ""] = objects;
  return (
    <>
      <ResourceLink name={first} tabIndex={-1} />
      {objects.size > 1 && (
        <Text span size="sm">
          {" "}
          and {objects.size - 1} more
        </Text>
      )}
    </>
  );
}

const USUAL = COLUMNS.filter((column) => column.usual).map((column) => column.key);

/** The keys of the chosen columns, kept in this browser. */
export function useChosenColumns(): [string[], (keys: string[]) => void] {
  const [keys, setKeys] = useLocalStorage<string[]>({ key: "virtyard-job-columns", defaultValue: USUAL, getInitialValueInEffect: false });
  return [keys, (chosen) => setKeys(COLUMNS.map((column) => column.key).filter((key) => chosen.includes(key)))];
}
