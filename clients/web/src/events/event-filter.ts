// What a list of events is narrowed by: in the address of the page, and as the filter that the service reads.
import { Severity } from "../api/virtyard/api/inventory/v1/event_pb";
import { quoted } from "../ui/filter-text";

/** What is asked of the events; an empty text asks nothing. */
export interface EventFilter {
  /** The name of the lowest severity, as WARNING. */
  severity: string;
  /** The type, as JOB_FAILED. */
  type: string;
  /** A part of the object's name, or a whole name. */
  object: string;
  /** Recorded at this time or later, as the field of a form has it. */
  since: string;
  /** Recorded before this time. */
  until: string;
  /** "open", "acknowledged" or "cleared". */
  standing: string;
}

export const NO_FILTER: EventFilter = { severity: "", type: "", object: "", since: "", until: "", standing: "" };
const KEYS = Object.keys(NO_FILTER) as (keyof EventFilter)[];

const STANDINGS: Record<string, string> = {
  open: "open = true",
  acknowledged: "acknowledged_by:*",
  cleared: "cleared = true",
};

/** The filter that an address has. */
export function filterOfAddress(query: URLSearchParams): EventFilter {
  return Object.fromEntries(KEYS.map((key) => [key, query.get(key) ?? ""])) as unknown as EventFilter;
}

/** The address of a filter. */
export function addressOfFilter(filter: EventFilter): URLSearchParams {
  return new URLSearchParams(KEYS.flatMap((key) => (filter[key] ? [[key, filter[key]]] : [])));
}

/** The filter as AIP-160 has it. */
export function filterText(filter: EventFilter): string {
  const parts: string[] = [];
  if (filter.severity in Severity) parts.push(`severity >= ${filter.severity}`);
  if (filter.type) parts.push(`type = ${quoted(filter.type)}`);
  if (filter.object) parts.push(`object${/^\w+\/.+$/.test(filter.object) ? " = " : ":"}${quoted(filter.object)}`);
  const standing = STANDINGS[filter.standing];
  if (standing) parts.push(standing);
  if (filter.since) parts.push(`create_time >= ${momentOf(filter.since)}`);
  if (filter.until) parts.push(`create_time < ${momentOf(filter.until)}`);
  return parts.join(" AND ");
}

function momentOf(local: string): string {
  const time = new Date(local);
  return Number.isNaN(time.getTime()) ? quoted(local) : time.toISOString();
}
