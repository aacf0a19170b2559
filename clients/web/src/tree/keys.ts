// What the keys do in the tree, as the ARIA practices have it.
import type { TreeRow } from "./forest";

/** What a key asks for: another row, a row to open or close, or the page of the row. */
export type TreeMove = { go: number } | { open: boolean } | { visit: true };

/** How far PageUp and PageDown go, in rows. */
const PAGE = 12;

/** What a key asks for when the row of that index is active; undefined if the tree has no use for it. */
export function moveFor(key: string, rows: readonly TreeRow[], active: number): TreeMove | undefined {
  const row = rows[active];
  if (!row) return rows.length > 0 && key.startsWith("Arrow") ? { go: 0 } : undefined;
  const last = rows.length - 1;
  switch (key) {
    case "ArrowDown":
      return { go: Math.min(active + 1, last) };
    case "ArrowUp":
      return { go: Math.max(active - 1, 0) };
    case "PageDown":
      return { go: Math.min(active + PAGE, last) };
    case "PageUp":
      return { go: Math.max(active - PAGE, 0) };
    case "Home":
      return { go: 0 };
    case "End":
      return { go: last };
    case "ArrowRight":
      if (row.open === false) return { open: true };
      return row.open ? { go: active + 1 } : undefined;
    case "ArrowLeft":
      return row.open ? { open: false } : parentOf(rows, active);
    case "Enter":
    case " ":
      return { visit: true };
    default:
      return undefined;
  }
}

function parentOf(rows: readonly TreeRow[], active: number): TreeMove | undefined {
  const level = rows[active]!.level;
  for (let index = active - 1; index >= 0; index--) if (rows[index]!.level < level) return { go: index };
  return undefined;
}
