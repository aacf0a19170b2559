"""One commit of the database: many functions, their rows written together, journal rows numbered last (P7, P28).

Functions run without savepoints; where one of them fails, the transaction is rolled back and all run again, with a
savepoint each. A refusal is rare, and a savepoint is two statements.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from virtyard.kernel.errors import InternalError, Unavailable
from virtyard.runtime.entry import Entry
from virtyard.runtime.many_rows import insert_rows

__all__ = [
    "Batch",
    "CommitFailed",
    "Outcome",
    "Position",
    "Transaction",
    "entries_after",
    "run_batch",
    "unknown_outcome",
]

_UNWRITABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_BUSY,
}
_DISK = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
"""What the operating system says of a disk where SQLite ends with this code."""
_PRUNE_STEP = 1024

Parameters = Sequence[Any] | Mapping[str, Any]


class Transaction:
    """What a function that is handed to `Database.write` may do."""

    __slots__ = ("_connection", "_sequence", "entries", "puts", "transitions")

    def __init__(self, connection: sqlite3.Connection, sequence: int) -> None:
        """Begin after the journal's last sequence."""
        self._connection = connection
        self._sequence = sequence
        self.entries: list[Entry] = []
        self.puts: list[tuple[str, Sequence[Any]]] = []
        self.transitions: list[str] = []

    @property
    def connection(self) -> sqlite3.Connection:
        """Return the connection, for functions that are shared with reads; it must only be read from."""
        return self._connection

    def execute(self, sql: str, params: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> sqlite3.Cursor:
        """Run one statement for many rows."""
        return self._connection.executemany(sql, rows)

    def insert(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows now; see `insert_rows` for the statement."""
        insert_rows(self._connection, sql, rows)

    def put(self, sql: str, row: Sequence[Any]) -> None:
        """Insert a row once the functions have run, together with those of the others; nobody reads it before."""
        self.puts.append((sql, row))

    @property
    def next_sequence(self) -> int:
        """Return the sequence that the next `append` gives."""
        return self._sequence + len(self.entries) + 1

    def append(self, topic: str, key: str, body: bytes, *, removed: bool = False) -> int:
        """Add the state of an item to the feed and return its sequence.

        The row is written at the end of the commit; a function that fails gives its numbers back.
        """
        sequence = self.next_sequence
        self.entries.append(Entry(sequence=sequence, topic=topic, key=key, body=body, removed=removed))
        return sequence

    def transition(self, name: str, steps: Iterable[str] = ()) -> None:
        """Name the durable transition that this commit makes, as `jobs.C2`; faults are injected by that name.

        Args:
            name: the transition.
            steps: the steps that it begins or ends, each of which is named too, as `jobs.C2@3/1`.
        """
        self.transitions.append(name)
        self.transitions.extend(f"{name}@{step}" for step in steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one function of a batch came to."""

    value: Any = None
    """What it returned."""
    error: Exception | None = None
    """What it raised, after which nothing of it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the journal stands."""

    sequence: int
    """The last entry."""
    oldest: int
    """The first entry that is still kept; one more than `sequence` in an empty journal."""
    quiet: int = 0
    """How many commits were marked that had no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A commit that is durable."""

    outcomes: list[Outcome]
    """One for each function, in their order."""
    entries: list[Entry]
    """The news, in order of their sequence."""
    transitions: list[str]
    """The named transitions, in order."""
    position: Position
    """The journal after the commit."""


class CommitFailed(Exception):
    """COMMIT failed; whether the batch is durable is seen from the position, once the database is open again."""

    def __init__(self, batch: Batch, error: Exception) -> None:
        """Keep what the batch comes to if it is durable."""
        super().__init__(str(error))
        self.batch = batch


def run_batch(
    connection: sqlite3.Connection,
    functions: Sequence[Callable[[Transaction], Any]],
    position: Position,
    *,
    keep: int,
    time: float,
    commit: Callable[[sqlite3.Connection], None],
    named: bool = False,
    marked: bool = False,
) -> Batch:
    """Run the functions in one commit; called in the database's thread.

    Args:
        connection: the writer's.
        functions: what is to be committed together.
        position: where the journal stands.
        keep: about so many entries of the journal are kept.
        time: seconds since 1970, kept with the commit.
        commit: runs COMMIT.
        named: a function that changes rows and names no transition is refused: no fault could be injected there.
        marked: a batch that changes rows is to be told from one that was lost, also where it has no news.

    Raises:
        CommitFailed: whether COMMIT was durable is not known.
        sqlite3.Error: the transaction is lost.
    """
    run = _run_named if named else _run_any
    before = connection.total_changes
    transaction, outcomes = _run_all(connection, functions, position, run)
    if transaction.entries:
        position = _write_journal(connection, transaction.entries, position, keep, time)
    elif connection.total_changes != before:
        # A ledger has no news at all: its times would begin anew with each life.
        connection.execute("UPDATE feed SET last_time = max(last_time, ?)", (time,))
        if marked:
            position = replace(position, quiet=position.quiet + 1)
            connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('quiet', ?)", (str(position.quiet),))
    entries, transitions = transaction.entries, transaction.transitions
    batch = Batch(outcomes=outcomes, entries=entries, transitions=transitions, position=position)
    try:
        commit(connection)
    except Exception as error:
        raise CommitFailed(batch, error) from error
    _mark_end(connection)
    return batch


def _mark_end(connection: sqlite3.Connection) -> None:
    """Leave a read mark at the end of the log.

    The first reader after a commit would write it, into the `-shm` file, and that stands still on a disk that hangs:
    reads need a disk that takes no writes only if the mark is there. See walTryBeginRead in SQLite's wal.c.
    """
    with suppress(sqlite3.Error):
        connection.execute("SELECT 1 FROM meta LIMIT 1").close()


def _run_any(transaction: Transaction, function: Callable[[Transaction], Any]) -> Any:
    return function(transaction)


def _run_named(transaction: Transaction, function: Callable[[Transaction], Any]) -> Any:
    before, names = _changes(transaction), len(transaction.transitions)
    value = function(transaction)
    if len(transaction.transitions) == names and _changes(transaction) != before:
        raise InternalError(f"{function!r} commits a change without a name; it must call Transaction.transition")
    return value


def _changes(transaction: Transaction) -> tuple[int, int, int]:
    """Return how many rows were written, and how many will be."""
    return transaction.connection.total_changes, len(transaction.entries), len(transaction.puts)


Run = Callable[[Transaction, Callable[[Transaction], Any]], Any]
"""Runs one function, with or without a look at whether it names what it changes."""


def _run_all(
    connection: sqlite3.Connection, functions: Sequence[Callable[[Transaction], Any]], position: Position, run: Run
) -> tuple[Transaction, list[Outcome]]:
    """Run the functions in a new transaction; once more, each by itself, if one of them fails."""
    connection.execute("BEGIN IMMEDIATE")
    transaction = Transaction(connection, position.sequence)
    try:
        outcomes = [Outcome(value=run(transaction, function)) for function in functions]
        _write_puts(connection, transaction)
    except Exception:
        if not connection.in_transaction:
            # SQLite gave up the whole transaction by itself: nobody's work is left.
            raise
    else:
        return transaction, outcomes
    connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    transaction = Transaction(connection, position.sequence)
    return transaction, [_run_one(connection, transaction, function, run) for function in functions]


def _run_one(
    connection: sqlite3.Connection, transaction: Transaction, function: Callable[[Transaction], Any], run: Run
) -> Outcome:
    entries, transitions = len(transaction.entries), len(transaction.transitions)
    connection.execute("SAVEPOINT one")
    try:
        value = run(transaction, function)
        _write_puts(connection, transaction)
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        del transaction.entries[entries:]
        transaction.puts.clear()
        del transaction.transitions[transitions:]
        return Outcome(error=_named(error))
    connection.execute("RELEASE one")
    return Outcome(value=value)


def _write_puts(connection: sqlite3.Connection, transaction: Transaction) -> None:
    """Write the rows that were put off, those of one statement together."""
    rows: dict[str, list[Sequence[Any]]] = {}
    for sql, row in transaction.puts:
        rows.setdefault(sql, []).append(row)
    transaction.puts.clear()
    for sql, of_one in rows.items():
        insert_rows(connection, sql, of_one)


def _named(error: Exception) -> Exception:
    """Return the error for the caller: a disk that cannot be written is no fault of the function."""
    if isinstance(error, sqlite3.OperationalError) and (error.sqlite_errorcode & 0xFF) in _UNWRITABLE:
        words = _disk_words(error)
        unavailable = Unavailable(f"the database cannot be written: {error}", metadata=words, retry_after=1.0)
        unavailable.__cause__ = error
        return unavailable
    return error


def unknown_outcome(database: str, error: Exception) -> Unavailable:
    """Return what those are told whose commit failed; under `disk` what is wrong with it, where that is why."""
    words = _disk_words(error.__cause__ if isinstance(error, CommitFailed) else error)
    text = f"the commit failed and its outcome is unknown: {error}"
    unknown = Unavailable(text, resource=database, metadata=words, retry_after=1.0)
    unknown.__cause__ = error
    return unknown


def _disk_words(error: BaseException | None) -> dict[str, str]:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return {"disk": os.strerror(_DISK[code])} if code in _DISK else {}


def _write_journal(
    connection: sqlite3.Connection, entries: list[Entry], position: Position, keep: int, time: float
) -> Position:
    """Write the rows, forget the oldest ones, and then take the numbers: the last statement before COMMIT."""
    insert_rows(
        connection,
        "INSERT INTO journal (sequence, topic, key, removed, body) VALUES (?, ?, ?, ?, ?)",
        [(entry.sequence, entry.topic, entry.key, entry.removed, entry.body) for entry in entries],
    )
    position = replace(position, sequence=entries[-1].sequence)
    surplus = position.sequence - position.oldest + 1 - keep
    if surplus >= max(keep // 8, 1):
        position = replace(position, oldest=position.oldest + min(surplus, _PRUNE_STEP + len(entries)))
        connection.execute("DELETE FROM journal WHERE sequence < ?", (position.oldest,))
    connection.execute(
        "UPDATE feed SET sequence = ?, oldest = ?, last_time = max(last_time, ?)",
        (position.sequence, position.oldest, time),
    )
    return position


def entries_after(connection: sqlite3.Connection, sequence: int) -> list[Entry]:
    """Return what the journal has after a sequence, in its order."""
    rows = connection.execute(
        "SELECT sequence, topic, key, body, removed FROM journal WHERE sequence > ? ORDER BY sequence", (sequence,)
    )
    return [
        Entry(sequence=number, topic=topic, key=key, body=body, removed=bool(removed))
        for number, topic, key, body, removed in rows
    ]
