"""Reads of the journal and of snapshots, each within one transaction of the database; they run in its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from virtyard.kernel.errors import InternalError
from virtyard.runtime.entry import Entry

__all__ = [
    "JournalPage",
    "Snapshot",
    "SnapshotPage",
    "read_journal",
    "read_prior",
    "read_sequence",
    "read_snapshot",
    "shown_by",
]

Snapshot = Callable[[sqlite3.Connection, str, str, int], Iterable[tuple[str, bytes]]]
"""`snapshot(connection, topic, after_key, sequence)` yields (key, body) of the items of a topic whose key is greater
than `after_key`, in order of the key: all of them, or the first page, but never none where there are some. `sequence`
is the commit that the snapshot stands for; what changed after it is left out by the feed. All watchers that are given
the same one are shown the same."""


@runtime_checkable
class OwnSnapshot(Protocol):
    """A `Snapshot` that is made for one watcher, and says which others show the same."""

    def shown_as(self, after_key: str) -> Hashable:
        """Return what is equal for those that yield the same behind a key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPage:
    """A part of the journal."""

    entries: list[Entry]
    """The entries of the wanted topics."""
    reached: int
    """Everything up to this sequence has been read."""
    head: int
    """The last durable sequence."""
    lost: bool
    """True if the journal does not reach back to where the page should begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPage:
    """A part of a snapshot."""

    rows: list[tuple[str, bytes]]
    """(key, body), in order of the key, of what did not change since the snapshot's sequence."""
    last: str | None
    """The last key that was read; None if there was none left."""
    sequence: int
    """The snapshot's sequence."""
    lost: bool
    """True if the journal does not reach back to the snapshot's sequence."""


def read_journal(
    connection: sqlite3.Connection, topics: Collection[str], after: int, limit: int, size: int
) -> JournalPage:
    """Read the journal after a sequence, at most `limit` rows and, but for the last of them, `size` bytes."""
    head, oldest = _position(connection)
    reached = min(head, after + limit)
    rows = connection.execute(
        "SELECT sequence, topic, key, body, removed FROM journal WHERE sequence > ? AND sequence <= ?"
        " ORDER BY sequence",
        (after, reached),
    )
    entries = []
    for sequence, topic, key, body, removed in rows:
        if topic in topics:
            entries.append(Entry(sequence=sequence, topic=topic, key=key, body=body, removed=bool(removed)))
            size -= len(body)
            if size <= 0:
                reached = sequence
                break
    return JournalPage(entries=entries, reached=max(reached, after), head=head, lost=after + 1 < oldest)


def read_snapshot(
    connection: sqlite3.Connection,
    snapshot: Snapshot,
    topic: str,
    after_key: str,
    *,
    sequence: int | None,
    limit: int,
    size: int,
) -> SnapshotPage:
    """Read the next page of a topic as it was at `sequence`, or at now if that is None; see `read_journal` for its end.

    What changed since `sequence` is left out: its last state follows as a change (P29).
    """
    head, oldest = _position(connection)
    at = head if sequence is None else sequence
    changed: set[str] = set()
    if at < head:
        # The plus keeps SQLite on the range of sequences, which is short, instead of the topic's index.
        changed = {
            key
            for (key,) in connection.execute("SELECT key FROM journal WHERE sequence > ? AND +topic = ?", (at, topic))
        }
    rows: list[tuple[str, bytes]] = []
    last: str | None = None
    for key, body in snapshot(connection, topic, after_key, at):
        if key <= (last if last is not None else after_key):
            raise InternalError(f"the snapshot of {topic} is not in order of its keys: {key!r} after {last!r}")
        last = key
        if key not in changed:
            rows.append((key, body))
            size -= len(body)
        if len(rows) >= limit or size <= 0:
            break
    return SnapshotPage(rows=rows, last=last, sequence=at, lost=at + 1 < oldest)


def read_prior(
    connection: sqlite3.Connection, items: Collection[tuple[str, str, int]]
) -> dict[tuple[str, str, int], Entry | bool | None]:
    """Read the entry before each (topic, key, sequence).

    Returns for each: the entry; None if the item had none; True if that is not kept any more.
    """
    _, oldest = _position(connection)
    found: dict[tuple[str, str, int], Entry | bool | None] = {}
    for topic, key, before in items:
        row = connection.execute(
            "SELECT sequence, body, removed FROM journal WHERE topic = ? AND key = ? AND sequence < ?"
            " ORDER BY sequence DESC LIMIT 1",
            (topic, key, before),
        ).fetchone()
        if row is not None:
            entry = Entry(sequence=row[0], topic=topic, key=key, body=row[1], removed=bool(row[2]))
            found[topic, key, before] = entry
        else:
            found[topic, key, before] = True if oldest > 1 else None
    return found


def shown_by(snapshot: Hashable, after_key: str) -> Hashable:
    """Return what is equal for snapshots that yield the same behind a key."""
    return snapshot.shown_as(after_key) if isinstance(snapshot, OwnSnapshot) else snapshot


def read_sequence(connection: sqlite3.Connection) -> int:
    """Read the last durable sequence."""
    return _position(connection)[0]


def _position(connection: sqlite3.Connection) -> tuple[int, int]:
    head, oldest = connection.execute("SELECT sequence, oldest FROM feed").fetchone()
    return int(head), int(oldest)
