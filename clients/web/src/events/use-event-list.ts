// The events that a filter lets pass: the latest by the watch, older ones a page at a time; archived ones have no watch.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { inventory } from "../client/services";
import { useEvents } from "../live";
import { usePages, type Page, type Pages } from "../ui/use-pages";
import { filterText, type EventFilter } from "./event-filter";
import { EventList } from "./event-list";

const PAGE = 200;
/** How many events the watch keeps: only where it has as many has it pushed older ones out. */
const WATCHED = 1000;

export interface ListedEvents {
  readonly events: readonly Event[];
  readonly pages: Pages;
  /** Put in the place of what was known of an event what was read of it since. */
  readonly put: (event: Event) => void;
  /** Take out an event that is not kept any more. */
  readonly forget: (name: string) => void;
}

export function useEventList(filter: EventFilter): ListedEvents {
  const text = filterText(filter);
  const { archived } = filter;
  const list = useRef(new EventList());
  const [version, setVersion] = useState(0);
  const ask = useCallback(
    async (pageToken: string, signal: AbortSignal): Promise<Page<Event>> => {
      const answer = await inventory.listEvents({ filter: text, archived, pageToken, pageSize: PAGE }, { signal });
      return { items: answer.events, next: answer.nextPageToken };
    },
    [text, archived],
  );
  const take = useCallback((items: Event[], first: boolean): void => {
    if (first) list.current = new EventList();
    list.current.put(items);
    setVersion((before) => before + 1);
  }, []);
  const pages = usePages(ask, take);
  useLatest(list, archived ? undefined : text, pages.count > 0, () => setVersion((before) => before + 1));
  const put = useCallback((event: Event): void => {
    list.current.put([event]);
    setVersion((before) => before + 1);
  }, []);
  const forget = useCallback((name: string): void => {
    list.current.forget(name);
    setVersion((before) => before + 1);
  }, []);
  return useMemo(() => ({ events: list.current.events, pages, put, forget }), [version, pages, put, forget]);
}

/** Put what the watch brings into the list, and take out what it takes back; nothing without a filter. */
function useLatest(list: { current: EventList }, text: string | undefined, on: boolean, told: () => void): void {
  const latest = useEvents(text);
  const before = useRef<readonly Event[]>([]);
  const tell = useRef(told);
  tell.current = told;
  useEffect(() => {
    if (!on || !latest.ready) return;
    const names = new Set(latest.value.map((event) => event.name));
    const oldest = latest.value.length < WATCHED ? -1n : (latest.value.at(-1)?.createTime?.seconds ?? 0n);
    // What the watch has pushed out at its far end, as too old, stays.
    const gone = before.current.filter((event) => !names.has(event.name) && (event.createTime?.seconds ?? 0n) > oldest);
    before.current = latest.value;
    if (gone.length > 0) list.current.remove(gone.map((event) => event.name));
    if (list.current.put(latest.value) || gone.length > 0) tell.current();
  }, [latest, list, on]);
}
