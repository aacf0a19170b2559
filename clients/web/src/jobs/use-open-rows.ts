// Which rows of the list of jobs are open: kept for this tab, so that they are so again when a person comes back to the list.
import { useSessionStorage } from "@mantine/hooks";
import { useCallback, useMemo } from "react";

/** What a person did to the rows: whether all operations show their jobs, and what was opened or closed beside that. */
interface Chosen {
  readonly all: boolean;
  readonly rows: readonly (readonly [string, boolean])[];
}

/** So many rows are remembered, those that were opened or closed last. */
const MOST = 500;
const NOTHING: Chosen = { all: false, rows: [] };

export interface OpenRows {
  /** Whether all operations show their jobs. */
  readonly all: boolean;
  /** Whether an operation shows its jobs, and a job its children. */
  readonly isOpen: (name: string) => boolean;
  readonly setAll: (all: boolean) => void;
  readonly toggle: (name: string, open: boolean) => void;
}

export function useOpenRows(): OpenRows {
  const [{ all, rows }, setChosen] = useSessionStorage<Chosen>({ key: "virtyard-open-jobs", defaultValue: NOTHING, getInitialValueInEffect: false });
  const open = useMemo(() => new Map(rows), [rows]);
  // A job shows its children until it is told not to.
  const isOpen = useCallback((name: string) => open.get(name) ?? (all || name.startsWith("jobs/")), [open, all]);
  return {
    all,
    isOpen,
    setAll: (every) => setChosen({ all: every, rows: [] }),
    toggle: (name, opened) => setChosen({ all, rows: [...rows.filter(([each]) => each !== name), [name, opened] as const].slice(-MOST) }),
  };
}
