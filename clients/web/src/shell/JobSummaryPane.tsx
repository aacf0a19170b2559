// The pane at the bottom of every screen: the six counters, and what is under way with its progress.
import { ScrollArea, Text, UnstyledButton, VisuallyHidden } from "@mantine/core";
import { IconChevronDown, IconChevronUp } from "@tabler/icons-react";
import { useId } from "react";
import { Link } from "react-router";
import { JobState } from "../api/virtyard/api/jobs/v1/job_pb";
import type { JobSummary } from "../api/virtyard/api/jobs/v1/operation_pb";
import { addressOfFilter, NO_FILTER } from "../jobs/job-filter";
import { STATE_GROUPS, stateNames } from "../jobs/states";
import { useJobSummary, useOpenOperations, type OpenOperation } from "../live";
import { countOf } from "../ui/counts";
import { OperationRow } from "./OperationRow";
import classes from "./JobSummaryPane.module.css";

interface Counter {
  readonly label: string;
  readonly count: (summary: JobSummary) => bigint;
  /** The states that it counts, to which the list of jobs behind it is narrowed; none for all. */
  readonly states: readonly JobState[];
  readonly tone?: "active" | "bad";
}

// The seed's six, in its order.
const COUNTERS: readonly Counter[] = [
  { label: "Total", count: (summary) => summary.total, states: [] },
  { label: "Pending", count: (summary) => summary.pending, states: STATE_GROUPS.pending },
  { label: "In Progress", count: (summary) => summary.inProgress, states: STATE_GROUPS.inProgress, tone: "active" },
  { label: "Failed", count: (summary) => summary.failed, states: STATE_GROUPS.failed, tone: "bad" },
  { label: "Aborted", count: (summary) => summary.aborted, states: [JobState.ABORTED] },
  { label: "Complete", count: (summary) => summary.complete, states: [JobState.COMPLETED] },
];

const LINE = 44;
const ROW = 58;

/** How high the pane is, in pixels: as high as what is under way, which is three rows and a half at most. */
export function usePaneHeight(open: boolean): number {
  const count = useOpenOperations().value.length;
  if (!open) return LINE;
  return LINE + (count === 0 ? 38 : Math.min(count, 3.5) * ROW);
}

export function JobSummaryPane({ open, onToggle }: { open: boolean; onToggle: () => void }) {
  const summary = useJobSummary().value;
  const operations = useOpenOperations();
  const list = useId();
  return (
    <section className={classes.pane} aria-label="Job summary">
      <div className={classes.line}>
        <UnstyledButton
          className={classes.toggle}
          onClick={onToggle}
          aria-expanded={open}
          aria-controls={list}
          aria-label="Job summary: operations under way"
        >
          {open ? <IconChevronDown size={18} aria-hidden /> : <IconChevronUp size={18} aria-hidden />}
          <span className={classes.title}>Job summary</span>
        </UnstyledButton>
        <ul className={classes.counters}>
          {COUNTERS.map((counter) => (
            <CounterView key={counter.label} counter={counter} summary={summary} />
          ))}
        </ul>
      </div>
      <div id={list} hidden={!open} className={classes.list}>
        {open && <OperationList operations={operations.value} ready={operations.ready} />}
      </div>
    </section>
  );
}

function CounterView({ counter, summary }: { counter: Counter; summary: JobSummary | undefined }) {
  const count = summary && counter.count(summary);
  return (
    <li>
      <Link
        className={classes.counter}
        to={counter.states.length > 0 ? `/jobs?${addressOfFilter({ ...NO_FILTER, state: stateNames(counter.states) })}` : "/jobs"}
        data-tone={(count && counter.tone) || undefined}
        data-counter={counter.label}
      >
        <span className={classes.label}>{counter.label}</span>
        <strong>{count === undefined ? "–" : count.toLocaleString()}</strong>
      </Link>
    </li>
  );
}

// More are counted, not drawn: the pane is for a glance, the list of jobs for all of them.
const MOST_SHOWN = 50;

function OperationList({ operations, ready }: { operations: readonly OpenOperation[]; ready: boolean }) {
  if (operations.length === 0) {
    return (
      <Text size="sm" c="dimmed" px="md" py="xs">
        {ready ? "Nothing is under way." : "Loading what is under way."}
      </Text>
    );
  }
  return (
    <ScrollArea h="100%" type="auto" viewportProps={{ tabIndex: 0, "aria-label": "Operations under way", role: "group" }}>
      <VisuallyHidden role="status">{countOf(operations.length, "operation")} under way</VisuallyHidden>
      <ul className={classes.rows}>
        {operations.slice(0, MOST_SHOWN).map((operation) => (
          <OperationRow key={operation.name} operation={operation} />
        ))}
      </ul>
      {operations.length > MOST_SHOWN && (
        <Text size="sm" c="dimmed" px="md" pb="xs">
          and {operations.length - MOST_SHOWN} more: see the <Link to="/jobs">list of jobs</Link>.
        </Text>
      )}
    </ScrollArea>
  );
}
