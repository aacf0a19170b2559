// The fields of a filter while a person changes them: what is typed counts once the typing pauses, and none of it is lost.
import { useDebouncedCallback } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";

const PAUSE_MS = 300;

export interface TypedFilter<F> {
  /** What the fields show. */
  readonly typed: F;
  /** Takes over what is typed; it counts after a pause. */
  readonly type: (part: Partial<F>) => void;
  /** Takes over what is picked, which counts at once, together with what was typed just before. */
  readonly pick: (part: Partial<F>) => void;
}

/**
 * Keep what is typed beside what counts.
 *
 * @param filter what counts now; plain values only.
 * @param onChange makes another filter count, which then comes as `filter`, in its own time.
 */
export function useTypedFilter<F extends object>(filter: F, onChange: (filter: F) => void): TypedFilter<F> {
  const [typed, setTyped] = useState(filter);
  // The newest of what is typed, what was made to count last, and whether more was typed since.
  const state = useRef({ now: filter, sent: filter, typing: false });
  const send = (next: F): void => {
    state.current = { now: next, sent: next, typing: false };
    onChange(next);
  };
  const later = useDebouncedCallback(send, PAUSE_MS);
  const take = (part: Partial<F>): F => {
    const now = { ...state.current.now, ...part };
    state.current.now = now;
    setTyped(now);
    return now;
  };
  useEffect(() => {
    // What was typed earlier begins to count while somebody types on: that must not put the field back.
    if (state.current.typing && same(filter, state.current.sent)) return;
    later.cancel();
    state.current = { now: filter, sent: filter, typing: false };
    setTyped(filter);
    // What `later` does is the same in each rendering.
  }, [filter]);
  return {
    typed,
    type: (part) => {
      const next = take(part);
      state.current.typing = true;
      later(next);
    },
    pick: (part) => {
      // What waits would undo, when its pause is over, what is picked now.
      later.cancel();
      send(take(part));
    },
  };
}

const same = (one: object, other: object): boolean => JSON.stringify(one) === JSON.stringify(other);
