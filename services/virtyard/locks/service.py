"""The lock service: what can be asked of it, and the one worker that decides what is waiting, batch by batch.

Only the worker touches the table, and between two batches it is what was committed: so every answer, a look at the
queue too, tells of what is durable (P28).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, TypeVar

from virtyard.api.type.v1 import watch_pb2
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InternalError, NotFound, OwnerClosed, Superseded, Unavailable, VirtyardError
from virtyard.kernel.invariants import Invariant
from virtyard.locks import wire
from virtyard.locks.explaining import OwnerStory, tell_owner
from virtyard.locks.metrics import observe_grant, show_table
from virtyard.locks.model import Change, Claim, Grant, LockSet, LockView, QueuePlace, Refusal, Release, Rerank, views
from virtyard.locks.reassertion import is_restored, reassert
from virtyard.locks.session import Session
from virtyard.locks.snapshot import PagedSnapshot
from virtyard.locks.store import SHOWN_BLOCKERS, TOPIC, LockStore
from virtyard.locks.table import LockTable
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.floor import Floors
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.scope import TaskScope

__all__ = ["LockPage", "LocksService", "refused"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

_LARGEST_BATCH = 512
_RANK_OFFSET = 10**12
_PLACE_SHARE = 20
"""Telling places takes at most one part in so many of the time, however long the queues are."""


@dataclass(slots=True, kw_only=True)
class _Work:
    """Something that waits for the worker: a command or a look, and who is to be told."""

    command: LockSet | Release | Rerank | None = None
    look: Callable[[LockTable], Any] | None = None
    session: Session | None = None
    answer: asyncio.Future[Any] | None = None

    def resolve(self, value: Any) -> None:
        """Answer, unless the caller has left."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(value)

    def refuse(self, error: Exception) -> None:
        """Refuse, unless the caller has left."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPage:
    """A part of all locks."""

    locks: list[LockView]
    """The locks."""
    next: str
    """Where the next page begins; empty at the end."""
    token: str
    """The resume token of the moment that the page shows."""


class LocksService:
    """Grants, queues, gives back and shows locks; open it with `locks.main.open_locks`."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        clock: Clock,
        *,
        place_interval: float = 0.05,
        metrics: Metrics | None = None,
    ) -> None:
        """Use this database, which is open, and the feed that is bound to it.

        Args:
            database: locks.db.
            feed: its feed.
            clock: for the times that people see.
            place_interval: seconds between two rounds of telling waiters their places.
            metrics: where waits are counted; nowhere that is read if None.
        """
        self.feed = feed
        self._metrics = metrics or Metrics()
        self._metrics.lock_wait.begin()
        self._metrics.on_scrape("locks.table", self._show_metrics)
        self._database = database
        self._clock = clock
        self._store = LockStore(database, clock)
        self._snapshot = PagedSnapshot()
        self._place_interval = place_interval
        self._scope = TaskScope("locks")
        self._works: list[_Work] = []
        self._wake = asyncio.Event()
        self._listeners: dict[str, dict[Session, int]] = {}
        self._stale: set[str] = set()
        self._places: dict[str, QueuePlace] = {}
        self._places_due = 0.0
        self._closing = False
        self.restored = False
        """Whether nothing is granted, as the database was restored and nothing was re-asserted yet."""

    async def __aenter__(self) -> Self:
        """Start to decide."""
        self.restored = await self._database.read(is_restored)
        await self._store.floor.open()
        _ = self._scope.start(self._store.floor.run(), name="floor", vital=True)
        self._worker = self._scope.start(self._decide_all(), name="worker", vital=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop: sessions are broken off, what waits is refused and may be asked again."""
        self._closing = True
        self.feed.close()
        await self._scope.close()
        stopped = _stopping()
        self._fail(self._works, stopped)
        for sessions in self._listeners.values():
            for session in sessions:
                session.fail(stopped)
        await self._database.close()

    @property
    def commits(self) -> int:
        """Return how many commits the database has made since it was opened."""
        return self._database.commits

    async def ask(self, session: Session, wanted: LockSet) -> None:
        """Ask for a set; the session is told what becomes of it."""
        self._check_open()
        if self.restored:
            text = "the locks were restored; nothing is granted before the scheduler has said what is held"
            raise Unavailable(text, retry_after=1.0)
        await session.expect(wanted.owner)
        self._submit(_Work(command=wanted, session=session))

    def note_uses(self, uses: Sequence[tuple[str, str, str]]) -> None:
        """Show from now on that these jobs use these locks, as (owner, object, job); it is not made durable."""

        def note(table: LockTable) -> None:
            for owner, name, job in uses:
                claim = table.use(owner, name, job)
                if claim is not None:
                    body = next(
                        body
                        for lock, body in zip(claim.locks, wire.bodies(claim, None), strict=True)
                        if lock.object == name
                    )
                    self.feed.publish_progress(TOPIC, f"{name}|{owner}", body)

        if uses:
            self._submit(_Work(look=note))

    def leave(self, session: Session) -> None:
        """Tell the session no more; what it asked for stays queued and held."""
        for owner in session.open_owners:
            sessions = self._listeners.get(owner, {})
            sessions.pop(session, None)
            if not sessions:
                self._listeners.pop(owner, None)

    async def reassert(self, holds: Sequence[LockSet], waiting: Collection[str]) -> list[Grant]:
        """Take what the scheduler says is held after a restore, and begin to grant; see `reassertion.reassert`."""
        grants = await reassert(self._store.rehearse, self.release, self._look, self._database, holds, waiting)
        self.restored = False
        return grants

    async def release(self, commands: Sequence[LockSet | Release]) -> None:
        """Carry out releases in one commit, each by itself; after a restore, sets that are held as well.

        Raises:
            VirtyardError: the first refusal; all the others were carried out.
            Unavailable: the outcome is unknown; releasing again is safe.
        """
        self._check_open()
        works = [_Work(command=each, answer=_future()) for each in commands]
        for work in works:
            self._submit(work)
        outcomes = await asyncio.gather(*[work.answer for work in works if work.answer], return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def set_priority(self, wanted: Rerank) -> None:
        """Give a waiting owner another priority; see `LockTable.set_priority` for what is refused.

        Raises:
            Unavailable: the outcome is unknown; asking again is safe.
        """
        self._check_open()
        answer = _future()
        self._submit(_Work(command=wanted, answer=answer))
        await answer

    async def explain_owner(self, owner: str) -> OwnerStory:
        """Return an owner with all who are in its way, and in theirs; see `tell_owner` for what is refused."""
        return await self._look(lambda table: tell_owner(table, owner))

    def settle_below(self, operation: int) -> None:
        """Take the number of the lowest operation that is open: what is remembered of lower ones may go (P18)."""
        self._store.floor.offer(Floors(settled_below=operation))

    async def explain(self, owner: str) -> QueuePlace | Grant:
        """Return what an owner holds, or everybody who is in its way.

        Raises:
            NotFound: the owner has asked for nothing, or was closed.
        """

        def look(table: LockTable) -> QueuePlace | Grant:
            claim = table.claim(owner)
            if claim is None:
                raise NotFound(f"{owner} holds and waits for nothing", resource=owner)
            return table.place(owner) if claim.waiting else claim.grant()

        return await self._look(look)

    async def page(self, after: str, size: int, matches: Callable[[LockView], bool]) -> LockPage:
        """Return locks by object, holders before waiters, waiters by rank.

        Args:
            after: the `next` of the page before; empty for the first one.
            size: at most so many locks.
            matches: the filter.
        """

        def look(table: LockTable) -> LockPage:
            found: list[LockView] = []
            reached = ""
            for key, claim, number in _in_order(table):
                if key <= after:
                    continue
                if len(found) == size:
                    return LockPage(locks=found, next=reached, token=self.feed.token())
                reached = key
                place = table.place(claim.owner, limit=SHOWN_BLOCKERS) if claim.waiting else None
                view = next(islice(views(claim, place), number, None))
                if matches(view):
                    found.append(view)
            return LockPage(locks=found, next="", token=self.feed.token())

        return await self._look(look)

    def watch(
        self, options: watch_pb2.WatchOptions, matches: Callable[[str, str, bytes], bool] | None = None
    ) -> AsyncGenerator[Sequence[Frame], None]:
        """Return the frames of the lock feed, in batches; a body is a serialised `Lock`, a key `<object>|<owner>`."""
        return self.feed.watch_batches([TOPIC], options, self._snapshot, matches)

    async def _show_metrics(self) -> None:
        """Set the gauges to what is held and waited for now."""
        now = self._clock.now()
        await self._look(lambda table: show_table(self._metrics, table, now))

    def _check_open(self) -> None:
        if self._closing:
            raise _stopping()

    def _submit(self, work: _Work) -> None:
        self._works.append(work)
        self._wake.set()

    async def _look(self, look: Callable[[LockTable], T]) -> T:
        self._check_open()
        answer: asyncio.Future[T] = _future()
        self._submit(_Work(look=look, answer=answer))
        return await answer

    async def _decide_all(self) -> None:
        """Decide whatever is waiting, until cancelled."""
        while True:
            await self._wait_for_work()
            batch = self._works[:_LARGEST_BATCH]
            del self._works[:_LARGEST_BATCH]
            try:
                await self._decide(batch)
            except asyncio.CancelledError:
                self._fail(batch, _stopping())
                raise
            except VirtyardError as error:
                self._fail(batch, error)
            except Exception as error:  # noqa: BLE001 - a defect that one batch meets must not end the service
                _log.exception("a batch of locks failed")
                if isinstance(error, sqlite3.IntegrityError):
                    self._metrics.violated(Invariant.LOCK_EXCLUSION)
                self._fail(batch, InternalError("the lock service failed; its log says why"))

    async def _wait_for_work(self) -> None:
        """Wait for work, or for the time to tell places."""
        if self._works:
            return
        self._wake.clear()
        until_places = max(0.0, self._places_due - _loop_time()) if self._stale else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until_places):
                await self._wake.wait()

    async def _decide(self, batch: Sequence[_Work]) -> None:
        commands = [(work, work.command) for work in batch if work.command is not None]
        try:
            decisions = await self._store.carry_out([command for _, command in commands]) if commands else None
        except Unavailable:
            # Whoever asked asks again; who is granted something by it has asked already.
            table = await self._store.table()
            for change in self._store.take_changes():
                self._spread(change, table)
            raise
        table = await self._store.table()
        changes = self._store.take_changes()
        own = len(decisions.changes) if decisions is not None else 0
        for change in changes[: len(changes) - own]:
            self._spread(change, table)
        if decisions is not None:
            for (work, command), refusal in zip(commands, decisions.refusals, strict=True):
                self._answer(work, command, refusal, table)
            for change in decisions.changes:
                self._spread(change, table)
        for work in batch:
            if work.look is not None:
                _look_for(work, work.look, table)
        if self._stale and _loop_time() >= self._places_due:
            self._tell_places(table)

    def _fail(self, batch: Sequence[_Work], error: VirtyardError) -> None:
        for work in batch:
            work.refuse(error)
            if work.session is not None:
                work.session.fail(error)

    def _answer(
        self, work: _Work, command: LockSet | Release | Rerank, refusal: VirtyardError | None, table: LockTable
    ) -> None:
        """Tell whoever asked; a set is answered with what has become of it by the end of the batch."""
        if work.session is None or not isinstance(command, LockSet):
            if refusal is None:
                work.resolve(None)
            else:
                work.refuse(refusal)
            return
        claim = table.claim(command.owner)
        if refusal is not None:
            work.session.tell(refused(command.owner, command.round, refusal))
        elif claim is None or claim.round > command.round:
            work.session.tell(_overtaken(command.owner, command.round, claim))
        elif claim.waiting:
            self._listeners.setdefault(command.owner, {})[work.session] = command.round
            place = self._places[command.owner] = table.place(command.owner, limit=SHOWN_BLOCKERS)
            work.session.tell(place)
        else:
            work.session.tell(claim.grant())

    def _spread(self, change: Change, table: LockTable) -> None:
        """Tell those who listen for this owner, and note whose places may have changed."""
        claims = [claim for claim in (change.before, change.after) if claim is not None]
        self._stale |= table.waiting_on(lock.object for claim in claims for lock in claim.locks)
        claim = change.after
        observe_grant(self._metrics, change)
        if claim is None or not claim.waiting:
            self._places.pop(change.owner, None)
        sessions = self._listeners.get(change.owner, {})
        for session, turn in tuple(sessions.items()):
            if claim is None or claim.round > turn:
                session.tell(_overtaken(change.owner, turn, claim))
            elif not claim.waiting:
                session.tell(claim.grant())
            else:
                continue
            del sessions[session]
        if not sessions:
            self._listeners.pop(change.owner, None)

    def _tell_places(self, table: LockTable) -> None:
        """Tell waiters whose place has changed; costs no commit, and pauses the longer the longer it takes."""
        began = _loop_time()
        for owner in self._stale:
            claim = table.claim(owner)
            if claim is None or not claim.waiting:
                continue
            place = table.place(owner, limit=SHOWN_BLOCKERS)
            if self._places.get(owner) == place:
                continue
            self._places[owner] = place
            for session in self._listeners.get(owner, ()):
                session.tell(place)
            for lock, body in zip(claim.locks, wire.bodies(claim, place), strict=True):
                self.feed.publish_progress(TOPIC, f"{lock.object}|{owner}", body)
        self._stale.clear()
        ended = _loop_time()
        self._places_due = ended + max(self._place_interval, _PLACE_SHARE * (ended - began))


def _in_order(table: LockTable) -> list[tuple[str, Claim, int]]:
    """Return (key, claim, which of its locks) by object, holders first; the key is text that sorts in that order."""
    keys = [
        (f"{lock.object}|{claim.waiting:d}|{claim.rank.value + _RANK_OFFSET:020d}|{claim.owner}", claim, number)
        for claim in table.claims()
        for number, lock in enumerate(claim.locks)
    ]
    return sorted(keys, key=lambda each: each[0])


def _look_for(work: _Work, look: Callable[[LockTable], Any], table: LockTable) -> None:
    try:
        work.resolve(look(table))
    except VirtyardError as error:
        work.refuse(error)


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _stopping() -> Unavailable:
    return Unavailable("the lock service is stopping", retry_after=1.0)


def refused(owner: str, turn: int, error: VirtyardError) -> Refusal:
    """Return what somebody is told whose set is refused."""
    return Refusal(owner=owner, reason=error.reason, message=error.message, round=turn)


def _overtaken(owner: str, turn: int, claim: Claim | None) -> Refusal:
    if claim is None:
        return refused(owner, turn, OwnerClosed(f"the locks of {owner} were released for ever"))
    return refused(owner, turn, Superseded(f"{owner} has asked for another set since"))
