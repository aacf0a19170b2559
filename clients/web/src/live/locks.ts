// The locks of the site by the object that they are on.
import type { Lock } from "../api/virtyard/api/locks/v1/lock_service_pb";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";

/** All locks, held or waited for. */
export interface Locks {
  readonly all: readonly Lock[];
  readonly byObject: ReadonlyMap<string, readonly Lock[]>;
}

export const NO_LOCKS: Locks = { all: [], byObject: new Map() };

/** True for a lock on the object itself; false for an intention, which only says that something below it is locked. */
export function locksItself(lock: Lock): boolean {
  return lock.mode !== LockMode.IS && lock.mode !== LockMode.IX;
}

/** Group locks by object; the list of an object whose locks are as before is the same list. */
export function locksByObject(items: ReadonlyMap<string, Lock>, last: Locks): Locks {
  const all = [...items.values()];
  const byObject = new Map<string, Lock[]>();
  for (const lock of all) {
    const there = byObject.get(lock.object);
    if (there) there.push(lock);
    else byObject.set(lock.object, [lock]);
  }
  const kept = new Map<string, readonly Lock[]>();
  for (const [object, locks] of byObject) {
    // Holders before waiters, and locks of the object itself before intentions.
    locks.sort((a, b) => Number(a.waiting) - Number(b.waiting) || Number(locksItself(b)) - Number(locksItself(a)));
    const before = last.byObject.get(object);
    kept.set(object, before && same(before, locks) ? before : locks);
  }
  return { all, byObject: kept };
}

function same(one: readonly Lock[], other: readonly Lock[]): boolean {
  return one.length === other.length && one.every((lock, index) => lock === other[index]);
}
