// The rows of the list of locks: by object, holders before waiters, as the queue is.
import type { Lock } from "../api/virtyard/api/locks/v1/lock_service_pb";

/** A lock, with how many wait for its object. */
export interface LockRow {
  readonly lock: Lock;
  /** True for the first row of its object. */
  readonly first: boolean;
  readonly waiters: number;
}

/**
 * Sort the locks that a search lets pass.
 *
 * @param search a part of the object's or the owner's name; all locks for an empty one.
 */
export function lockRows(locks: readonly Lock[], search: string): LockRow[] {
  const wanted = search.trim().toLowerCase();
  const found = locks.filter((lock) => !wanted || lock.object.toLowerCase().includes(wanted) || lock.owner.toLowerCase().includes(wanted));
  const waiters = new Map<string, number>();
  for (const lock of locks) if (lock.waiting) waiters.set(lock.object, (waiters.get(lock.object) ?? 0) + 1);
  const sorted = [...found].sort((a, b) => compare(a.object, b.object) || Number(a.waiting) - Number(b.waiting) || a.queuePlace - b.queuePlace || compare(a.owner, b.owner));
  return sorted.map((lock, index) => ({ lock, first: sorted[index - 1]?.object !== lock.object, waiters: waiters.get(lock.object) ?? 0 }));
}

const collator = new Intl.Collator(undefined, { numeric: true });
const compare = (one: string, other: string): number => collator.compare(one, other);
