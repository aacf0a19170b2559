// Which nodes of the tree the reader has opened or closed; kept in this browser.
import { useCallback, useState } from "react";

const KEY = "virtyard.tree";
// What was chosen long ago, of objects that may be gone, need not be kept.
const MOST = 500;

function stored(): ReadonlyMap<string, boolean> {
  try {
    return new Map(JSON.parse(localStorage.getItem(KEY) ?? "[]") as [string, boolean][]);
  } catch {
    return new Map();
  }
}

export function useChosen(): [ReadonlyMap<string, boolean>, (keys: readonly string[], open: boolean) => void] {
  const [chosen, setChosen] = useState(stored);
  const choose = useCallback((keys: readonly string[], open: boolean) => {
    setChosen((before) => {
      const after = new Map(before);
      for (const key of keys) {
        after.delete(key);
        after.set(key, open);
      }
      try {
        localStorage.setItem(KEY, JSON.stringify([...after].slice(-MOST)));
      } catch {
        // A browser that keeps nothing still shows the tree.
      }
      return after;
    });
  }, []);
  return [chosen, choose];
}
