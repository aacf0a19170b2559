// The event that an address names: out of the list if it is there, which keeps it current, else read by itself.
import { useEffect, useState } from "react";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { inventory } from "../client/services";
import { problemOf, type Problem } from "../ui/problem";
import type { ListedEvents } from "./use-event-list";

interface OneEvent {
  event: Event | undefined;
  problem: Problem | undefined;
  put: (event: Event) => void;
  /** Read it again, and have the list follow: nobody is told when an event leaves the live log. */
  again: () => void;
}

export function useOneEvent(name: string | undefined, list: ListedEvents): OneEvent {
  const [read, setRead] = useState<{ event: Event | undefined; problem: Problem | undefined }>({ event: undefined, problem: undefined });
  const listed = name === undefined ? undefined : list.events.find((event) => event.name === name);
  const isListed = listed !== undefined;
  const put = (event: Event): void => setRead({ event, problem: undefined });
  useEffect(() => {
    if (name === undefined || isListed) return;
    const abort = new AbortController();
    inventory.getEvent({ name }, { signal: abort.signal }).then(put, (error: unknown) => abort.signal.aborted || setRead({ event: undefined, problem: problemOf(error) }));
    return () => abort.abort();
  }, [name, isListed]);
  const again = (): void => {
    if (name === undefined) return;
    inventory.getEvent({ name }).then(
      (event) => {
        if (isListed) list.put(event);
        put(event);
      },
      (error: unknown) => {
        const problem = problemOf(error);
        // Anything else that goes wrong says nothing of the event.
        if (problem.code !== "NOT_FOUND") return;
        list.forget(name);
        setRead({ event: undefined, problem });
      },
    );
  };
  const own = read.event?.name === name ? read.event : undefined;
  return { event: listed ?? own, problem: listed || own ? undefined : read.problem, put, again };
}
