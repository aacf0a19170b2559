"""The database of one service: SQLite with one writer, whose every answer waits for its commit (P28).

What is waiting is committed together: one BEGIN IMMEDIATE, a savepoint for each function, one COMMIT. News reaches the
feed after the commit and in its order. After a failed COMMIT the outcome is unknown: everybody is told so, the
connection is opened again, and the journal says what was durable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.data_lock import DataLock
from virtyard.runtime.feed import Feed
from virtyard.runtime.schema import migrate, migrations_of
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.sqlite_thread import SqliteThread
from virtyard.runtime.transaction import (
    Batch,
    CommitFailed,
    Outcome,
    Position,
    Transaction,
    entries_after,
    run_batch,
    unknown_outcome,
)

__all__ = ["OWN_MIGRATIONS", "Database", "Transaction", "raise_incarnation"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
OWN_MIGRATIONS = "virtyard.runtime.migrations"
"""The package of the migrations of the tables that every database has."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A function that waits for its commit."""

    function: Callable[[Transaction], Any]
    answer: asyncio.Future[Any]
    after: Callable[[Any], None] | None


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


class Database:
    """One SQLite file with its writer, its reader and its lock; open it with `Database.open`."""

    def __init__(self, path: Path, lock: DataLock, feed: Feed | None, clock: Clock) -> None:
        """Use `open`."""
        self.path = path
        self.incarnation = 0
        self.commits = 0
        self.failed_commits = 0
        self.identity = ""
        self.last_time: datetime | None = None
        """The wall time of the last commit of an earlier life; None if there was none."""
        self._lock = lock
        self._feed = feed
        self._clock = clock
        self._position = Position(sequence=0, oldest=1)
        self._scope = TaskScope(f"database.{path.stem}")
        self._waiting: list[_Waiting] = []
        self._doubtful: tuple[Sequence[_Waiting], Batch] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._writer: SqliteThread | None = None
        self._reader: SqliteThread | None = None
        self._closing = False
        self._reopened: list[Callable[[], None]] = []
        self._transition_hook: Callable[[str], None] | None = None
        self._commit_hook: Callable[[sqlite3.Connection], None] = _commit
        self._batch_limit = 256
        self._journal_keep = 100_000
        self._shrinks = False
        self.observer: Callable[[int, float | None], None] | None = None
        """Is told of each commit how many functions shared it and the seconds it took; None where it failed."""

    @classmethod
    async def open(
        cls,
        path: Path | str,
        migrations: str | None = None,
        feed: Feed | None = None,
        clock: Clock | None = None,
        *,
        transition_hook: Callable[[str], None] | None = None,
        commit_hook: Callable[[sqlite3.Connection], None] | None = None,
        batch_limit: int = 256,
        journal_keep: int = 100_000,
        shrinks: bool = False,
    ) -> Database:
        """Open, and if need be create, the database of a service.

        Args:
            path: the file; its folder is made if it is missing.
            migrations: the package of the service's own migrations.
            feed: the feed that publishes what this database commits.
            clock: gives the wall time that is kept with each commit, and goes on from the one that was kept last; the
                system's if not given.
            transition_hook: is called on the event loop with the name of every durable transition, before anybody is
                answered; the tests of faults stop the process there. With it, a function that changes rows and names no
                transition is refused, so that no durable moment is out of their reach.
            commit_hook: runs COMMIT, in the database's thread; the tests of faults make it fail.
            batch_limit: at most so many functions share a commit.
            journal_keep: about so many entries of the feed are kept for watchers that come back.
            shrinks: whether the file, if it is made now, gives back what it does not need, see `FloorKeeper`.

        Raises:
            WrongState: the database is in use, or was written by a newer release.
            DataLoss: a migration is not the one that was applied.
            Unavailable: the file cannot be opened or written.
        """
        path = Path(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if clock is None:
            from virtyard.runtime.clock import SystemClock

            clock = SystemClock()
        database = cls(path, DataLock(path), feed, clock)
        database._transition_hook = transition_hook
        database._commit_hook = commit_hook or _commit
        database._batch_limit = batch_limit
        database._journal_keep = journal_keep
        database._shrinks = shrinks
        try:
            await database._start(migrations)
            # Here and nowhere else: no database is written by a clock that does not go on from it (P33).
            clock.not_before(database.last_time)
        except BaseException as error:
            await database._close_threads()
            database._lock.release()
            if isinstance(error, sqlite3.Error):
                raise Unavailable(f"{path} cannot be opened: {error}", resource=str(path), retry_after=1.0) from error
            raise
        return database

    @property
    def sequence(self) -> int:
        """Return the sequence of the last entry that is durable."""
        return self._position.sequence

    @property
    def oldest(self) -> int:
        """Return the sequence of the first entry that is still kept."""
        return self._position.oldest

    def on_reopen(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after a failed commit, before the next one: drop what was read from the database."""
        self._reopened.append(callback)

    async def __aenter__(self) -> Self:
        """Return the open database."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the database."""
        await self.close()

    async def write(self, function: Callable[[Transaction], T], *, after: Callable[[T], None] | None = None) -> T:
        """Run the function in a commit and return what it returned, once that is durable.

        Cancelling the caller abandons the waiting only: the function runs and is committed all the same.

        Args:
            function: changes the database; runs in the database's thread, must not wait nor call a service. It may be
                run twice, the first time for nothing, so it changes nothing else, or only what a second run changes
                the same way.
            after: is called on the event loop with the result, after the commit and before any answer, also if the
                caller has left: the place to change what is kept in memory, and to begin what must follow. After a
                COMMIT that failed and was durable all the same it is called too, though the caller is told nothing
                but that: only in a database with a feed; the owner of another one looks by itself, see `on_reopen`.

        Raises:
            Unavailable: the commit failed and its outcome is unknown, or the database is closing.
            Exception: what the function raised; nothing of it is kept then.
        """
        if self._closing:
            raise Unavailable(f"{self.path.name} is closing", retry_after=1.0)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(function=function, answer=answer, after=after))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return await answer

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function on one snapshot of what is durable, beside the writer, and return what it returned.

        Raises:
            Unavailable: the database is closing or cannot be read.
            Exception: what the function raised.
        """
        if self._reader is None:
            raise Unavailable(f"{self.path.name} is closed", retry_after=1.0)

        def run(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                return function(connection)
            finally:
                connection.execute("ROLLBACK")

        return await self._reader.run(run)

    async def close(self) -> None:
        """Commit what is waiting, then close the files and give the lock back."""
        if self._closing:
            return
        self._closing = True
        if self._feed is not None:
            self._feed.close()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        try:
            await self._writing
        finally:
            await self._scope.close()
            await self._close_threads()
            self._lock.release()

    async def _start(self, migrations: str | None) -> None:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._writer = await SqliteThread.open(self.path, writer=True, shrinks=self._shrinks)
        wanted = migrations_of(OWN_MIGRATIONS) + (migrations_of(migrations) if migrations else ())
        await self._writer.run(lambda connection: migrate(connection, wanted))
        await self._writer.run(_identify)
        await self._writer.run(self._recall)
        self._reader = await SqliteThread.open(self.path, writer=False)
        if self._feed is not None:
            self._feed.bind(self)
        self._writing = self._scope.start(self._write_all(), name="writer")

    def _recall(self, connection: sqlite3.Connection) -> None:
        """Read what is kept in memory about the journal and the identity."""
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        self.identity, self.incarnation = meta["identity"], int(meta["incarnation"])
        sequence, oldest, seconds = connection.execute("SELECT sequence, oldest, last_time FROM feed").fetchone()
        self._position = Position(sequence=sequence, oldest=oldest, quiet=int(meta.get("quiet", "0")))
        self.last_time = datetime.fromtimestamp(seconds, UTC) if seconds else None

    async def _write_all(self) -> None:
        """Commit whatever is waiting, until the database closes."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._idle = loop.create_future()
                await self._idle
                continue
            batch = self._waiting[: self._batch_limit]
            del self._waiting[: self._batch_limit]
            began, took = loop.time(), None
            try:
                done = await self._run(batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, the batch is lost and everybody is told
                await self._recover(batch, error)
            else:
                took = loop.time() - began
                self._deliver(batch, done)
            if self.observer is not None:
                self.observer(len(batch), took)

    async def _run(self, batch: Sequence[_Waiting]) -> Batch:
        if self._writer is None:
            await self._reopen()
        assert self._writer is not None
        functions = [one.function for one in batch]
        time = self._clock.now().timestamp()
        position, keep, commit = self._position, self._journal_keep, self._commit_hook
        named = self._transition_hook is not None
        # Commits of a ledger without a feed are many, and it finds out by itself.
        marked = self._feed is not None and any(one.after is not None for one in batch)
        return await self._writer.run(
            lambda connection: run_batch(
                connection, functions, position, keep=keep, time=time, commit=commit, named=named, marked=marked
            )
        )

    def _deliver(self, batch: Sequence[_Waiting], done: Batch) -> None:
        """Tell the feed, then the callers; nothing was told before this commit."""
        self._position = done.position
        self.commits += 1
        if self._transition_hook is not None:
            for name in done.transitions:
                self._transition_hook(name)
        self._follow(batch, done)
        if self._feed is not None and done.entries:
            self._feed.publish(done.entries)
        for one, outcome in zip(batch, done.outcomes, strict=True):
            if one.answer.done():
                continue
            if outcome.error is None:
                one.answer.set_result(outcome.value)
            else:
                one.answer.set_exception(outcome.error)

    def _follow(self, batch: Sequence[_Waiting], done: Batch) -> None:
        """Have what must follow the functions of a durable commit happen."""
        for one, outcome in zip(batch, done.outcomes, strict=True):
            if one.after is not None and outcome.error is None:
                self._call_after(one.after, outcome)

    def _call_after(self, after: Callable[[Any], None], outcome: Outcome) -> None:
        try:
            after(outcome.value)
        except Exception:  # noqa: BLE001 - the commit is durable: the others must be answered
            _log.exception("what follows a commit of %s failed", self.path.name)

    async def _recover(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Answer that the outcome is unknown, after the database was opened again and what was durable is published."""
        _log.error("a commit of %s failed: %s", self.path.name, error)
        self.failed_commits += 1
        await self._close_writer()
        if isinstance(error, CommitFailed):
            self._doubtful = (batch, error.batch)
        try:
            await self._reopen()
        except Exception as again:  # noqa: BLE001 - the next batch tries again; until then everything is refused
            _log.error("%s cannot be opened again: %s", self.path.name, again)
            for callback in self._reopened:
                callback()
        for one in batch:
            if not one.answer.done():
                one.answer.set_exception(unknown_outcome(self.path.name, error))

    async def _reopen(self) -> None:
        """Open the database again, and have memory follow what is found there."""
        before = self._position.sequence
        self._writer = await SqliteThread.open(self.path, writer=True)
        try:
            await self._writer.run(self._recall)
            news = await self._writer.run(lambda connection: entries_after(connection, before))
        except BaseException:
            await self._close_writer()
            raise
        for callback in self._reopened:
            callback()
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None and self._holds(doubtful[1]):
            self._follow(*doubtful)
        if self._feed is not None and news:
            self._feed.publish(news)

    def _holds(self, done: Batch) -> bool:
        """Tell whether the last batch, whose COMMIT failed, was durable: nobody else has written since."""
        if self._feed is None:
            return False
        found, expected = self._position, done.position
        return found.sequence == expected.sequence if done.entries else found.quiet == expected.quiet

    async def _close_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await writer.close()

    async def _close_threads(self) -> None:
        await self._close_writer()
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.close()


def raise_incarnation(path: Path, least: int = 0) -> int:
    """Raise the incarnation of a database that was restored and is not open, to `least` or more; return it (P32)."""
    lock = DataLock(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(
                "UPDATE meta SET value = max(CAST(value AS INTEGER) + 1, ?) WHERE name = 'incarnation'", (least,)
            )
            (value,) = connection.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchone()
            return int(value)
        finally:
            connection.close()
    finally:
        lock.release()


def _identify(connection: sqlite3.Connection) -> None:
    """Give a new database its identity, so that tokens of another one are recognised."""
    connection.executemany(
        "INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)",
        [("identity", secrets.token_hex(4)), ("incarnation", "1")],
    )
