// The objects of a collection by display name. What did not change is not sorted again: to compare names is dear.
import type { AnyObject } from "./kinds";

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function compare(a: AnyObject, b: AnyObject): number {
  return collator.compare(a.displayName || a.name, b.displayName || b.name) || (a.name < b.name ? -1 : 1);
}

/** All items in order; `last` is what this returned for the items before. */
export function byTitle(items: ReadonlyMap<string, AnyObject>, last: readonly AnyObject[]): readonly AnyObject[] {
  const kept = last.filter((object) => items.get(object.name) === object);
  const known = new Set(kept);
  const fresh = [...items.values()].filter((object) => !known.has(object)).sort(compare);
  return merge(kept, fresh);
}

/** Two ordered lists as one: each of the second finds its place in the first by halves, as there are few of them. */
function merge(kept: readonly AnyObject[], fresh: readonly AnyObject[]): readonly AnyObject[] {
  const merged: AnyObject[] = [];
  let from = 0;
  for (const object of fresh) {
    const to = placeOf(object, kept, from);
    for (; from < to; from += 1) merged.push(kept[from]!);
    merged.push(object);
  }
  for (; from < kept.length; from += 1) merged.push(kept[from]!);
  return merged;
}

function placeOf(object: AnyObject, among: readonly AnyObject[], from: number): number {
  let [low, high] = [from, among.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(among[middle]!, object) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
