"""The rank of one operation: its priority, durable in its record, and in the lock service while it waits (P15).

The record is the truth. Whoever waits for locks tells the lock service of a changed priority once its set is known to
be queued there, and again after each adoption, so that no crash between the two commits leaves another rank behind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import decisions
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.broken import owner_of_locks
from virtyard.jobs.control_events import event_of
from virtyard.jobs.decisions import Decision
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.world import Locks
from virtyard.kernel import event_types
from virtyard.kernel.errors import NotFound, StaleEpoch, WrongState
from virtyard.locks.model import Grant, LockSet, QueuePlace, Rerank

Record = record_pb2.OperationRecord


class Ranking:
    """Changes the priority of one operation, and keeps its place in the queues to it."""

    def __init__(self, keeper: Keeper, locks: Locks) -> None:
        """Rank the operation that the keeper keeps."""
        self._keeper = keeper
        self._locks = locks
        self._told = 0
        self._news = AbortSignal()

    async def change(self, priority: int, principal: str, reason: str) -> None:
        """Give the operation another priority; durable when this returns, and in the queues soon after.

        Raises:
            WrongState: it has ended.
        """
        name, before = self._keeper.operation.name, self._keeper.operation.record.options.priority
        if before == priority:
            return

        def change(record: Record) -> None:
            record.options.priority = priority
            record.priority_changes += 1
            what = f"changed its priority from {before} to {priority}"
            decisions.note(record, Decision(principal=principal, reason=reason), what)

        text = f"{principal} changed the priority of {name} from {before} to {priority}"
        told = partial(event_of, kind=event_types.PRIORITY_CHANGED, text=text, reason=reason)
        try:
            await self._keeper.commit("jobs.priority", change, everything=True, news=told)
        except StaleEpoch:
            raise WrongState(f"{name} has ended, or another scheduler has it", resource=name) from None
        self._news.give()

    async def acquire(self, lock_set: Callable[[], LockSet], on_place: Callable[[QueuePlace], None]) -> Grant:
        """Wait until the set is held, as `Locks.acquire`; meanwhile every change of the priority is told.

        Args:
            lock_set: gives the set with the present priority.
            on_place: is told the place in the queue.
        """
        # What an earlier scheduler told is not known; the first priority came with the set itself.
        self._told = 0
        while True:
            news = self._news = AbortSignal()

            def queued(place: QueuePlace, news: AbortSignal = news) -> None:
                on_place(place)
                if self._told != self._changes:
                    news.give()

            grant = await news.wait_for(self._locks.acquire(lock_set(), queued))
            if grant is not None:
                return grant
            await self._tell()

    @property
    def _changes(self) -> int:
        return self._keeper.operation.record.priority_changes

    async def _tell(self) -> None:
        record = self._keeper.operation.record
        changes = record.priority_changes
        wanted = Rerank(owner=owner_of_locks(record), epoch=record.epoch, priority=record.options.priority)
        try:
            await self._locks.set_priority(wanted)
        except NotFound:
            return  # the set is on its way there; its place will be told
        self._told = changes
