// The open events of the site: those of weight that nobody has acknowledged and that have not ended by themselves.
import { useMemo } from "react";
import { Severity, type Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { useEvents } from "./hooks";

const FILTER = "severity >= WARNING";

export interface OpenEvents {
  readonly count: number;
  readonly worst: Severity;
  /** The worst open event of each object. */
  readonly byObject: ReadonlyMap<string, Event>;
}

export function useOpenEvents(): OpenEvents {
  const events = useEvents(FILTER).value;
  return useMemo(() => openEvents(events), [events]);
}

/** Counts events and finds the worst of each object; of two as grave the newer, which comes first. */
export function openEvents(events: readonly Event[]): OpenEvents {
  const byObject = new Map<string, Event>();
  let worst = Severity.UNSPECIFIED;
  for (const event of events) {
    const known = byObject.get(event.object);
    if (!known || event.severity > known.severity) byObject.set(event.object, event);
    if (event.severity > worst) worst = event.severity;
  }
  return { count: events.length, worst, byObject };
}
