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
  /** Whether the archive is read, in place of the live log. */
  archived: boolean;
}

export const NO_FILTER: EventFilter = { severity: "", type: "", object: "", since: "", until: "", standing: "", archived: false };

const TEXTS = ["severity", "type", "object", "since", "until", "standing"] as const;

const STANDINGS: Record<string, string> = {
  open: "open = true",
  acknowledged: "acknowledged_by:*",
  cleared: "cleared = true",
};

/** The filter that an address has. */
export function filterOfAddress(query: URLSearchParams): EventFilter {
  const filter = { ...NO_FILTER, archived: query.get("archived") === "yes" };
  for (const key of TEXTS) filter[key] = query.get(key) ?? "";
  return filter;
}

/** The address of a filter. */
export function addressOfFilter(filter: EventFilter): URLSearchParams {
  const query = new URLSearchParams(TEXTS.flatMap((key) => (filter[key] ? [[key, filter[key]]] : [])));
  if (filter.archived) query.set("archived", "yes");
  return query;
}

/** The filter as AIP-160 has it; the archive is asked for beside it. */
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

/** The filter of an export, which reads the archive too unless it is told not to. */
export function exportText(filter: EventFilter): string {
  return [filterText(filter), `archived = ${filter.archived}`].filter(Boolean).join(" AND ");
}

/** What a list says that has nothing in it. */
export function emptyWords(filter: EventFilter): string {
  if (!filter.archived) return "No event matches.";
  return filterText(filter) ? "No archived event matches." : "The archive has no events: all that are kept are in the live log.";
}

function momentOf(local: string): string {
  const time = new Date(local);
  return Number.isNaN(time.getTime()) ? quoted(local) : time.toISOString();
}
