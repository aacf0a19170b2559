// What one subscription has brought: items by name, folded from frames, with a snapshot swapped in as a whole.
import type { Status } from "../api/google/rpc/status_pb";
import { FrameKind } from "../api/virtyard/api/type/v1/watch_pb";

/** How a source does: CONNECTING until the first news, then as the gateway says. */
export type SourceState = "connecting" | "live" | "notLive" | "ended" | "refused";

/** What a hook hands out. The object is the same one until something of it changes. */
export interface Live<T> {
  /** What is known; empty until `ready`. */
  readonly value: T;
  /** True once the first snapshot is complete. */
  readonly ready: boolean;
  /** Whether news of it come now. */
  readonly state: SourceState;
  /** What is in the way while it is not live, or why it was refused. */
  readonly error: Status | undefined;
}

/** A frame of any watch, as far as all are alike. */
export interface Frame<Item> {
  kind: FrameKind;
  name: string;
  item: Item | undefined;
}

/** The items of one subscription. `view` makes of them what its hook hands out, and may keep parts of its last answer. */
export class Topic<Item, Value> {
  #items = new Map<string, Item>();
  // A snapshot that is not complete yet; what is shown meanwhile is what was known before.
  #building: Map<string, Item> | undefined;
  #ready = false;
  #state: SourceState = "connecting";
  #error: Status | undefined;
  #shown: Live<Value>;
  #stale = false;
  readonly #view: (items: ReadonlyMap<string, Item>, last: Value) => Value;

  constructor(view: (items: ReadonlyMap<string, Item>, last: Value) => Value, empty: Value) {
    this.#view = view;
    this.#shown = { value: empty, ready: false, state: "connecting", error: undefined };
  }

  /** Fold a frame in; true if what is shown is different now. */
  apply({ kind, name, item }: Frame<Item>): boolean {
    switch (kind) {
      case FrameKind.GAP:
        this.#building = new Map();
        return false;
      case FrameKind.SNAPSHOT:
        this.#building ??= new Map();
        if (item !== undefined) this.#building.set(name, item);
        return false;
      case FrameKind.BOOKMARK:
        return this.#complete();
      case FrameKind.CHANGED:
        if (item === undefined) return false;
        this.#building?.set(name, item);
        this.#items.set(name, item);
        break;
      case FrameKind.REMOVED:
        this.#building?.delete(name);
        if (!this.#items.delete(name)) return false;
        break;
      default:
        return false;
    }
    this.#stale = true;
    return this.#ready;
  }

  /** Note how the source does; true if that is news. */
  setState(state: SourceState, error: Status | undefined): boolean {
    if (state === this.#state && error === this.#error) return false;
    this.#state = state;
    this.#error = error;
    this.#stale = true;
    return true;
  }

  /** What is known now: the same object until something changes. */
  read(): Live<Value> {
    if (this.#stale) {
      this.#stale = false;
      const value = this.#ready ? this.#view(this.#items, this.#shown.value) : this.#shown.value;
      this.#shown = { value, ready: this.#ready, state: this.#state, error: this.#error };
    }
    return this.#shown;
  }

  #complete(): boolean {
    // A bookmark without a snapshot before it: the source has nothing to show, or went on from a token.
    if (this.#building !== undefined) this.#items = this.#building;
    this.#building = undefined;
    this.#ready = true;
    this.#stale = true;
    return true;
  }
}
