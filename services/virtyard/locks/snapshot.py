"""The snapshot of all locks, as a watcher is shown it page by page; read from locks.db once and not for each page.

To show one waiting lock its place, all locks must be read: for 10,000 of them, page by page, that took many seconds.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from virtyard.locks import queries
from virtyard.locks.store import snapshot

__all__ = ["PagedSnapshot"]


class PagedSnapshot:
    """A `runtime.feed.Snapshot` that keeps what it read until it was shown or the database has moved on."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._revision = -1
        self._items: list[tuple[str, bytes]] = []

    def __call__(
        self, connection: sqlite3.Connection, topic: str, after_key: str, sequence: int
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (key, body) of the locks behind a key, in the order of the keys."""
        revision = connection.execute(queries.COUNTER).fetchone()[0]
        if revision != self._revision:
            self._items = list(snapshot(connection, topic, "", sequence))
            self._revision = revision
        items = self._items
        yield from islice(items, bisect_right(items, after_key, key=lambda item: item[0]), None)
        # Shown to its end: the next watcher comes later, and nobody waits for memory that is not used.
        self._items, self._revision = [], -1
