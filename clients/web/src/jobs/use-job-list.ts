// The list of jobs that a filter lets pass: read a page at a time, and kept current by the live operations.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobs as jobService } from "../client/services";
import { useOpenOperations } from "../live";
import { quoted } from "../ui/filter-text";
import { usePages, type Page, type Pages } from "../ui/use-pages";
import { filterText, type JobFilter } from "./job-filter";
import { JobList, lineOf } from "./job-list";

const PAGE = 500;

export interface ListedJobs {
  readonly list: JobList;
  /** Rises with every change of the list. */
  readonly version: number;
  readonly pages: Pages;
}

export function useJobList(filter: JobFilter): ListedJobs {
  const text = filterText(filter);
  const { archived } = filter;
  const list = useRef(new JobList());
  const [version, setVersion] = useState(0);
  const ask = useCallback(
    async (pageToken: string, signal: AbortSignal): Promise<Page<Job>> => {
      const answer = await jobService.listJobs({ filter: text, archived, pageToken, pageSize: PAGE }, { signal });
      return { items: answer.jobs, next: answer.nextPageToken };
    },
    [text, archived],
  );
  const take = useCallback((items: Job[], first: boolean): void => {
    if (first) list.current = new JobList();
    for (const job of items) list.current.put(lineOf(job));
    setVersion((before) => before + 1);
  }, []);
  const pages = usePages(ask, take);
  useLiveChanges(list, text, archived || pages.count === 0, () => setVersion((before) => before + 1));
  return useMemo(() => ({ list: list.current, version, pages }), [version, pages]);
}

/**
 * Put what changes into the list. The operations that are under way come by the watch; one of which a job is not among
 * them any more is read again, as is what the filter says of all of them.
 */
function useLiveChanges(list: { current: JobList }, text: string, off: boolean, told: () => void): void {
  const open = useOpenOperations();
  const seen = useRef(new Map<string, number>());
  const busy = useRef(new Set<string>());
  const tell = useRef(told);
  tell.current = told;
  useEffect(() => {
    if (off || !open.ready) return;
    const now = new Map(open.value.map((each) => [each.name, each.jobs.length]));
    const moved = [...seen.current].filter(([name, count]) => now.get(name) !== count).map(([name]) => name);
    seen.current = now;
    if (text === "") {
      for (const operation of open.value) for (const job of operation.jobs) list.current.put(lineOf(job));
      if (now.size > 0) tell.current();
    }
    const again = text === "" ? moved : [...new Set([...moved, ...now.keys()])];
    for (const name of again) void readAgain(list, name, text, busy.current).then(() => tell.current());
  }, [open, list, text, off]);
}

/** Read the jobs of one operation again, and make the list say what is so now; one reading at a time for each. */
async function readAgain(list: { current: JobList }, name: string, text: string, busy: Set<string>): Promise<void> {
  if (busy.has(name)) return;
  busy.add(name);
  const there = list.current;
  try {
    const filter = [`operation = ${quoted(name)}`, ...(text ? [text] : [])].join(" AND ");
    const { jobs } = await jobService.listJobs({ filter, pageSize: 1000 });
    const names = new Set(jobs.map((job) => job.name));
    for (const line of [...(there.find(name)?.jobs ?? [])]) if (!names.has(line.name)) there.remove(name, line.name);
    for (const job of jobs) there.put(lineOf(job));
  } catch {
    // The next change of it is another chance, and the header says that the list is not live.
  } finally {
    busy.delete(name);
  }
}
