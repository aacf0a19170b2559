"""What the lock service shows in metrics: how long sets wait, what is held, and how long the queues are."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from virtyard.locks.model import Change
from virtyard.locks.table import LockTable
from virtyard.runtime.metrics import Metrics

__all__ = ["observe_grant", "show_table"]


def observe_grant(metrics: Metrics, change: Change) -> None:
    """Count how long a set waited, if the change is its grant."""
    before, after = change.before, change.after
    if after is None or after.granted is None or (before is not None and before.granted == after.granted):
        return
    # Both are wall clock times of this service; a clock that was set back in between is no wait.
    metrics.lock_wait.observe(max(0.0, (after.granted - after.requested).total_seconds()))


def show_table(metrics: Metrics, table: LockTable, now: datetime) -> None:
    """Set the gauges to what the table holds."""
    held: Counter[str] = Counter()
    queues: Counter[str] = Counter()
    waiting, oldest = 0, now
    for claim in table.claims():
        if claim.waiting:
            waiting += 1
            oldest = min(oldest, claim.requested)
            queues.update(lock.object for lock in claim.locks)
        else:
            held.update(lock.mode.name for lock in claim.locks)
    metrics.locks_held.replace({(mode,): count for mode, count in held.items()})
    metrics.locks_waiting.set(waiting)
    metrics.lock_queue_depth.set(max(queues.values(), default=0))
    metrics.lock_oldest_wait.set((now - oldest).total_seconds())
