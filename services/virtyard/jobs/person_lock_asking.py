"""The asking for people's locks, each until it is held on what its object is below by then (P4, P25).

What is above the object is looked up again under the lock. Where the object was moved meanwhile, another set is asked
for at the same rank; where it is gone, there is nothing to lock. Who holds a lock may move its object by an operation
under it, so that this is looked at again when the last one has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import person_lock_rows as rows
from virtyard.jobs.person_lock_path import ReadView, find_ancestors, lock_set_of, path_of
from virtyard.jobs.world import Locks
from virtyard.kernel.errors import OwnerClosed, RetryError, StopError, Unavailable
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import QueuePlace
from virtyard.runtime.database import Database, Transaction

__all__ = ["KeptLock", "PersonLockAsking"]

Record = record_pb2.PersonLockRecord
_PAUSE = 0.5
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class KeptLock:
    """One lock in memory."""

    record: Record
    """The durable state."""
    place: QueuePlace | None = None
    """Where it stands in the queue; None before it was told."""
    held: bool = False
    """Whether it was granted."""
    refused: bool = False
    """Whether it is ended since it was not to wait, and was not granted at once."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set whenever something of this changes."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when the last operation under it has ended, which may have moved its object."""
    timer: asyncio.TimerHandle | None = None
    """Ends it."""
    asking: asyncio.Task[None] | None = None
    """Asks for it, until it is released."""


class PersonLockAsking:
    """Asks for people's locks."""

    def __init__(
        self,
        database: Database,
        locks: Locks,
        view: ReadView,
        under: Callable[[str], list[str]],
        on_place: Callable[[KeptLock, QueuePlace], None],
        on_gone: Callable[[KeptLock], None],
    ) -> None:
        """Work with these.

        Args:
            database: jobs.db.
            locks: the lock service.
            view: reads the inventory.
            under: gives the names of the open operations that run under a lock.
            on_place: is told where a lock stands in the queue.
            on_gone: is told that the object of a lock is gone, which was not held before; it is asked for no more.
        """
        self._database = database
        self._locks = locks
        self._view = view
        self._under = under
        self._on_place = on_place
        self._on_gone = on_gone

    async def run(self, kept: KeptLock) -> None:
        """Ask for the lock, also for another set where its object was moved, and note what becomes of it."""
        try:
            while True:
                kept.left.clear()
                if not kept.held:
                    _ = await self._locks.acquire(lock_set_of(kept.record), lambda place: self._on_place(kept, place))
                above = await self._find_above(kept.record.object)
                if above is None and not kept.held:
                    self._on_gone(kept)
                    return
                path = path_of(kept.record.object, LockMode(kept.record.mode), above or ())
                if above is not None and path != list(kept.record.locks) and not self._under(kept.record.name):
                    await self._move(kept, path)
                    continue
                # What was deleted under it may be made again under it; what runs under it would lose its lock.
                kept.held = not kept.refused
                kept.changed.set()
                await kept.left.wait()
        except (Unavailable, StopError) as error:
            _log.info("%s is not asked for any more: %s", kept.record.name, error)  # the proxy is closed, or it ended

    async def _find_above(self, name: str) -> list[str] | None:
        """Return what is above an object now; None if it is gone."""
        while True:
            try:
                return await find_ancestors(self._view, name)
            except RetryError as error:
                _log.info("what is above %s is looked up later: %s", name, error)
                await asyncio.sleep(_PAUSE)

    async def _move(self, kept: KeptLock, path: Sequence[plan_pb2.PlannedLock]) -> None:
        """Make durable that another set is wanted, to which the next scheduler would keep too."""
        turn, waits = kept.record.lock_round + 1, kept.record.no_wait and not kept.held
        kept.held, kept.place = False, None
        kept.changed.set()

        def change(record: Record) -> None:
            record.lock_round, record.no_wait = turn, waits
            del record.locks[:]
            record.locks.extend(path)

        def write(transaction: Transaction) -> Record | None:
            found = rows.change(transaction, kept.record.name, change)
            transaction.transition("jobs.lock_moved")
            return found

        def moved(record: Record | None) -> None:
            kept.record = record or kept.record

        while kept.record.lock_round < turn:
            try:
                if await self._database.write(write, after=moved) is None:
                    raise OwnerClosed(f"{kept.record.name} was released", resource=kept.record.name)
            except Unavailable as error:
                _log.warning("%s cannot be moved yet: %s", kept.record.name, error)
                await asyncio.sleep(_PAUSE)
