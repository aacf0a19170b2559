// The list of events as it is kept in the browser, the newest first: pages of the past, and what is new or revised.
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";

const numberOf = (name: string): number => Number(name.slice(name.indexOf("/") + 1));

export class EventList {
  /** The events, the newest first; another array after each change. */
  events: readonly Event[] = [];
  private readonly byName = new Map<string, Event>();
  private readonly forgotten = new Set<string>();

  /** Put events in, or in the place of what was known of them. True if that changed anything. */
  put(events: readonly Event[]): boolean {
    let isNew = false;
    let changed = false;
    for (const event of events) {
      const before = this.byName.get(event.name);
      // What is archived or forgotten is so for good; the watch is not told of it, and goes on with what it knew.
      if (before === event || (before?.archived && !event.archived) || this.forgotten.has(event.name)) continue;
      this.byName.set(event.name, event);
      changed = true;
      isNew ||= before === undefined;
    }
    if (!changed) return false;
    this.events = isNew ? this.merged(events) : this.events.map((event) => this.byName.get(event.name) as Event);
    return true;
  }

  /** Take those out that match no longer. */
  remove(names: readonly string[]): void {
    for (const name of names) this.byName.delete(name);
    this.events = this.events.filter((event) => this.byName.has(event.name));
  }

  /** Take one out that is not kept any more, for good. */
  forget(name: string): void {
    this.forgotten.add(name);
    this.remove([name]);
  }

  /** Both sorted lists as one, as new events come at either end. */
  private merged(events: readonly Event[]): Event[] {
    const old = new Set(this.events.map((event) => event.name));
    const fresh = events.filter(({ name }) => !old.has(name) && this.byName.has(name)).sort((a, b) => numberOf(b.name) - numberOf(a.name));
    const found: Event[] = [];
    let place = 0;
    for (const event of this.events) {
      while (place < fresh.length && numberOf((fresh[place] as Event).name) > numberOf(event.name)) found.push(fresh[place++] as Event);
      found.push(this.byName.get(event.name) as Event);
    }
    return [...found, ...fresh.slice(place)];
  }
}
