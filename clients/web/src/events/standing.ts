// What became of an event: whether it is open, and if not, why.
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { countOf } from "../ui/counts";
import type { Look } from "../ui/looks";
import { millisOf, showMoment } from "../ui/moments";

/** How an event looks that can only be read any more. */
export const ARCHIVED: Look = { word: "archived", tone: "quiet", sign: "info" };

/** How the standing of an event looks; undefined for a fact that needs no attention. */
export function standingLook(event: Event): Look | undefined {
  if (event.open) return { word: "open", tone: "caution", sign: "dot" };
  if (event.acknowledgedBy) return { word: event.forced ? "acknowledged by force" : "acknowledged", tone: "good", sign: "check" };
  if (event.cleared) return { word: "cleared", tone: "good", sign: "check" };
  return undefined;
}

/** Whether somebody may acknowledge it: an archived one stays as it was, open too. */
export const canAcknowledge = (event: Event): boolean => event.open && !event.archived;

/** How many facts an event stands for, and since when: "37 times since 12:00:00"; empty for one. */
export function countWords(event: Event): string {
  if (event.count <= 1n) return "";
  const first = millisOf(event.firstTime);
  return `${countOf(event.count, "time")}${first === undefined ? "" : ` since ${showMoment(first)}`}`;
}
