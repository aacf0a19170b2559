"""Snapshot pages: what many watchers begin with is read, and made frames of, once for all of them.

A page belongs to the sequence that its snapshot stands for, and stays true however much is committed later: what has
changed since that sequence is told after the snapshot, to whoever was shown the page. So those who come at once read
the same snapshot to its end. Nobody begins with one that is older than its request.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.runtime.entry import Frame
from virtyard.runtime.journal_reader import Snapshot, SnapshotPage, read_sequence, read_snapshot, shown_by
from virtyard.runtime.resume_point import TokenStem

if TYPE_CHECKING:
    from virtyard.runtime.feed import Journal

__all__ = ["Page", "SnapshotPages"]

_PAGE, _PAGE_SIZE = 512, 256 << 10
"""The rows of one reading, and the bytes after which it ends: it is kept until the reader has taken it."""
_KEPT_SIZE = 16 << 20
"""Bytes of pages that are kept, about: all of ten thousand objects."""
_KEPT_FOR = 5.0
"""Seconds that a page is kept: frames show activity, and that of a page is as old as the page."""
_OVERHEAD = 600
"""Bytes that a row takes beside its body and its serialised frame, about."""
_SNAPSHOT = FrameKind.FRAME_KIND_SNAPSHOT

_Place = tuple[Hashable, str, str, int]
"""What is shown, its topic, the key behind which the page begins, and the snapshot's sequence."""


class Page:
    """A page of a snapshot, with the frames that its watchers share, each made when it is first shown."""

    __slots__ = ("_frames", "_stem", "_topic", "last", "lost", "rows", "sequence", "size")

    def __init__(self, read: SnapshotPage, topic: str, stem: TokenStem) -> None:
        """Show what was read of a topic, with tokens of this stem."""
        self.rows = read.rows
        self.last = read.last
        self.sequence = read.sequence
        self.lost = read.lost
        self.size = sum(2 * len(body) + _OVERHEAD for _, body in read.rows)
        self._topic = topic
        self._stem = stem
        self._frames: list[Frame | None] = [None] * len(read.rows)

    def frame(self, index: int) -> Frame:
        """Return the frame of a row."""
        made = self._frames[index]
        if made is None:
            key, body = self.rows[index]
            token = self._stem.inside(self.sequence, self._topic, key)
            made = Frame(kind=_SNAPSHOT, token=token, topic=self._topic, key=key, body=body, sequence=self.sequence)
            self._frames[index] = made
        return made


class SnapshotPages:
    """The pages that a feed's watchers were shown last; read in the database's thread, asked for on the event loop."""

    def __init__(self, *, size: int = _KEPT_SIZE, kept_for: float = _KEPT_FOR) -> None:
        """Keep nothing yet.

        Args:
            size: bytes that may be kept.
            kept_for: seconds after which a page is read anew.
        """
        self._size = size
        self._kept_for = kept_for
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Place, Page] = OrderedDict()
        self._first: dict[tuple[Hashable, str], tuple[int, int]] = {}
        self._begun = 0
        self._timer: asyncio.TimerHandle | None = None
        self.kept = 0
        """About how many bytes are kept."""

    async def begin(self, journal: Journal, stem: TokenStem, snapshot: Snapshot, topic: str) -> Page:
        """Return the first page of a snapshot of now, or of one whose reading has begun since this was asked for."""
        asked, shown = self._begun, shown_by(snapshot, "")

        def look(connection: sqlite3.Connection) -> Page:
            # Counted before the first statement, by which the connection gets its view of the database.
            self._begun = number = self._begun + 1
            began, sequence = self._first.get((shown, topic), (0, 0))
            if began > asked or (began and sequence == read_sequence(connection)):
                known = self._find((shown, topic, "", sequence))
                if known is not None:
                    return known
            page = _read(connection, stem, snapshot, topic, "", None)
            self._first[shown, topic] = (number, page.sequence)
            self._keep((shown, topic, "", page.sequence), page)
            return page

        return await self._read(journal, look)

    async def page(
        self, journal: Journal, stem: TokenStem, snapshot: Snapshot, topic: str, after: str, sequence: int
    ) -> Page:
        """Return the page of the snapshot at a sequence behind a key.

        It is `lost` if the journal does not reach back to that sequence.
        """
        place = (shown_by(snapshot, after), topic, after, sequence)
        known = self._find(place)
        if known is not None:
            return known

        def look(connection: sqlite3.Connection) -> Page:
            # It may have been read for another watcher while this one waited for its turn.
            known = self._find(place)
            if known is None:
                known = _read(connection, stem, snapshot, topic, after, sequence)
                if not known.lost:
                    self._keep(place, known)
            return known

        return await self._read(journal, look)

    def forget(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._kept.clear()
            self._first.clear()
            self.kept = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _find(self, place: _Place) -> Page | None:
        with self._lock:
            known = self._kept.get(place)
            if known is not None:
                self._kept.move_to_end(place)
            return known

    def _keep(self, place: _Place, page: Page) -> None:
        with self._lock:
            before = self._kept.pop(place, None)
            self._kept[place] = page
            self.kept += page.size - (before.size if before is not None else 0)
            while self.kept > self._size:
                _, oldest = self._kept.popitem(last=False)
                self.kept -= oldest.size

    async def _read(self, journal: Journal, look: Callable[[sqlite3.Connection], Page]) -> Page:
        """Read, and have what is kept forgotten after a while, though the one who asked has left meanwhile."""
        try:
            return await journal.read(look)
        finally:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._kept_for, self.forget)


def _read(
    connection: sqlite3.Connection, stem: TokenStem, snapshot: Snapshot, topic: str, after: str, at: int | None
) -> Page:
    read = read_snapshot(connection, snapshot, topic, after, sequence=at, limit=_PAGE, size=_PAGE_SIZE)
    return Page(read, topic, stem)
