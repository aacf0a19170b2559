// A list that the server gives a page at a time: the next page is asked for when the reader comes near its end.
import { useCallback, useEffect, useRef, useState } from "react";
import { problemOf, type Problem } from "./problem";

/** One page: how the next one is asked for; empty at the end. */
export interface Page<T> {
  items: T[];
  next: string;
}

export interface Pages {
  /** Rises with every page that has come. */
  count: number;
  loading: boolean;
  /** True once the last page is here. */
  complete: boolean;
  problem: Problem | undefined;
  /** Ask for the next page, unless one is on its way. */
  more: () => void;
}

/**
 * Read a list page by page.
 *
 * @param ask gets a page by its token; a new function begins anew from the first page.
 * @param take is given the items of each page, and whether it is the first.
 */
export function usePages<T>(ask: (token: string, signal: AbortSignal) => Promise<Page<T>>, take: (items: T[], first: boolean) => void): Pages {
  const [shown, setShown] = useState({ count: 0, loading: true, complete: false, problem: undefined as Problem | undefined });
  const state = useRef({ token: "", busy: false, complete: false, abort: new AbortController() });

  const more = useCallback((): void => {
    const here = state.current;
    if (here.busy || here.complete) return;
    here.busy = true;
    setShown((before) => ({ ...before, loading: true, problem: undefined }));
    const first = here.token === "";
    ask(here.token, here.abort.signal).then(
      (page) => {
        if (here !== state.current) return;
        here.busy = false;
        here.token = page.next;
        here.complete = page.next === "";
        take(page.items, first);
        setShown((before) => ({ count: before.count + 1, loading: false, complete: here.complete, problem: undefined }));
      },
      (error: unknown) => {
        if (here !== state.current) return;
        here.busy = false;
        setShown((before) => ({ ...before, loading: false, problem: problemOf(error) }));
      },
    );
  }, [ask, take]);

  useEffect(() => {
    const here = { token: "", busy: false, complete: false, abort: new AbortController() };
    state.current = here;
    setShown({ count: 0, loading: true, complete: false, problem: undefined });
    more();
    return () => {
      here.abort.abort();
      // What comes after that is of another list.
      state.current = { ...here, busy: true };
    };
  }, [more]);

  return { ...shown, more };
}
