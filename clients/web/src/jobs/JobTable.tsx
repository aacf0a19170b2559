// The long table of the Jobs tab: operations with their jobs below, as a tree.
import { Center, Group, Loader, Stack, Text, UnstyledButton } from "@mantine/core";
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import { useCallback, useMemo } from "react";
import { useNavigate } from "react-router";
import { countOf } from "../ui/counts";
import { pageOf } from "../ui/pages";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { ResourceLink } from "../ui/ResourceLink";
import { useNarrow } from "../ui/use-narrow";
import { VirtualGrid, type Column } from "../ui/VirtualGrid";
import { COLUMNS, rowPercent, rowState } from "./columns";
import type { Row } from "./job-list";
import { ProgressCell } from "./ProgressCell";
import { jobLook } from "./states";
import type { ListedJobs } from "./use-job-list";

interface Props {
  jobs: ListedJobs;
  /** The keys of the columns behind the first. */
  columns: readonly string[];
  /** Whether an operation may have jobs that the filter leaves out. */
  partial: boolean;
  isOpen: (name: string) => boolean;
  /** Opens or closes an operation, or a job that has children. */
  onToggle: (name: string, open: boolean) => void;
}

const nameOf = (row: Row): string => (row.kind === "job" ? row.job.name : row.operation.name);

export function JobTable({ jobs, columns, partial, isOpen, onToggle }: Props) {
  const narrow = useNarrow();
  const navigate = useNavigate();
  const { complete, loading, more } = jobs.pages;
  // The list changes in place; its version is what tells.
  const rows = useMemo(() => jobs.list.rows(isOpen, complete), [jobs, isOpen, complete]);
  const first: Column<Row> = {
    key: "title",
    title: "Operation or job",
    width: "minmax(11.25rem, 2fr)",
    cell: (row) => <TitleCell row={row} partial={partial} onToggle={onToggle} />,
  };
  const shown = [first, ...COLUMNS.filter((column) => columns.includes(column.key))];
  const nearEnd = useCallback(() => {
    if (!loading) more();
  }, [loading, more]);
  return (
    <VirtualGrid
      label="Operations and jobs"
      around="17.5rem"
      rows={rows}
      columns={shown}
      keyOf={nameOf}
      narrow={narrow}
      card={(row) => <JobCard row={row} partial={partial} onToggle={onToggle} />}
      onOpen={(row) => void navigate(pageOf(nameOf(row)) ?? "/jobs")}
      onNearEnd={nearEnd}
      levelOf={(row) => ({ level: row.kind === "job" ? row.depth + 2 : 1, open: row.open })}
      onToggle={(row, open) => onToggle(nameOf(row), open)}
      empty={
        loading ? (
          <Center>
            <Loader role="status" aria-label="Loading jobs" />
          </Center>
        ) : (
          <Text size="sm">No job matches.</Text>
        )
      }
    />
  );
}

interface TitleProps {
  row: Row;
  partial: boolean;
  onToggle: (name: string, open: boolean) => void;
}

function TitleCell({ row, partial, onToggle }: TitleProps) {
  if (row.kind === "job")
    return (
      <span style={{ display: "inline-flex", alignItems: "center", gap: 6, maxWidth: "100%", verticalAlign: "middle", paddingInlineStart: (row.open === undefined ? 48 : 24) + row.depth * 24 }}>
        {row.open !== undefined && <Toggle name={row.job.name} what="children" open={row.open} onToggle={onToggle} />}
        <span style={{ overflow: "hidden", textOverflow: "ellipsis" }}>
          <ResourceLink name={row.job.name} text={row.job.title} tabIndex={-1} />
        </span>
      </span>
    );
  const { operation, open } = row;
  const count = operation.jobs.length;
  const title = operation.jobs[0]?.operationTitle || operation.jobs[0]?.title || operation.name;
  return (
    <span style={{ display: "inline-flex", alignItems: "center", gap: 6, maxWidth: "100%", verticalAlign: "middle" }}>
      <Toggle name={operation.name} what="jobs" open={open} onToggle={onToggle} />
      <span style={{ overflow: "hidden", textOverflow: "ellipsis" }}>
        <ResourceLink name={operation.name} text={title} tabIndex={-1} />{" "}
        <Text span size="sm" c="dimmed">
          {operation.number}, {countOf(count, partial ? "matching job" : "job")}
        </Text>
      </span>
    </span>
  );
}

interface ToggleProps {
  name: string;
  what: string;
  open: boolean;
  onToggle: (name: string, open: boolean) => void;
}

/** The arrow before what has something below it; by the keyboard the row itself does the same. */
function Toggle({ name, what, open, onToggle }: ToggleProps) {
  return (
    <UnstyledButton
      tabIndex={-1}
      aria-label={`${open ? "Hide" : "Show"} the ${what} of ${name}`}
      onClick={() => onToggle(name, !open)}
      onDoubleClick={(event) => event.stopPropagation()}
      style={{ display: "inline-flex", flex: "none" }}
    >
      {open ? <IconChevronDown size={18} aria-hidden /> : <IconChevronRight size={18} aria-hidden />}
    </UnstyledButton>
  );
}

function JobCard({ row, partial, onToggle }: TitleProps) {
  const job = row.kind === "job" ? row.job : row.operation.jobs[0];
  return (
    <Stack gap={4}>
      <Text size="sm" truncate component="div">
        <TitleCell row={row} partial={partial} onToggle={onToggle} />
      </Text>
      <Group gap="xs" wrap="nowrap" justify="space-between">
        <LookBadge look={jobLook(rowState(row))} />
        <span style={{ flex: 1, maxWidth: 130 }}>
          <ProgressCell percent={rowPercent(row)} state={rowState(row)} />
        </span>
        <Text size="xs">
          <Moment at={job?.created} />
        </Text>
      </Group>
    </Stack>
  );
}
