// What this tab knows of the site: one topic for each source that is looked at, told to listeners once a frame.
import type { Status } from "../api/google/rpc/status_pb";
import type { Source, SourceFrame, SourceRequest, SourceTopic } from "./sources";
import type { Live, SourceState } from "./topic";

/** How the whole watch does. */
export interface LiveStatus {
  /** True while everything that is shown is as it is now. */
  readonly live: boolean;
  /** When it became so, or ceased to be. */
  readonly since: Date;
  /** What is in the way of the stream itself; undefined while it stands. */
  readonly problem: string | undefined;
  /** True once the gateway has said that nobody is signed in here. */
  readonly signedOut: boolean;
  /** The sources that are looked at, and how each does. */
  readonly sources: readonly SourceStatus[];
}

export interface SourceStatus {
  readonly label: string;
  readonly state: SourceState;
  readonly error: Status | undefined;
}

/** A subscription as the connection asks for it. */
export interface Wanted {
  readonly id: string;
  readonly request: SourceRequest;
}

interface Entry {
  readonly id: string;
  readonly label: string;
  readonly request: SourceRequest;
  readonly topic: SourceTopic<unknown>;
  readonly listeners: Set<() => void>;
  forget: ReturnType<typeof setTimeout> | undefined;
}

// Long enough that going back to a screen costs nothing.
const KEPT_MS = 30_000;

/** The store of one tab. It knows nothing of the network: a connection asks what is wanted and hands in frames. */
export class LiveStore {
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<string, Entry>();
  readonly #changed = new Set<Entry>();
  readonly #statusListeners = new Set<() => void>();
  readonly #schedule: (flush: () => void) => void;
  #nextId = 1;
  #scheduled = false;
  #statusChanged = false;
  #stream: { open: boolean; problem: string | undefined; signedOut: boolean } = {
    open: false,
    problem: undefined,
    signedOut: false,
  };
  #status: LiveStatus = { live: false, since: new Date(), problem: undefined, signedOut: false, sources: [] };
  /** Called when another set of sources is wanted. */
  onWanted: () => void = () => {};

  constructor(schedule: (flush: () => void) => void = onNextFrame) {
    this.#schedule = schedule;
  }

  /** Look at a source until the function that is returned is called. */
  subscribe(source: Source<unknown>, listener: () => void): () => void {
    const entry = this.#entry(source);
    clearTimeout(entry.forget);
    entry.forget = undefined;
    entry.listeners.add(listener);
    return () => {
      entry.listeners.delete(listener);
      if (entry.listeners.size === 0) entry.forget = setTimeout(() => this.#forget(source.key), KEPT_MS);
    };
  }

  /** What is known of a source now. */
  read<Value>(source: Source<Value>): Live<Value> {
    return this.#entry(source).topic.read() as Live<Value>;
  }

  /** What is known of a source if it is looked at; it is not watched for being asked about. */
  peek<Value>(source: Source<Value>): Live<Value> | undefined {
    return this.#entries.get(source.key)?.topic.read() as Live<Value> | undefined;
  }

  subscribeStatus(listener: () => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  status(): LiveStatus {
    return this.#status;
  }

  /** The subscriptions that are wanted now. */
  wanted(): readonly Wanted[] {
    return [...this.#byId.values()].map(({ id, request }) => ({ id, request }));
  }

  /** Hand in a frame of a subscription; one that is not wanted any more is left out. */
  take(id: string, frame: SourceFrame): void {
    const entry = this.#byId.get(id);
    if (entry?.topic.take(frame)) this.#tell(entry);
  }

  setSource(id: string, state: SourceState, error: Status | undefined): void {
    const entry = this.#byId.get(id);
    if (!entry?.topic.setState(state, error)) return;
    this.#tell(entry);
    this.#tellStatus();
  }

  /** Note how the stream itself does. */
  setStream(open: boolean, problem: string | undefined = undefined, signedOut = false): void {
    const { open: was, problem: before, signedOut: out } = this.#stream;
    if (open === was && problem === before && signedOut === out) return;
    this.#stream = { open, problem, signedOut };
    this.#tellStatus();
  }

  #entry(source: Source<unknown>): Entry {
    let entry = this.#entries.get(source.key);
    if (!entry) {
      const id = `s${this.#nextId++}`;
      entry = {
        id,
        label: source.label,
        request: source.request(),
        topic: source.topic(),
        listeners: new Set(),
        forget: undefined,
      };
      this.#entries.set(source.key, entry);
      this.#byId.set(id, entry);
      // Made while rendering: forgotten like any other if nobody comes to listen.
      entry.forget = setTimeout(() => this.#forget(source.key), KEPT_MS);
      this.#tellStatus();
      this.onWanted();
    }
    return entry;
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry || entry.listeners.size > 0) return;
    this.#entries.delete(key);
    this.#byId.delete(entry.id);
    this.#tellStatus();
    this.onWanted();
  }

  #tell(entry: Entry): void {
    this.#changed.add(entry);
    this.#flushSoon();
  }

  #tellStatus(): void {
    this.#statusChanged = true;
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const changed = [...this.#changed];
    this.#changed.clear();
    if (this.#statusChanged) {
      this.#statusChanged = false;
      this.#status = this.#newStatus();
      for (const listener of this.#statusListeners) listener();
    }
    for (const entry of changed) for (const listener of entry.listeners) listener();
  }

  #newStatus(): LiveStatus {
    const sources = [...this.#byId.values()].map(({ label, topic }) => {
      const { state, error } = topic.read();
      return { label, state, error };
    });
    const live = this.#stream.open && sources.every(({ state }) => state !== "notLive");
    const since = live === this.#status.live ? this.#status.since : new Date();
    return { live, since, problem: this.#stream.problem, signedOut: this.#stream.signedOut, sources };
  }
}

// A hidden tab draws no frames, and is still to know what is when it is shown again.
function onNextFrame(flush: () => void): void {
  if (document.hidden) setTimeout(flush, 250);
  else requestAnimationFrame(flush);
}
