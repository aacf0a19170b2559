"""The subscription: what one watcher has still to be shown, folded per item, and what its filter lets through.

A pure function of the journal decides every frame: an entry that matches is CHANGED; one that does not, or removes the
item, is REMOVED if the entry before it matched; else it is nothing. So a watcher that was cut off and resumes is told
the same as one that was not. Folding drops earlier frames of the same item only, and keeps the order of the rest.

However slow a reader is, what waits for it is bounded: beyond that all of it is dropped and read from the journal
again, from the reader's position; no state is lost by it, and who never reads keeps nothing waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.runtime.entry import Entry, Frame
from virtyard.runtime.resume_point import TokenStem

__all__ = ["BOUNDS", "Bounds", "Matches", "News", "Pending", "Subscription", "Verdict"]

CHANGED = FrameKind.FRAME_KIND_CHANGED
REMOVED = FrameKind.FRAME_KIND_REMOVED

Matches = Callable[[str, str, bytes], bool]
"""Whether a watcher wants (topic, key, body)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may wait for one reader; what it has been handed already does not count."""

    items: int = 4096
    """Items of states whose last state waits, and items whose state a filter's reader is known to have seen."""
    entries: int = 1024
    """Entries of a log."""
    size: int = 4 << 20
    """Bytes of their states, which readers share."""
    portion: int = 64
    """Frames that are handed out at once: the rest can still be folded while those are being sent."""
    portion_size: int = 64 << 10
    """Bytes that are handed out at once, unless one frame alone is larger."""


BOUNDS = Bounds()
"""What holds in production."""

_OVERHEAD = 100
"""Bytes that a frame takes beside its state, about."""


class News:
    """An entry on its way to the watchers, with the frames that they share, each made when it is first needed.

    To a watcher without a filter it is a verdict by itself. It refers to nothing that refers to it, so what nobody
    waits for any more is gone at once, and does not stay until garbage is looked for.
    """

    __slots__ = ("_bare", "_full", "_stem", "entry", "item", "kind", "progress", "size")

    def __init__(self, entry: Entry, stem: TokenStem, *, progress: bool = False) -> None:
        """Keep the entry with the stem of its feed's tokens; `progress` is news that no journal has."""
        self.entry = entry
        self.item = (entry.topic, entry.key)
        self.kind: FrameKind.ValueType | None = REMOVED if entry.removed else CHANGED
        self.size = len(entry.body) + _OVERHEAD
        self.progress = progress
        self._stem = stem
        self._full: Frame | None = None
        self._bare: Frame | None = None

    @property
    def news(self) -> News:
        """Return itself, as what the verdict is about."""
        return self

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
class Verdict:
    """News with what a watcher with a filter is told of it."""

    news: News
    kind: FrameKind.ValueType | None
    """The kind of frame to send; None if it is REMOVED only where the entry before it matched, which is not known."""


Pending = News | Verdict
"""What one watcher is to be told; those without a filter share it."""


_LAST = object()
"""Under which a doorbell keeps the last news."""


class Subscription:
    """One watcher's pending frames, within bounds."""

    __slots__ = (
        "_bounds",
        "_doorbell",
        "_limit",
        "_matches",
        "_pending",
        "_recalled",
        "_shown",
        "_silent",
        "_size",
        "_timer",
        "_waiter",
        "complete",
        "fold",
        "live",
        "overflowed",
        "position",
        "scope",
        "sending",
        "told_at",
        "topics",
    )

    def __init__(
        self,
        topics: Collection[str],
        matches: Matches | None,
        *,
        fold: bool,
        bounds: Bounds = BOUNDS,
        doorbell: bool = False,
    ) -> None:
        """Begin with nothing pending.

        Args:
            topics: what is watched.
            matches: the filter; None for everything.
            fold: keep the last state of each item only; False for a log, whose entries are items by themselves.
            bounds: how much may be pending; beyond that it is read from the journal again.
            doorbell: keep the last durable entry only, whatever it is about, and no progress.
        """
        self.topics = frozenset(topics)
        self.fold = fold
        self.scope = ""
        self.position = 0
        self.complete = False
        self.live = False
        self.overflowed = False
        self.told_at = 0.0
        self.sending = 0
        self._bounds = bounds
        self._limit = bounds.items if fold else bounds.entries
        self._doorbell = doorbell
        self._matches = matches
        self._pending: dict[object, Pending] = {}
        self._recalled: deque[Pending] = deque()
        self._size = 0
        self._shown: dict[tuple[str, str], bool] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silent = False

    @property
    def pending(self) -> int:
        """Return how many frames wait for the reader."""
        return len(self._recalled) + len(self._pending)

    @property
    def buffered(self) -> int:
        """Return about how many bytes wait for the reader, with those that are being sent; readers share them."""
        return self._size + self.sending

    def lag(self, head: int) -> int:
        """Return by how many entries the reader is behind the feed, which stands at `head`; none within a snapshot."""
        waiting = self._recalled[0] if self._recalled else next(iter(self._pending.values()), None)
        if waiting is not None:
            return head - waiting.news.entry.sequence + 1
        return head - self.position if self.position and (self.overflowed or not self.live) else 0

    def wants(self, topic: str, key: str, body: bytes) -> bool:
        """Return whether the filter lets an item's state through."""
        return self._matches is None or self._matches(topic, key, body)

    def begin_snapshot(self) -> None:
        """Forget what was shown: a snapshot from its beginning follows, after which everything shown is known."""
        self._shown.clear()
        self.complete = True

    def show(self, topic: str, key: str) -> None:
        """Remember that the item's present state was sent in a snapshot."""
        if self._matches is not None and self.fold:
            self._note((topic, key), True)

    def offer(self, news: News) -> None:
        """Take news that was just published, unless it is part of what was read already."""
        entry = news.entry
        if self.overflowed or (entry.sequence <= self.position and not news.progress):
            return
        if self._doorbell and news.progress:
            return
        pending = self.judge(news)
        if pending is not None:
            self._keep(pending)

    def recall(self, news: News) -> None:
        """Take news that was published before the watcher went live; it comes first and is not folded."""
        pending = self.judge(news)
        if pending is not None:
            self._recalled.append(pending)
            self._size += news.size

    def judge(self, news: News) -> Pending | None:
        """Return what this watcher is to be told of the news, None if nothing."""
        entry = news.entry
        if self._matches is None:
            return news
        wanted = not entry.removed and self._matches(entry.topic, entry.key, entry.body)
        if news.progress or not self.fold:
            return Verdict(news, CHANGED) if wanted else None
        before = self._remember(news.item, wanted, gone=entry.removed)
        if wanted:
            return Verdict(news, CHANGED)
        if before is False:
            return None
        return Verdict(news, REMOVED if before else None)

    def take(self) -> list[Pending]:
        """Return a portion of what is pending, in order of its sequence; the rest may still be folded."""
        taken: list[Pending] = []
        room = self._bounds.portion_size
        while self._recalled and self._fits(self._recalled[0], taken, room):
            taken.append(self._recalled.popleft())
            room -= taken[-1].news.size
        if not self._recalled:
            keys = []
            for key, pending in self._pending.items():
                if not self._fits(pending, taken, room):
                    break
                keys.append(key)
                taken.append(pending)
                room -= pending.news.size
            for key in keys:
                del self._pending[key]
        self._size -= self._bounds.portion_size - room
        return taken

    def _fits(self, pending: Pending, taken: Collection[Pending], room: int) -> bool:
        """Return whether a portion takes one more."""
        return len(taken) < self._bounds.portion and (not taken or pending.news.size <= room)

    def overflow(self) -> None:
        """Drop what is pending; the journal is read from the watcher's position instead."""
        self.overflowed = True
        self._forget_shown()
        self._pending.clear()
        self._recalled.clear()
        self._size = 0

    async def wait(self, interval: float) -> bool:
        """Wait for news; return False if the stream has been silent for `interval` seconds instead.

        One timer serves all waits of an interval: setting one for each frame is a third of the cost of a frame.
        """
        if self._pending or self._recalled:
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

    def _forget_shown(self) -> None:
        """Know nothing of what was shown: where it matters, the journal is asked."""
        self.complete = False
        self._shown.clear()

    def _note(self, item: tuple[str, str], wanted: bool) -> None:
        """Note whether an item is in view, as long as there are not too many of them."""
        if len(self._shown) >= self._bounds.items and item not in self._shown:
            self._forget_shown()
        self._shown[item] = wanted

    def _remember(self, item: tuple[str, str], wanted: bool, *, gone: bool) -> bool | None:
        """Note whether the item's last entry matched; return whether the one before did, None if that is not known."""
        before = self._shown.get(item)
        if before is None and self.complete:
            before = False
        if wanted or not (self.complete or gone):
            self._note(item, wanted)
        else:
            # Of what is gone the journal says so; a name that comes again is looked up there.
            self._shown.pop(item, None)
        return before

    def _keep(self, pending: Pending) -> None:
        news = pending.news
        if self.fold:
            key: object = _LAST if self._doorbell else news.item
            if news.progress:
                key = (*news.item, "progress")
            if self._pending:
                if pending.kind is None and self._leaves(key):
                    return
                # Popped first, so that the order of what is pending stays the order of the sequence.
                self._drop(key)
                if not news.progress:
                    self._drop((*news.item, "progress"))
        else:
            key = object()
        if len(self._pending) >= self._limit or self._size + news.size > self._bounds.size:
            self.overflow()
        else:
            self._pending[key] = pending
            self._size += news.size
        self.wake()

    def _leaves(self, key: object) -> bool:
        """Return whether the item is about to leave the view: the entry that took it out says so, not a later one."""
        waiting = self._pending.get(key)
        return waiting is not None and waiting.kind != CHANGED and not self._doorbell

    def _drop(self, key: object) -> None:
        """Fold away what waits under a key."""
        dropped = self._pending.pop(key, None)
        if dropped is not None:
            self._size -= dropped.news.size
