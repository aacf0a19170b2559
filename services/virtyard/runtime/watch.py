"""One watch: a snapshot, then the journal, then the live news, as one stream of frames that can be cut anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.runtime.entry import Entry, Frame
from virtyard.runtime.feed import Feed
from virtyard.runtime.journal_reader import JournalPage, Snapshot, read_journal, read_prior
from virtyard.runtime.snapshot_pages import Page
from virtyard.runtime.subscription import REMOVED, News, Pending, Subscription

__all__ = ["Watch"]

_PAGE, _PAGE_SIZE = 512, 256 << 10
"""The rows of one reading, and the bytes after which it ends: it is kept until the reader has taken it."""
_START = ("", "")


class _GapError(Exception):
    """The history between the watcher's position and now is not kept any more."""


class Watch:
    """The stream of one watcher, made batch by batch: from a snapshot, from the journal, then from the live news.

    Its token is `_place` while it is inside a snapshot, else the subscription's position.
    """

    def __init__(self, feed: Feed, subscription: Subscription, snapshot: Snapshot) -> None:
        """Make a watch that has not begun."""
        self._feed = feed
        self._subscription = subscription
        self._snapshot = snapshot
        self._topics = sorted(subscription.topics)
        self._place: tuple[str, str] | None = None
        self._slow = False
        self._mark_live = False
        self._reading = _START
        self._at: int | None = None
        self._live = False
        self._ended = False

    async def batches(self, options: WatchOptions) -> AsyncGenerator[Sequence[Frame], None]:
        """Yield the frames, those together that are there together; see `Feed.watch`."""
        self._feed.join(self._subscription)
        try:
            batch = self._start(options)
            while True:
                if batch:
                    # As long as they are with gRPC, which takes no more than the reader's window and 64 KiB.
                    self._subscription.sending = sum(len(frame.body) for frame in batch)
                    yield batch
                    self._subscription.sending = 0
                if self._ended:
                    return
                try:
                    batch = await self._next()
                except _GapError:
                    batch = self._gap()
        finally:
            self._feed.leave(self._subscription)

    def _start(self, options: WatchOptions) -> Sequence[Frame]:
        """Take the place that the options name, and return what is to be said of it."""
        subscription = self._subscription
        self._mark_live = options.mark_live
        if not options.resume_token:
            if not options.skip_snapshot:
                self._begin_snapshot(_START, None)
                subscription.begin_snapshot()
                return ()
            subscription.position = self._feed.head
            return (self._about_stream(FrameKind.FRAME_KIND_BOOKMARK),)
        point = self._feed.resume_point(options.resume_token)
        if point is None:
            return self._gap()
        if point.snapshot is not None:
            self._begin_snapshot(point.snapshot, point.sequence)
        else:
            subscription.position = point.sequence
        return ()

    def _begin_snapshot(self, place: tuple[str, str], at: int | None) -> None:
        """Go on with a snapshot behind a place in it."""
        self._place, self._at = place, at
        following = [topic for topic in self._topics if topic >= place[0]]
        topic = following[0] if following else self._topics[-1]
        self._reading = place if topic == place[0] else (topic, "")

    def _gap(self) -> Sequence[Frame]:
        """Begin anew with a snapshot of now."""
        self._leave_live()
        self._begin_snapshot(_START, self._feed.journal.sequence)
        self._subscription.begin_snapshot()
        return (self._about_stream(FrameKind.FRAME_KIND_GAP),)

    async def _next(self) -> Sequence[Frame]:
        """Return the next frames; none if it has to be asked again."""
        if self._live:
            return await self._next_live()
        if self._feed.closing:
            return self._goodbye()
        if self._place is not None:
            return await self._next_of_snapshot()
        return await self._next_of_journal()

    async def _next_of_snapshot(self) -> Sequence[Frame]:
        """Return a page of SNAPSHOT frames, behind the last of which the BOOKMARK stands."""
        topic, after = self._reading
        page = await self._read_snapshot(topic, after)
        subscription = self._subscription
        frames = []
        for index, (key, body) in enumerate(page.rows):
            if subscription.wants(topic, key, body):
                subscription.show(topic, key)
                frames.append(page.frame(index))
                self._place = (topic, key)
        following = [later for later in self._topics if later > topic]
        if page.last is not None:
            self._reading = (topic, page.last)
        elif following:
            self._reading = (following[0], "")
        else:
            self._place, subscription.position = None, page.sequence
            frames.append(self._about_stream(FrameKind.FRAME_KIND_BOOKMARK))
        return frames

    async def _read_snapshot(self, topic: str, after: str) -> Page:
        feed = self._feed
        if self._at is None:
            page = await feed.pages.begin(feed.journal, feed.stem, self._snapshot, topic)
        else:
            page = await feed.pages.page(feed.journal, feed.stem, self._snapshot, topic, after, self._at)
        if page.lost:
            raise _GapError
        self._at = page.sequence
        return page

    async def _next_of_journal(self) -> Sequence[Frame]:
        """Return a page of what the journal has after the position, until the live news takes over."""
        subscription = self._subscription
        if self._feed.go_live(subscription):
            self._live, self._slow = True, False
            subscription.told_at = asyncio.get_running_loop().time()
            return ()
        page = await self._read_journal(subscription.position)
        judged = [subscription.judge(self._news(entry)) for entry in page.entries]
        frames = await self._resolve([one for one in judged if one is not None])
        subscription.position = page.reached
        return _folded(frames) if self._slow and subscription.fold else frames

    async def _read_journal(self, after: int) -> JournalPage:
        topics = self._subscription.topics
        page = await self._feed.journal.read(
            lambda connection: read_journal(connection, topics, after, _PAGE, _PAGE_SIZE)
        )
        if page.lost:
            raise _GapError
        return page

    async def _next_live(self) -> Sequence[Frame]:
        """Return what has been published, once there is something; KEEPALIVE after silence."""
        loop, subscription = asyncio.get_running_loop(), self._subscription
        while not (pending := subscription.take()):
            if subscription.overflowed:
                self._leave_live()
                self._slow = True
                return ()
            if self._feed.closing:
                return self._goodbye()
            if self._mark_live or not await subscription.wait(self._feed.keepalive):
                self._mark_live = False
                subscription.position = self._feed.head
                subscription.told_at = loop.time()
                return (self._about_stream(FrameKind.FRAME_KIND_KEEPALIVE),)
        frames = await self._resolve(pending)
        if frames:
            subscription.position = frames[-1].sequence
            subscription.told_at = loop.time()
        return frames

    def _leave_live(self) -> None:
        self._feed.leave_live(self._subscription)
        self._live = self._subscription.overflowed = False

    def _goodbye(self) -> Sequence[Frame]:
        self._ended = True
        return (self._about_stream(FrameKind.FRAME_KIND_GOODBYE),)

    async def _resolve(self, judged: Sequence[Pending]) -> list[Frame]:
        """Return the frames; an item that does not match is looked up where it is not known whether it did before."""
        frames = [one.news.frame(one.kind) for one in judged if one.kind is not None]
        if len(frames) == len(judged):
            return frames
        open_items = [one.news.entry for one in judged if one.kind is None]
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
        return News(entry, self._feed.stem)

    def _about_stream(self, kind: FrameKind.ValueType) -> Frame:
        """Return a frame without an item, whose token is where this watch stands."""
        sequence = self._subscription.position
        if self._place is not None:
            sequence = self._feed.head if self._at is None else self._at
        return Frame(kind=kind, token=self._feed.point(sequence, self._place).token(), sequence=sequence)


def _folded(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Return the last frame of each item, in the order of their sequence."""
    last: dict[tuple[str, str], Frame] = {}
    for frame in frames:
        last.pop((frame.topic, frame.key), None)
        last[frame.topic, frame.key] = frame
    return list(last.values())
