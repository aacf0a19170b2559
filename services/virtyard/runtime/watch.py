"""One watch: a snapshot, then the journal, then the live news, as one stream of frames that can be cut anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.entry import Entry, Frame
from virtyard.runtime.feed import Feed
from virtyard.runtime.journal_reader import JournalPage, Snapshot, SnapshotPage, read_journal, read_prior, read_snapshot
from virtyard.runtime.resume_point import ResumePoint
from virtyard.runtime.subscription import REMOVED, News, Pending, Subscription

__all__ = ["Watch"]

_PAGE = 512
_START = ("", "")


class _GapError(Exception):
    """The history between the watcher's position and now is not kept any more."""


class Watch:
    """The stream of one watcher: `_place` while it is inside a snapshot, else the subscription's position."""

    def __init__(self, feed: Feed, subscription: Subscription, snapshot: Snapshot) -> None:
        """Make a watch that has not begun."""
        self._feed = feed
        self._subscription = subscription
        self._snapshot = snapshot
        self._topics = sorted(subscription.topics)
        self._place: tuple[str, str] | None = None
        self._at: int | None = None

    async def frames(self, options: WatchOptions) -> AsyncGenerator[Frame, None]:
        """Yield the frames; see `Feed.watch`."""
        self._feed.join(self._subscription)
        try:
            known = self._start(options)
            if known and self._place is None and not options.resume_token:
                yield self._about_stream(FrameKind.FRAME_KIND_BOOKMARK)
            while True:
                if not known:
                    self._begin_snapshot(self._feed.journal.sequence)
                    yield self._about_stream(FrameKind.FRAME_KIND_GAP)
                try:
                    async for frame in self._follow():
                        yield frame
                except _GapError:
                    known = False
                else:
                    return
        finally:
            self._feed.leave(self._subscription)

    def _start(self, options: WatchOptions) -> bool:
        """Take the place that the options name; return False if it is not in this feed's history."""
        if not options.resume_token:
            if options.skip_snapshot:
                self._subscription.position = self._feed.head
            else:
                self._begin_snapshot(None)
            return True
        point = ResumePoint.parse(options.resume_token)
        if point.service != self._feed.service:
            raise InvalidRequest.of("options.resume_token", f"must come from {self._feed.service}, not {point.service}")
        if not self._feed.is_ours(point):
            return False
        if point.snapshot is not None:
            self._place, self._at = point.snapshot, point.sequence
        else:
            self._subscription.position = point.sequence
        return True

    def _begin_snapshot(self, at: int | None) -> None:
        self._feed.leave_live(self._subscription)
        self._subscription.begin_snapshot()
        self._place, self._at = _START, at

    async def _follow(self) -> AsyncGenerator[Frame, None]:
        """Yield everything from the present place on, GOODBYE included."""
        if self._place is not None:
            async for frame in self._send_snapshot(self._place):
                yield frame
        while self._place is None and not self._feed.closing:
            async for frame in self._replay():
                yield frame
            async for frame in self._send_live():
                yield frame
        yield self._about_stream(FrameKind.FRAME_KIND_GOODBYE)

    async def _send_snapshot(self, place: tuple[str, str]) -> AsyncGenerator[Frame, None]:
        """Yield SNAPSHOT frames after the place, and the BOOKMARK; ends early if the feed closes."""
        topics = [topic for topic in self._topics if topic >= place[0]]
        for topic in topics or self._topics[:1]:
            after: str | None = place[1] if topic == place[0] else ""
            while after is not None:
                page = await self._read_snapshot(topic, after)
                for key, body in page.rows:
                    if self._subscription.wants(topic, key, body):
                        self._subscription.show(topic, key)
                        self._place = (topic, key)
                        yield self._snapshot_frame(topic, key, body, page.sequence)
                after = page.last
                if self._feed.closing:
                    return
        self._place, self._subscription.position = None, self._at or 0
        yield self._about_stream(FrameKind.FRAME_KIND_BOOKMARK)

    async def _read_snapshot(self, topic: str, after: str) -> SnapshotPage:
        snapshot, at = self._snapshot, self._at
        page = await self._feed.journal.read(
            lambda connection: read_snapshot(connection, snapshot, topic, after, sequence=at, limit=_PAGE)
        )
        if page.lost:
            raise _GapError
        self._at = page.sequence
        return page

    async def _replay(self) -> AsyncGenerator[Frame, None]:
        """Yield what the journal has after the position, until the live news takes over."""
        subscription = self._subscription
        subscription.overflowed = False
        while not self._feed.go_live(subscription):
            page = await self._read_journal(subscription.position)
            judged = [subscription.judge(self._news(entry)) for entry in page.entries]
            for frame in await self._resolve([one for one in judged if one is not None]):
                subscription.position = frame.sequence
                yield frame
            subscription.position = page.reached
            if self._feed.closing:
                return

    async def _read_journal(self, after: int) -> JournalPage:
        topics = self._subscription.topics
        page = await self._feed.journal.read(lambda connection: read_journal(connection, topics, after, _PAGE))
        if page.lost:
            raise _GapError
        return page

    async def _send_live(self) -> AsyncGenerator[Frame, None]:
        """Yield news as it is published, until the feed closes or the reader has fallen behind."""
        loop, subscription = asyncio.get_running_loop(), self._subscription
        subscription.told_at = loop.time()
        while True:
            pending = subscription.take()
            for frame in await self._resolve(pending) if pending else ():
                subscription.position = frame.sequence
                yield frame
            if subscription.overflowed:
                self._feed.leave_live(subscription)
                return
            if pending:
                subscription.told_at = loop.time()
            elif self._feed.closing:
                return
            elif not await subscription.wait(self._feed.keepalive):
                subscription.position = self._feed.head
                subscription.told_at = loop.time()
                yield self._about_stream(FrameKind.FRAME_KIND_KEEPALIVE)

    async def _resolve(self, judged: Sequence[Pending]) -> list[Frame]:
        """Return the frames; an item that does not match is looked up where it is not known whether it did before."""
        open_items = [one.news.entry for one in judged if one.kind is None]
        if not open_items:
            return [one.news.frame(one.kind) for one in judged if one.kind is not None]
        asked = [(entry.topic, entry.key, entry.sequence) for entry in open_items]
        prior = await self._feed.journal.read(lambda connection: read_prior(connection, asked))
        frames = []
        for one in judged:
            entry = one.news.entry
            if one.kind is not None:
                frames.append(one.news.frame(one.kind))
            elif self._matched(prior[entry.topic, entry.key, entry.sequence]):
                frames.append(one.news.frame(REMOVED))
        return frames

    def _matched(self, prior: Entry | bool | None) -> bool:
        """Return whether the watcher may have been shown the item; history that is gone counts as yes."""
        if isinstance(prior, Entry):
            return not prior.removed and self._subscription.wants(prior.topic, prior.key, prior.body)
        return prior is True

    def _news(self, entry: Entry) -> News:
        return News(entry, self._feed.point(entry.sequence))

    def _snapshot_frame(self, topic: str, key: str, body: bytes, sequence: int) -> Frame:
        token = self._feed.point(sequence, (topic, key)).token()
        kind = FrameKind.FRAME_KIND_SNAPSHOT
        return Frame(kind=kind, token=token, topic=topic, key=key, body=body, sequence=sequence)

    def _about_stream(self, kind: FrameKind.ValueType) -> Frame:
        """Return a frame without an item, whose token is where this watch stands."""
        sequence = self._subscription.position
        if self._place is not None:
            sequence = self._feed.head if self._at is None else self._at
        return Frame(kind=kind, token=self._feed.point(sequence, self._place).token(), sequence=sequence)
