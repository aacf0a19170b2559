// What the keys do in the tree, as the ARIA practices have it.
import type { Forest, TreeRow } from "./forest";

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

/** The row that begins with what was typed: the next one for a single letter, however often, and for more, this one too. */
export function rowTyped(rows: readonly TreeRow[], active: number, typed: string): number | undefined {
  const wanted = typed.toLowerCase();
  if (wanted === "") return undefined;
  const first = wanted.length > 1 ? active : active + 1;
  for (let step = 0; step < rows.length; step++) {
    const index = (Math.max(first, 0) + step) % rows.length;
    if (rows[index]!.node.label.toLowerCase().startsWith(wanted)) return index;
  }
  return undefined;
}

/** The row of a node, or of what it is in if that is closed; where the node is gone, what stands in its place. */
export function rowOf(rows: readonly TreeRow[], forest: Forest, key: string | undefined, before: number): number {
  const shown = (wanted: string) => rows.findIndex(({ node }) => node.key === wanted);
  for (let node = key === undefined ? undefined : forest.byKey.get(key); node; node = node.parent) {
    const index = shown(node.key);
    if (index >= 0) return index;
  }
  return Math.min(before, rows.length - 1);
}
