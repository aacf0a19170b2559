// The Jobs tab: every operation with its jobs, live, to be narrowed, exported and opened.
import { Button, Checkbox, Group, Popover, Switch, Text } from "@mantine/core";
import { IconColumns3, IconDownload } from "@tabler/icons-react";
import { useMemo } from "react";
import { useSearchParams } from "react-router";
import { hereWords } from "../ui/counts";
import { ExportButton } from "../ui/ExportButton";
import { Page } from "../ui/Page";
import { ProblemAlert } from "../ui/ProblemAlert";
import { COLUMNS, useChosenColumns } from "./columns";
import { JobFilters } from "./JobFilters";
import { JobTable } from "./JobTable";
import { JobTabs } from "./JobTabs";
import { exportJobs } from "./export-jobs";
import { addressOfFilter, filterOfAddress, filterText, isPartial, type JobFilter } from "./job-filter";
import { useJobList } from "./use-job-list";
import { useOpenRows } from "./use-open-rows";

export default function JobsPage() {
  const [query, setQuery] = useSearchParams();
  const address = query.toString();
  const filter = useMemo(() => filterOfAddress(new URLSearchParams(address)), [address]);
  const jobs = useJobList(filter);
  const open = useOpenRows();
  const [columns, setColumns] = useChosenColumns();
  const change = (next: JobFilter): void => setQuery(addressOfFilter(next), { replace: true });
  const { complete } = jobs.pages;
  return (
    <Page
      title="Jobs"
      actions={
        <>
          <Switch label="Show jobs" checked={open.all} onChange={(event) => open.setAll(event.currentTarget.checked)} />
          <ColumnMenu chosen={columns} onChange={setColumns} />
          <ExportButton read={() => exportJobs(exported(filter))} file="jobs.jsonl" icon={<IconDownload size={16} aria-hidden />} />
        </>
      }
    >
      <JobTabs />
      <JobFilters filter={filter} onChange={change} />
      {jobs.pages.problem && <ProblemAlert title="The jobs cannot be listed" problem={jobs.pages.problem} />}
      <JobTable
        jobs={jobs}
        columns={columns}
        partial={isPartial(filter)}
        isOpen={open.isOpen}
        onToggle={open.toggle}
      />
      <Group gap="xs">
        <Text size="sm" c="dimmed" role="status" data-testid="job-count">
          {hereWords(jobs.list.size, "job", complete)}
        </Text>
        {!complete && !jobs.pages.problem && (
          <Button variant="subtle" size="compact-sm" loading={jobs.pages.loading} onClick={jobs.pages.more}>
            Load more
          </Button>
        )}
      </Group>
    </Page>
  );
}

/** The filter of an export, which reads the archive too unless it is told not to. */
function exported(filter: JobFilter): string {
  return [filterText(filter), `archived = ${filter.archived}`].filter(Boolean).join(" AND ");
}

function ColumnMenu({ chosen, onChange }: { chosen: string[]; onChange: (keys: string[]) => void }) {
  return (
    <Popover position="bottom-end" trapFocus returnFocus>
      <Popover.Target>
        <Button variant="default" leftSection={<IconColumns3 size={16} aria-hidden />} visibleFrom="sm">
          Columns
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Columns of the list">
        <Checkbox.Group value={chosen} onChange={onChange} label="Columns of the list">
          {COLUMNS.map((column) => (
            <Checkbox key={column.key} value={column.key} label={column.title} mt={6} />
          ))}
        </Checkbox.Group>
      </Popover.Dropdown>
    </Popover>
  );
}
