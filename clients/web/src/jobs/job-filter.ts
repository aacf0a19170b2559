// What a list of jobs is narrowed by: in the address of the page, and as the filter that the service reads.
import { JobState } from "../api/virtyard/api/jobs/v1/job_pb";
import { quoted } from "../ui/filter-text";

/** What is asked of the jobs; an empty text asks nothing. */
export interface JobFilter {
  /** The names of states, any of which will do, as PENDING,WAITING_FOR_LOCKS. */
  state: string;
  /** A part of the job's title. */
  title: string;
  /** A part of who asked for it, as ann. */
  user: string;
  /** A part of the object's name, or a whole name as virtualMachines/web. */
  object: string;
  /** Accepted at this time or later, as the field of a form has it: 2026-03-01T12:00. */
  since: string;
  /** Accepted before this time. */
  until: string;
  /** Whether the archive is read, in place of the live list. */
  archived: boolean;
}

export const NO_FILTER: JobFilter = { state: "", title: "", user: "", object: "", since: "", until: "", archived: false };

const TEXTS = ["state", "title", "user", "object", "since", "until"] as const;

/** The filter that an address has. */
export function filterOfAddress(query: URLSearchParams): JobFilter {
  const filter = { ...NO_FILTER, archived: query.get("archived") === "yes" };
  for (const key of TEXTS) filter[key] = query.get(key) ?? "";
  return filter;
}

/** The address of a filter. */
export function addressOfFilter(filter: JobFilter): URLSearchParams {
  const query = new URLSearchParams();
  for (const key of TEXTS) if (filter[key]) query.set(key, filter[key]);
  if (filter.archived) query.set("archived", "yes");
  return query;
}

/** Whether of an operation only some of the jobs may match. */
export function isPartial(filter: JobFilter): boolean {
  return filter.state !== "" || filter.title !== "" || filter.object !== "";
}

/** Whether anything is asked. */
export function isEmpty(filter: JobFilter): boolean {
  return addressOfFilter(filter).size === 0;
}

/** The filter as AIP-160 has it; the archive is asked for beside it. */
export function filterText(filter: JobFilter): string {
  const parts: string[] = [];
  const states = filter.state.split(",").filter((name) => name in JobState).map((name) => `state = ${name}`);
  if (states.length > 0) parts.push(states.length > 1 ? `(${states.join(" OR ")})` : states[0]!);
  if (filter.title) parts.push(`title:${quoted(filter.title)}`);
  if (filter.user) parts.push(`principal:${quoted(filter.user)}`);
  // A whole name is found through an index.
  if (filter.object) parts.push(`object${/^\w+\/.+$/.test(filter.object) ? " = " : ":"}${quoted(filter.object)}`);
  if (filter.since) parts.push(`create_time >= ${momentOf(filter.since)}`);
  if (filter.until) parts.push(`create_time < ${momentOf(filter.until)}`);
  return parts.join(" AND ");
}

function momentOf(local: string): string {
  const time = new Date(local);
  return Number.isNaN(time.getTime()) ? quoted(local) : time.toISOString();
}
