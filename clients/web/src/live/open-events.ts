// The open events of the site: those of weight that somebody should see, and the worst of each object.
import { Severity, type Event } from "../api/virtyard/api/inventory/v1/event_pb";

/** The AIP-160 filter of open events. */
export const OPEN_EVENTS_FILTER = "open = true AND severity >= WARNING";

export interface OpenEvents {
  readonly count: number;
  readonly worst: Severity;
  /** The worst open event of each object. */
  readonly byObject: ReadonlyMap<string, Event>;
}

export const NO_OPEN_EVENTS: OpenEvents = { count: 0, worst: Severity.UNSPECIFIED, byObject: new Map() };

/** Counts events and finds the worst of each object; of two as grave, the later one. */
export function openEvents(items: ReadonlyMap<string, Event>): OpenEvents {
  const byObject = new Map<string, Event>();
  let worst = Severity.UNSPECIFIED;
  for (const event of items.values()) {
    const known = byObject.get(event.object);
    if (!known || event.severity >= known.severity) byObject.set(event.object, event);
    if (event.severity > worst) worst = event.severity;
  }
  return { count: items.size, worst, byObject };
}
