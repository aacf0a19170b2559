// What an automation has done and what comes next: asked of the scheduler when it is looked at, and again as things happen.
import { useEffect, useState } from "react";
import { problemOf, type Problem } from "../ui/problem";

const AGAIN_MS = 15_000;

/**
 * The status that a call returns.
 *
 * @param ask gets the status.
 * @param key what the status is of, and in which version; another one is asked for at once.
 */
export function useStatus<T>(ask: (signal: AbortSignal) => Promise<T>, key: string): { status: T | undefined; problem: Problem | undefined; again: () => void } {
  const [told, setTold] = useState<{ status: T | undefined; problem: Problem | undefined }>({ status: undefined, problem: undefined });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    const read = (): void => {
      // A tab that nobody looks at asks nothing.
      if (document.hidden) return;
      ask(abort.signal).then(
        (status) => setTold({ status, problem: undefined }),
        (error: unknown) => abort.signal.aborted || setTold((before) => ({ ...before, problem: problemOf(error) })),
      );
    };
    read();
    const timer = window.setInterval(read, AGAIN_MS);
    return () => {
      window.clearInterval(timer);
      abort.abort();
    };
    // The call itself is made anew in each rendering; the key says when it is another one.
  }, [key, turn]);
  return { ...told, again: () => setTurn((before) => before + 1) };
}
