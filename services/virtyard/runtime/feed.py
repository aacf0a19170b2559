"""The feed of a service: what its database commits, in commit order, to every watcher (P7, P29).

Nothing is shown before it is durable. A watcher begins with a snapshot or where it was cut off, follows the journal,
and goes over to the live news once the two meet; it is told the same wherever it was cut. Live news is kept once, in a
ring, and a frame is serialised once for all who are told the same.
"""

from __future__ import annotations

import functools
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from virtyard.api.type.v1 import watch_pb2
from virtyard.kernel.errors import InternalError, InvalidRequest, Unavailable
from virtyard.kernel.invariants import Invariant, broken
from virtyard.runtime.batches import one_by_one
from virtyard.runtime.entry import Entry, Frame
from virtyard.runtime.journal_reader import JournalPage, Snapshot, read_journal
from virtyard.runtime.resume_point import ResumePoint, TokenStem
from virtyard.runtime.snapshot_pages import SnapshotPages
from virtyard.runtime.subscription import BOUNDS, CHANGED, REMOVED, Bounds, Matches, News, Subscription

__all__ = ["Entry", "Feed", "Frame", "Journal", "Snapshot"]

T = TypeVar("T")
_STORY_PAGE, _STORY_SIZE = 512, 1 << 20
_KEPT_PROGRESS = 4096
"""The items of a scope whose progress is kept; more would make every watcher's beginning long."""


class Journal(Protocol):
    """The database as the feed sees it."""

    @property
    def sequence(self) -> int:
        """Return the last durable sequence."""
        ...

    identity: str
    incarnation: int

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function on one snapshot."""
        ...


class Feed:
    """The news of one service; hand it to `Database.open`."""

    def __init__(
        self,
        service: str,
        *,
        keepalive: float = 15.0,
        ring: int = 1024,
        bounds: Bounds = BOUNDS,
        scope_of: Callable[[str, str], str] | None = None,
    ) -> None:
        """Make a feed that is not bound to a database yet.

        Args:
            service: the name that its tokens carry, as `jobs`.
            keepalive: seconds of silence after which a watcher is sent a KEEPALIVE.
            ring: how many of the last entries are kept in memory for watchers who come back at once.
            bounds: how much may be pending for one watcher.
            scope_of: from (topic, key) to the scope that a watcher may ask for, so that news finds the few watchers of
                one operation without asking the filters of all others.
        """
        self.service = service
        self.keepalive = keepalive
        self.head = 0
        self.closing = False
        self._journal: Journal | None = None
        self._incarnation = ""
        self.stem = TokenStem(service, "")
        self._token_of, self._token = 0, ""
        self._ring: deque[News] = deque(maxlen=ring)
        self._progress: dict[str, dict[tuple[str, str], News]] = {}
        self._progressed = 0
        self._bounds = bounds
        self._live: dict[str, set[Subscription]] = {}
        self._scoped: dict[str, set[Subscription]] = {}
        self._scope_of = scope_of
        self._watchers: set[Subscription] = set()
        self.pages = SnapshotPages()
        self.violated: Callable[[Invariant], None] | None = None
        """Is told of a broken invariant that is met here."""

    @property
    def lag(self) -> int:
        """Return by how many entries the slowest watcher is behind."""
        return max((watcher.lag(self.head) for watcher in self._watchers), default=0)

    @property
    def buffered(self) -> int:
        """Return about how many bytes wait for watchers or are being sent, counted for each of them."""
        return sum(watcher.buffered for watcher in self._watchers)

    @property
    def watchers(self) -> int:
        """Return how many watches are open."""
        return len(self._watchers)

    @property
    def journal(self) -> Journal:
        """Return the database that this feed is bound to."""
        if self._journal is None:
            raise InternalError(f"the feed {self.service} has no database")
        return self._journal

    def bind(self, journal: Journal) -> None:
        """Follow the database; it calls this when it opens."""
        self._journal = journal
        self._incarnation = f"{journal.incarnation}.{journal.identity}"
        self.stem = TokenStem(self.service, self._incarnation)
        self.head, self._token = journal.sequence, ""

    def point(self, sequence: int, snapshot: tuple[str, str] | None = None) -> ResumePoint:
        """Return the resume point at a sequence of this feed."""
        return ResumePoint(service=self.service, incarnation=self._incarnation, sequence=sequence, snapshot=snapshot)

    def token(self) -> str:
        """Return the resume token of now: everything that is committed later comes after it."""
        if self._token_of != self.head or not self._token:
            self._token_of, self._token = self.head, self.stem.at(self.head)
        return self._token

    def is_ours(self, point: ResumePoint) -> bool:
        """Return whether the point lies in the history that this database has."""
        return point.incarnation == self._incarnation and point.sequence <= self.journal.sequence

    def resume_point(self, resume_token: str) -> ResumePoint | None:
        """Return the point behind a token; None if the history that it lies in is not this database's.

        Raises:
            InvalidRequest: it is not a token of this service.
        """
        point = ResumePoint.parse(resume_token)
        if point.service != self.service:
            raise InvalidRequest.of("options.resume_token", f"must come from {self.service}, not {point.service}")
        return point if self.is_ours(point) else None

    def publish(self, entries: Sequence[Entry]) -> None:
        """Show what has just been committed; entries come in order and without a gap."""
        for entry in entries:
            if entry.sequence <= self.head:
                continue
            if entry.sequence != self.head + 1:
                if self.violated is not None:
                    self.violated(Invariant.FEED_ORDER)
                message = f"the feed {self.service} stands at {self.head} and was given {entry.sequence}"
                raise broken(Invariant.FEED_ORDER, message)
            news = News(entry, self.stem)
            self.head = entry.sequence
            self._ring.append(news)
            self._forget_progress(entry)
            self._offer(news)

    def publish_progress(self, topic: str, key: str, body: bytes) -> None:
        """Show a state that is not durable: its token is that of the last durable sequence, none resumes into it.

        The last one of each item is kept until its next durable change, for the watchers who were not live yet.
        """
        entry = Entry(sequence=self.head, topic=topic, key=key, body=body)
        news = News(entry, self.stem, progress=True)
        kept = self._progress.setdefault(self._scope(entry), {})
        kept.pop((topic, key), None)
        kept[topic, key] = news
        if len(kept) > _KEPT_PROGRESS:
            del kept[next(iter(kept))]
        self._progressed += 1
        if self._progressed % _KEPT_PROGRESS == 0:
            # So that whatever has changed since a page was read is still known, and told to who is shown the page.
            self.pages.forget()
        self._offer(news)

    def close(self) -> None:
        """Tell every watcher GOODBYE once it has been shown what is pending; no new one is taken."""
        self.closing = True
        for subscription in tuple(self._watchers):
            subscription.wake()

    def watch(
        self,
        topics: Collection[str],
        options: watch_pb2.WatchOptions,
        snapshot: Snapshot,
        matches: Matches | None = None,
        *,
        fold: bool = True,
        scope: str = "",
    ) -> AsyncGenerator[Frame, None]:
        """Return the frames for one watcher, one by one, until it leaves or the feed closes.

        Args:
            topics: what is watched; the snapshot shows them in alphabetical order.
            options: where to start.
            snapshot: reads the present items, see `Snapshot`.
            matches: the filter over (topic, key, body); an item that stops matching is REMOVED.
            fold: show a slow reader the last state of each item only; False for logs, whose every entry counts.
            scope: be told live news of this scope only; `matches` must let nothing else through.

        Raises:
            InvalidRequest: `options.resume_token` is not a token of this service.
            Unavailable: the feed is closing.
        """
        return one_by_one(self.watch_batches(topics, options, snapshot, matches, fold=fold, scope=scope))

    def watch_batches(
        self,
        topics: Collection[str],
        options: watch_pb2.WatchOptions,
        snapshot: Snapshot,
        matches: Matches | None = None,
        *,
        fold: bool = True,
        scope: str = "",
        doorbell: bool = False,
    ) -> AsyncGenerator[Sequence[Frame], None]:
        """Return what `watch` returns, with the frames together that are there together.

        A `doorbell` is told the last durable change only, whatever has changed: for who looks for themselves then.
        """
        from virtyard.runtime.watch import Watch

        if self.closing:
            raise Unavailable(f"{self.service} is closing", retry_after=1.0)
        if scope and self._scope_of is None:
            raise InternalError(f"the feed {self.service} has no scopes")
        subscription = Subscription(topics, matches, fold=fold, bounds=self._bounds, doorbell=doorbell)
        subscription.scope = scope
        return Watch(self, subscription, snapshot).batches(options)

    def join(self, subscription: Subscription) -> None:
        """Count a watcher, who is not told live news before `go_live`."""
        self._watchers.add(subscription)

    def go_live(self, subscription: Subscription) -> bool:
        """Hand over to the live news, first those since the watcher's position.

        Those are not folded, so that a watcher who comes back at once is told what it would have been told. Returns
        False, and does nothing, if the ring does not reach back to that position.
        """
        missing = self.head - subscription.position
        if missing > len(self._ring):
            return False
        index, places = self._places(subscription)
        for place in places:
            index.setdefault(place, set()).add(subscription)
        if missing > 0:
            for news in islice(self._ring, len(self._ring) - missing, None):
                if news.entry.topic in subscription.topics and self._in_scope(news.entry, subscription):
                    subscription.recall(news)
        self._offer_progress(subscription)
        subscription.live = True
        return True

    def leave_live(self, subscription: Subscription) -> None:
        """Stop telling the watcher live news."""
        subscription.live = False
        index, places = self._places(subscription)
        for place in places:
            watchers = index.get(place)
            if watchers is not None:
                watchers.discard(subscription)
                if not watchers:
                    del index[place]

    def leave(self, subscription: Subscription) -> None:
        """Forget the watcher."""
        self._watchers.discard(subscription)
        if not self._watchers:
            # Nobody is told any more what changes of what the pages show beside the states.
            self.pages.forget()
        self.leave_live(subscription)
        subscription.close()

    def _places(self, subscription: Subscription) -> tuple[dict[str, set[Subscription]], Collection[str]]:
        """Return the index in which a live subscription stands, and its places there."""
        if subscription.scope:
            return self._scoped, (subscription.scope,)
        return self._live, subscription.topics

    def _in_scope(self, entry: Entry, subscription: Subscription) -> bool:
        """Return whether the watcher may have asked for the entry, before its filter is asked."""
        return not subscription.scope or self._scope(entry) == subscription.scope

    def _scope(self, entry: Entry) -> str:
        """Return the scope that an entry belongs to; nothing where the feed has no scopes."""
        return "" if self._scope_of is None else self._scope_of(entry.topic, entry.key)

    def _offer_progress(self, subscription: Subscription) -> None:
        """Tell a watcher who has just gone live how far things are: it may have read their states before that."""
        scopes = (subscription.scope,) if subscription.scope else tuple(self._progress)
        for scope in scopes:
            kept = self._progress.get(scope, {})
            for item, news in kept.items():
                entry = news.entry
                if entry.topic not in subscription.topics:
                    continue
                if entry.sequence != self.head:
                    # Made once for all who go live now.
                    now = Entry(sequence=self.head, topic=entry.topic, key=entry.key, body=entry.body)
                    kept[item] = news = News(now, self.stem, progress=True)  # noqa: PLW2901 - the same news
                subscription.offer(news)

    def _forget_progress(self, entry: Entry) -> None:
        """Keep no progress of an item whose durable state is newer."""
        if not self._progress:
            return
        scope = self._scope(entry)
        kept = self._progress.get(scope)
        if kept is not None and kept.pop((entry.topic, entry.key), None) is not None and not kept:
            del self._progress[scope]

    def _offer(self, news: News) -> None:
        entry = news.entry
        for subscription in tuple(self._live.get(entry.topic, ())):
            subscription.offer(news)
        if self._scoped and self._scope_of is not None:
            for subscription in tuple(self._scoped.get(self._scope_of(entry.topic, entry.key), ())):
                if entry.topic in subscription.topics:
                    subscription.offer(news)

    async def story(
        self, resume_token: str, topics: Collection[str], wanted: Callable[[str], bool]
    ) -> list[Frame] | None:
        """Return the CHANGED and REMOVED frames after a token, up to now, of the items whose keys are wanted.

        Returns None if there is no token, or the journal does not reach back to it.

        Raises:
            InvalidRequest: it is not a token of this service.
        """
        if not resume_token:
            return None
        point = self.resume_point(resume_token)
        if point is None or point.snapshot is not None:
            return None
        frames, after, head = [], point.sequence, self.journal.sequence
        while after < head:
            page = await self.journal.read(functools.partial(_read_page, topics, after))
            if page.lost:
                return None
            news = [News(entry, self.stem) for entry in page.entries if wanted(entry.key)]
            frames += [one.frame(REMOVED if one.entry.removed else CHANGED) for one in news]
            after = page.reached
        return frames


def _read_page(topics: Collection[str], after: int, connection: sqlite3.Connection) -> JournalPage:
    return read_journal(connection, topics, after, _STORY_PAGE, _STORY_SIZE)
