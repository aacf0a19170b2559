// The event that an address names: out of the list if it is there, which keeps it current, else read by itself.
import { useEffect, useState } from "react";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { inventory } from "../client/services";
import { problemOf, type Problem } from "../ui/problem";

export function useOneEvent(name: string | undefined, events: readonly Event[]): { event: Event | undefined; problem: Problem | undefined; put: (event: Event) => void } {
  const [read, setRead] = useState<{ event: Event | undefined; problem: Problem | undefined }>({ event: undefined, problem: undefined });
  const listed = name === undefined ? undefined : events.find((event) => event.name === name);
  const isListed = listed !== undefined;
  useEffect(() => {
    if (name === undefined || isListed) return;
    const abort = new AbortController();
    inventory.getEvent({ name }, { signal: abort.signal }).then(
      (event) => setRead({ event, problem: undefined }),
      (error: unknown) => abort.signal.aborted || setRead({ event: undefined, problem: problemOf(error) }),
    );
    return () => abort.abort();
  }, [name, isListed]);
  const own = read.event?.name === name ? read.event : undefined;
  return { event: listed ?? own, problem: listed || own ? undefined : read.problem, put: (event) => setRead({ event, problem: undefined }) };
}
