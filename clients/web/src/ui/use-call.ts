// One call that a button makes: whether it is under way, and what went wrong with it.
import { useCallback, useState } from "react";
import { problemOf, type Problem } from "./problem";

export interface Call {
  busy: boolean;
  problem: Problem | undefined;
  /** Make the call; `done` is called with its answer where it succeeds, else `failed` with what went wrong. */
  run: <T>(call: () => Promise<T>, done?: (answer: T) => void, failed?: (problem: Problem) => void) => void;
  /** Forget what went wrong. */
  clear: () => void;
}

export function useCall(): Call {
  const [state, setState] = useState<{ busy: boolean; problem: Problem | undefined }>({ busy: false, problem: undefined });
  const run = useCallback(<T,>(call: () => Promise<T>, done?: (answer: T) => void, failed?: (problem: Problem) => void): void => {
    setState({ busy: true, problem: undefined });
    call().then(
      (answer) => {
        setState({ busy: false, problem: undefined });
        done?.(answer);
      },
      (error: unknown) => {
        const problem = problemOf(error);
        setState({ busy: false, problem });
        failed?.(problem);
      },
    );
  }, []);
  const clear = useCallback(() => setState({ busy: false, problem: undefined }), []);
  return { ...state, run, clear };
}
