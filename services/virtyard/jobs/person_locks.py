"""People's locks: taken with a purpose and an end, queued as any other set, and released when nothing runs under them.

Each is a row of jobs.db, so that what may be locked follows from the open operations and these rows alone (P23). Its
time is kept as what is left of it, and runs by the monotonic clock (P33). What is above its object is looked up again
under the lock, see `person_lock_asking`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, timedelta

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import person_lock_rows as rows
from virtyard.jobs.lock_requests import AskedLock, TakenLock, find_taken, note_ended, note_taken
from virtyard.jobs.person_lock_asking import KeptLock, PersonLockAsking
from virtyard.jobs.person_lock_path import EPOCH, ReadView
from virtyard.jobs.person_lock_words import end_due, in_the_way, lock_of
from virtyard.jobs.store import RELEASE, Due
from virtyard.jobs.world import Locks
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import NotFound, Unavailable, VirtyardError, WrongState
from virtyard.locks.model import QueuePlace, Release
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.scope import TaskScope

__all__ = ["PersonLocks"]

Record = record_pb2.PersonLockRecord
_PAUSE = 0.5
_log = logging.getLogger(__name__)


class PersonLocks:
    """Takes, keeps and ends people's locks."""

    def __init__(
        self,
        database: Database,
        locks: Locks,
        clock: Clock,
        tasks: TaskScope,
        on_due: Callable[[Sequence[Due]], None],
        under: Callable[[str], list[str]],
        view: ReadView,
    ) -> None:
        """Work with these; nothing is known before `recall`.

        Args:
            database: jobs.db.
            locks: the lock service.
            clock: the process's clock.
            tasks: the scope of its tasks.
            on_due: is given what is due in other services.
            under: gives the names of the open operations that run under a lock.
            view: reads the inventory.
        """
        self._database = database
        self._locks = locks
        self._clock = clock
        self._tasks = tasks
        self._on_due = on_due
        self._under = under
        self._asking = PersonLockAsking(database, locks, view, under, self._note, self._object_is_gone)
        self._kept: dict[str, KeptLock] = {}

    async def recall(self) -> None:
        """Take up what an earlier process left: ask for each lock again, and end those whose time is over."""
        for record in await self._database.read(rows.read_all):
            if record.name not in self._kept:
                self._keep(record)
        for name in list(self._kept):
            await self.operation_ended(name)

    def owners(self) -> set[str]:
        """Return the names of all locks that are not released."""
        return set(self._kept)

    async def take(
        self,
        asked: AskedLock,
        *,
        path: Sequence[plan_pb2.PlannedLock],
        duration: timedelta,
    ) -> Record:
        """Make a lock durable and ask for it, and return it at the first news of it; or the one of the same request id.

        Args:
            asked: who takes it and what for, and whether it ends at once if it is not granted at once.
            path: the lock on the object, and the intention locks on what is above it.
            duration: for how long.

        Raises:
            WrongState: it was not to wait, and somebody is in the way.
            AlreadyExists: the request id belongs to another request.
        """
        record = Record(
            name=f"locks/{uuid.uuid4().hex[:12]}",
            object=path[0].object,
            mode=path[0].mode,
            purpose=asked.request.purpose,
            principal=asked.principal,
            remaining_seconds=duration.total_seconds(),
            locks=path,
            no_wait=asked.request.no_wait,
        )
        record.create_time.FromDatetime(self._clock.now())
        record.as_of_time.CopyFrom(record.create_time)

        def write(transaction: Transaction) -> TakenLock | None:
            earlier = find_taken(transaction.connection, asked)
            if earlier is None:
                rows.add(transaction, record)
                note_taken(transaction, asked, record.name)
                transaction.transition("jobs.lock_taken")
            return earlier

        def taken(earlier: TakenLock | None) -> None:
            if earlier is None:
                self._keep(record)

        earlier = await self._database.write(write, after=taken)
        return await self._first_news(earlier or TakenLock(record=record, released=False))

    async def taken(self, asked: AskedLock) -> Record | None:
        """Return the lock that was taken with this request before, at the first news of it; None if there is none.

        Raises:
            WrongState: it was not to wait, and somebody is in the way.
            AlreadyExists: the request id belongs to another request.
        """
        earlier = await self._database.read(lambda connection: find_taken(connection, asked))
        return await self._first_news(earlier) if earlier is not None else None

    async def _first_news(self, lock: TakenLock) -> Record:
        """Wait until it is known where a lock stands, and return it; one that was not to wait is held then."""
        record = lock.record
        kept = self._kept.get(record.name)
        if lock.released:
            return record
        if kept is None:
            raise Unavailable(f"{record.name} is just being taken up or released; try again", retry_after=1.0)
        while self._kept.get(record.name) is kept and (kept.refused or not (kept.held or kept.place)):
            kept.changed.clear()
            await kept.changed.wait()
        if kept.refused and kept.place is not None:
            raise in_the_way(record.object, kept.place.blockers)
        return record

    async def wait_held(self, name: str, patience: float) -> None:
        """Wait until the lock is held or gone, for at most so many seconds."""
        kept = self._kept.get(name)
        try:
            async with asyncio.timeout(patience):
                while kept is not None and not kept.held and name in self._kept:
                    kept.changed.clear()
                    await kept.changed.wait()
        except TimeoutError:
            pass

    def principal_of(self, name: str) -> str:
        """Return who took a lock.

        Raises:
            NotFound: there is no such lock.
        """
        return self._find(name).record.principal

    def check_usable(self, name: str) -> None:
        """Refuse a lock that nothing can be submitted under.

        Raises:
            NotFound: there is no such lock.
            WrongState: it still waits, or its time is over.
        """
        kept = self._find(name)
        if kept.record.ending or not kept.held:
            state = "has come to its end" if kept.record.ending else "still waits in the queue"
            raise WrongState(f"nothing can be submitted under {name}: it {state}", resource=name)

    def show(self) -> list[pb.PersonLock]:
        """Return every lock as people see it, the oldest first."""
        return sorted(map(self.shown, self._kept), key=lambda lock: (lock.create_time.ToDatetime(), lock.name))

    def shown(self, name: str) -> pb.PersonLock:
        """Return a lock as people see it.

        Raises:
            NotFound: there is no such lock.
        """
        kept = self._find(name)
        record = kept.record
        state = pb.PERSON_LOCK_STATE_HELD if kept.held else pb.PERSON_LOCK_STATE_WAITING
        lock = lock_of(record, pb.PERSON_LOCK_STATE_ENDING if record.ending else state)
        lock.operations.extend(self._under(name))
        for blocker in () if kept.held or kept.place is None else kept.place.blockers:
            info = lock.blockers.add(
                object=blocker.object, holder=blocker.owner, purpose=blocker.purpose, waiting=blocker.waiting
            )
            info.since_time.FromDatetime(blocker.since)
        return lock

    def told(self, record: Record) -> pb.PersonLock:
        """Return a lock that was taken as people see it now, also once it is released."""
        if record.name in self._kept:
            return self.shown(record.name)
        return lock_of(record, pb.PERSON_LOCK_STATE_RELEASED)

    async def release(self, name: str) -> pb.PersonLock:
        """Release a lock on request; durable when this returns.

        Raises:
            NotFound: there is no such lock.
            WrongState: operations run under it.
        """
        kept = self._find(name)
        running = self._under(name)
        if running:
            text = f"{', '.join(running)} runs under {name}; it is released when that has ended"
            raise WrongState(text, resource=name)
        await self._end(kept, None)
        return lock_of(kept.record, pb.PERSON_LOCK_STATE_RELEASED)

    async def break_lock(self, name: str, principal: str, reason: str) -> None:
        """Release a lock of somebody else, and tell by an event.

        Raises:
            NotFound: there is no such lock.
            WrongState: operations run under it.
        """
        kept = self._find(name)
        record = kept.record
        running = self._under(name)
        if running:
            text = f"{', '.join(running)} runs under {name}; break that first"
            raise WrongState(text, resource=name)
        message = f"{principal} broke {name}, which {record.principal} had taken ({record.purpose}): {reason}"
        await self._end(kept, event_types.new_event(event_types.LOCK_BROKEN, record.object, message))

    async def operation_ended(self, name: str) -> None:
        """Release a lock that has waited for the last operation under it; another one looks where its object is."""
        kept = self._kept.get(name)
        if kept is None or self._under(name):
            return
        if kept.record.ending:
            await self._surely_end(kept, None)
        else:
            kept.left.set()

    def _find(self, name: str) -> KeptLock:
        kept = self._kept.get(name)
        if kept is None:
            raise NotFound(f"{name} does not exist, or was released", resource=name)
        return kept

    def _keep(self, record: Record) -> KeptLock:
        kept = self._kept[record.name] = KeptLock(record=record)
        passed = (self._clock.now() - record.as_of_time.ToDatetime(UTC)).total_seconds()
        left = max(record.remaining_seconds - max(passed, 0.0), 0.0)
        if not record.ending:
            kept.timer = asyncio.get_running_loop().call_later(left, self._lapse, kept)
        kept.asking = self._tasks.start(self._asking.run(kept), name=record.name)
        return kept

    def _note(self, kept: KeptLock, place: QueuePlace) -> None:
        """Note where a lock stands; one that is not to wait ends here, whether or not its caller is there still."""
        kept.place = place
        kept.changed.set()
        if kept.record.no_wait and not kept.refused:
            kept.refused = True
            ending = self._surely_end(kept, None, refused=True)
            _ = self._tasks.start(ending, name=f"refusal of {kept.record.name}")

    def _lapse(self, kept: KeptLock) -> None:
        if self._kept.get(kept.record.name) is kept:
            _ = self._tasks.start(self._time_is_over(kept), name=f"end of {kept.record.name}")

    async def _time_is_over(self, kept: KeptLock) -> None:
        record = kept.record
        message = f"the time of {record.name} is over, which {record.principal} had taken: {record.purpose}"
        await self._surely_end(kept, event_types.new_event(event_types.LOCK_ENDED, record.object, message))

    def _object_is_gone(self, kept: KeptLock) -> None:
        record = kept.record
        message = f"{record.name}, which {record.principal} had asked for ({record.purpose}), ended: its object is gone"
        event = event_types.new_event(event_types.LOCK_ENDED, record.object, message)
        _ = self._tasks.start(self._surely_end(kept, event), name=f"end of {record.name}")

    async def _surely_end(self, kept: KeptLock, event: event_pb2.Event | None, *, refused: bool = False) -> None:
        """Do as `_end`, however long the database cannot be written: nobody else would ask again."""
        name, before = kept.record.name, kept.record.ending
        while kept.record.ending == before and self._kept.get(name) is kept:
            try:
                await self._end(kept, event, refused=refused)
            except Unavailable as error:
                _log.warning("%s cannot be ended yet: %s", name, error)
                await asyncio.sleep(_PAUSE)

    async def _end(self, kept: KeptLock, event: event_pb2.Event | None, *, refused: bool = False) -> None:
        """Release a lock, or mark it while something runs under it; what is due elsewhere goes into the same commit."""
        name = kept.record.name
        ending = bool(self._under(name))
        due = [end_due(name, event)] if event is not None else []
        if not ending:
            release = lock_service_pb2.OwnerRelease(owner=name, epoch=EPOCH)
            due.append(Due(key=f"release {name}", kind=RELEASE, body=release.SerializeToString()))
        now = self._clock.now().timestamp()

        def mark(record: Record) -> None:
            record.ending = True

        def write(transaction: Transaction) -> Record | None:
            found = rows.change(transaction, name, mark) if ending else rows.remove(transaction, name)
            if not ending and found is not None:
                note_ended(transaction, found, now, refused=refused)
            told = [(item.key, item.kind, item.body) for item in due]
            transaction.executemany("INSERT OR IGNORE INTO due (key, kind, body) VALUES (?, ?, ?)", told)
            transaction.transition("jobs.lock_ending" if ending else "jobs.lock_released")
            return found

        def ended(found: Record | None) -> None:
            kept.record = found or kept.record
            if not ending:
                self._kept.pop(name, None)
                if kept.asking is not None:
                    kept.asking.cancel()
            if kept.timer is not None:
                kept.timer.cancel()
            kept.changed.set()
            self._on_due(due)
            if ending:
                # What ran under it may have ended while this was written, when nothing was to be done about it yet.
                _ = self._tasks.start(self.operation_ended(name), name=f"end of {name}")

        await self._database.write(write, after=ended)
        if not ending:
            # Whoever asked for this goes on with the object free; the row that is due sees to it if this fails.
            with contextlib.suppress(VirtyardError):
                await self._locks.release([Release(owner=name, epoch=EPOCH)])
