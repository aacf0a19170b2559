"""The subscription: what one watcher has still to be shown, folded per item, and what its filter lets through.

A pure function of the journal decides every frame: an entry that matches is CHANGED; one that does not, or removes the
item, is REMOVED if the entry before it matched; else it is nothing. So a watcher that was cut off and resumes is told
the same as one that was not. Folding drops earlier frames of the same item only, and keeps the order of the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.runtime.entry import Entry, Frame
from virtyard.runtime.resume_point import TokenStem

__all__ = ["Matches", "News", "Pending", "Subscription"]

CHANGED = FrameKind.FRAME_KIND_CHANGED
REMOVED = FrameKind.FRAME_KIND_REMOVED

Matches = Callable[[str, str, bytes], bool]
"""Whether a watcher wants (topic, key, body)."""


class News:
    """An entry on its way to the watchers, with the frames that they share, each made when it is first needed."""

    __slots__ = ("_bare", "_full", "_plain", "_stem", "entry", "progress")

    def __init__(self, entry: Entry, stem: TokenStem, *, progress: bool = False) -> None:
        """Keep the entry with the stem of its feed's tokens; `progress` is news that no journal has."""
        self.entry = entry
        self.progress = progress
        self._stem = stem
        self._plain: Pending | None = None
        self._full: Frame | None = None
        self._bare: Frame | None = None

    @property
    def plain(self) -> Pending:
        """Return what is told to a watcher without a filter."""
        if self._plain is None:
            self._plain = Pending(self, REMOVED if self.entry.removed else CHANGED)
        return self._plain

    def frame(self, kind: FrameKind.ValueType) -> Frame:
        """Return the frame of that kind, made once; without the body if the item only left a view."""
        if kind == REMOVED and not self.entry.removed:
            if self._bare is None:
                self._bare = self._make(kind, b"")
            return self._bare
        if self._full is None:
            self._full = self._make(kind, self.entry.body)
        return self._full

    def _make(self, kind: FrameKind.ValueType, body: bytes) -> Frame:
        entry = self.entry
        token = self._stem.at(entry.sequence)
        return Frame(kind=kind, token=token, topic=entry.topic, key=entry.key, body=body, sequence=entry.sequence)


@dataclass(frozen=True, slots=True)
class Pending:
    """News with the verdict about it."""

    news: News
    kind: FrameKind.ValueType | None
    """The kind of frame to send; None if it is REMOVED only where the entry before it matched, which is not known."""


class Subscription:
    """One watcher's pending frames; memory is bounded by the items (folded) or by `limit` (logs)."""

    __slots__ = (
        "_limit",
        "_matches",
        "_pending",
        "_recalled",
        "_shown",
        "_silent",
        "_timer",
        "_waiter",
        "complete",
        "fold",
        "overflowed",
        "position",
        "scope",
        "told_at",
        "topics",
    )

    def __init__(self, topics: Collection[str], matches: Matches | None, *, fold: bool, limit: int) -> None:
        """Begin with nothing pending.

        Args:
            topics: what is watched.
            matches: the filter; None for everything.
            fold: keep the last state of each item only.
            limit: without folding, as many entries may be pending; then they are read from the journal again.
        """
        self.topics = frozenset(topics)
        self.fold = fold
        self.scope = ""
        self.position = 0
        self.complete = False
        self.overflowed = False
        self.told_at = 0.0
        self._matches = matches
        self._limit = limit
        self._pending: dict[object, Pending] = {}
        self._recalled: list[Pending] = []
        self._shown: dict[tuple[str, str], bool] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silent = False

    @property
    def pending(self) -> int:
        """Return how many frames wait for the reader."""
        return len(self._recalled) + len(self._pending)

    def wants(self, topic: str, key: str, body: bytes) -> bool:
        """Return whether the filter lets an item's state through."""
        return self._matches is None or self._matches(topic, key, body)

    def begin_snapshot(self) -> None:
        """Forget what was shown: a snapshot from its beginning follows, after which everything shown is known."""
        self._shown.clear()
        self.complete = True

    def show(self, topic: str, key: str) -> None:
        """Remember that the item's present state was sent in a snapshot."""
        if self._matches is not None:
            self._shown[topic, key] = True

    def offer(self, news: News) -> None:
        """Take news that was just published, unless it is part of what was read already."""
        entry = news.entry
        if self.overflowed or (entry.sequence <= self.position and not news.progress):
            return
        pending = self.judge(news)
        if pending is not None:
            self._keep(pending)

    def recall(self, news: News) -> None:
        """Take news that was published before the watcher went live; it comes first and is not folded."""
        pending = self.judge(news)
        if pending is not None:
            self._recalled.append(pending)

    def judge(self, news: News) -> Pending | None:
        """Return what this watcher is to be told of the news, None if nothing."""
        entry = news.entry
        if self._matches is None:
            return news.plain
        wanted = not entry.removed and self._matches(entry.topic, entry.key, entry.body)
        if news.progress:
            return Pending(news, CHANGED) if wanted else None
        before = self._remember((entry.topic, entry.key), wanted)
        if wanted:
            return Pending(news, CHANGED)
        if before is False:
            return None
        return Pending(news, REMOVED if before else None)

    def take(self) -> list[Pending]:
        """Return everything that is pending, in order of its sequence; more may gather while it is being sent."""
        recalled, self._recalled = self._recalled, []
        pending, self._pending = self._pending, {}
        return [*recalled, *pending.values()]

    def overflow(self) -> None:
        """Drop what is pending; the journal is read from the watcher's position instead."""
        self.overflowed = True
        self.complete = False
        self._pending.clear()
        self._recalled.clear()
        self._shown.clear()

    async def wait(self, interval: float) -> bool:
        """Wait for news; return False if the stream has been silent for `interval` seconds instead.

        One timer serves all waits of an interval: setting one for each frame is a third of the cost of a frame.
        """
        if self._pending:
            return True
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_at(self.told_at + interval, self._tick, interval)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        silent, self._silent = self._silent, False
        return bool(self._pending) or not silent

    def close(self) -> None:
        """Set no timer any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """Have the watcher look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tick(self, interval: float) -> None:
        """Notice silence; a reader that is busy with a frame is looked at when it waits again."""
        self._timer = None
        if self._waiter is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self.told_at + interval:
            self._timer = loop.call_at(self.told_at + interval, self._tick, interval)
        else:
            self._silent = True
            self.wake()

    def _remember(self, item: tuple[str, str], wanted: bool) -> bool | None:
        """Note whether the item's last entry matched; return whether the one before did, None if that is not known."""
        before = self._shown.get(item)
        if before is None and self.complete:
            before = False
        if wanted or not self.complete:
            self._shown[item] = wanted
        else:
            self._shown.pop(item, None)
        return before

    def _keep(self, pending: Pending) -> None:
        entry = pending.news.entry
        if self.fold:
            item = (entry.topic, entry.key)
            key: object = (*item, "progress") if pending.news.progress else item
            if self._pending:
                # Popped first, so that the order of what is pending stays the order of the sequence.
                self._pending.pop(key, None)
                if not pending.news.progress:
                    self._pending.pop((*item, "progress"), None)
            self._pending[key] = pending
        elif len(self._pending) >= self._limit:
            self.overflow()
        else:
            self._pending[object()] = pending
        self.wake()
