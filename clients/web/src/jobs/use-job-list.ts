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
 * Put what changes into the list. The operations that are under way come by the watch; one whose jobs' states moved is
 * read again, as the watch has no jobs that have ended, and only the service knows what a filter says of them.
 */
function useLiveChanges(list: { current: JobList }, text: string, off: boolean, told: () => void): void {
  const open = useOpenOperations();
  const seen = useRef(new Map<string, string>());
  const busy = useRef(new Map<string, boolean>());
  const tell = useRef(told);
  tell.current = told;
  useEffect(() => {
    if (off || !open.ready) return;
    const now = new Map(open.value.map((each) => [each.name, each.jobs.map((job) => `${job.name} ${job.state}`).join()]));
    const moved = [...new Set([...seen.current.keys(), ...now.keys()])].filter((name) => now.get(name) !== seen.current.get(name));
    seen.current = now;
    for (const operation of open.value) {
      const listed = new Set(list.current.find(operation.name)?.jobs.map((line) => line.name));
      for (const job of operation.jobs) if (text === "" || listed.has(job.name)) list.current.put(lineOf(job));
    }
    if (now.size > 0) tell.current();
    for (const name of moved) void readAgain(list, name, text, busy.current).then(() => tell.current());
  }, [open, list, text, off]);
}

/** Read the jobs of one operation again, and make the list say what is so now; one reading at a time for each, and another if it moved meanwhile. */
async function readAgain(list: { current: JobList }, name: string, text: string, busy: Map<string, boolean>): Promise<void> {
  if (busy.has(name)) return void busy.set(name, true);
  busy.set(name, false);
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
    const movedSince = busy.get(name);
    busy.delete(name);
    if (movedSince) await readAgain(list, name, text, busy);
  }
}
