"""Snapshot pages: a crowd of watchers costs one reading, and each of them is told what it would be told alone."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.runtime.conftest import create_things, dropping, put, putting, snapshot
from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.runtime import journal_reader
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.entry import Frame
from virtyard.runtime.feed import Feed
from virtyard.runtime.snapshot_pages import SnapshotPages
from virtyard.runtime.subscription import Matches

BOOKMARK = FrameKind.FRAME_KIND_BOOKMARK
_THINGS = 40


class Counted:
    """A snapshot whose readings are counted, and can be stopped within."""

    def __init__(self) -> None:
        """Let every reading pass."""
        self.readings = 0
        self.passing = threading.Event()
        self.passing.set()

    def __call__(
        self, connection: sqlite3.Connection, topic: str, after_key: str, sequence: int
    ) -> Iterator[tuple[str, bytes]]:
        """Read two things."""
        self.readings += 1
        assert self.passing.wait(20)
        yield from snapshot(connection, topic, after_key, sequence)


@pytest.fixture
async def things(database: Database) -> Database:
    """Return a database with things."""

    def many(transaction: Transaction) -> None:
        for number in range(_THINGS):
            put(transaction, f"k{number:02}", "old")

    await database.write(many)
    return database


@pytest.fixture
async def first(things: Database, feed: Feed) -> AsyncIterator[None]:
    """Have somebody watch all the time, so that the pages are kept."""
    del things
    frames = watch(feed, skip_snapshot=True)
    await anext(frames)
    yield
    await frames.aclose()


def watch(
    feed: Feed,
    source: journal_reader.Snapshot = snapshot,
    *,
    token: str = "",
    matches: Matches | None = None,
    skip_snapshot: bool = False,
) -> AsyncGenerator[Frame, None]:
    """Begin to watch."""
    return feed.watch(["a"], WatchOptions(resume_token=token, skip_snapshot=skip_snapshot), source, matches)


async def view_of(frames: AsyncIterator[Frame]) -> dict[str, str]:
    """Read up to the bookmark and return what is there then."""
    view: dict[str, str] = {}
    async for frame in frames:
        follow(frame, view)
        if frame.kind == BOOKMARK:
            break
    return view


async def stored(database: Database) -> dict[str, str]:
    """Return what is stored."""
    rows = await database.read(lambda connection: connection.execute("SELECT key, body FROM thing").fetchall())
    return {key: body.decode() for key, body in rows}


async def test_a_crowd_is_read_once_and_its_frames_are_built_once(things: Database, feed: Feed, first: None) -> None:
    """Proves that what hundreds of watchers begin with costs one reading, though things change while they read it."""
    source, built = Counted(), 0
    feed.pages = SnapshotPages(kept_for=3600)

    def build(frame: Frame) -> bytes:
        nonlocal built
        built += 1
        return frame.token.encode() + frame.body

    async def read(changes: bool) -> tuple[bytes, ...]:
        seen: list[bytes] = []
        async for frame in watch(feed, source):
            if changes and len(seen) % 4 == 0:
                await things.write(putting("k00", str(len(seen))))
            if frame.kind == BOOKMARK:
                return tuple(seen)
            seen.append(frame.encoded(build))
        raise AssertionError("the watch has ended")

    source.passing.clear()
    reading = [asyncio.ensure_future(read(number == 0)) for number in range(300)]
    await met(lambda: feed.watchers == 301)
    source.passing.set()
    # Whose request came after a reading had begun is not shown that one, for it may be older: so there may be two.
    assert len(set(await asyncio.gather(*reading))) <= 2
    assert source.readings <= 2 * (_THINGS // 2 + 1)
    assert built <= 2 * _THINGS
    feed.pages.forget()


async def test_nobody_begins_with_what_is_older_than_the_request(things: Database, feed: Feed, first: None) -> None:
    """Proves that a page which is kept, or is just being read, is not shown to who asks after a change of it."""
    source = Counted()
    assert (await view_of(watch(feed, source)))["k01"] == "old"
    assert feed.pages.kept
    await things.write(putting("k01", "new"))
    assert (await view_of(watch(feed, source)))["k01"] == "new"
    await things.write(putting("k01", "newer"))
    source.passing.clear()
    begun = source.readings
    early = asyncio.ensure_future(view_of(watch(feed, source)))
    await met(lambda: source.readings > begun)
    await things.write(putting("k01", "newest"))
    late = asyncio.ensure_future(view_of(watch(feed, source)))
    await met(lambda: feed.watchers == 3)
    source.passing.set()
    assert (await late)["k01"] == "newest"
    await early


async def test_what_is_kept_is_bounded_and_soon_forgotten(things: Database, feed: Feed, first: None) -> None:
    """Proves that pages are dropped beyond a size, after a while, and when nobody watches; what is told stays right."""
    feed.pages = SnapshotPages(size=3000)
    whole = await stored(things)
    for _ in range(2):
        assert await view_of(watch(feed)) == whole
        assert 0 < feed.pages.kept <= 3000
    feed.pages.forget()
    feed.pages = SnapshotPages(kept_for=0.01)
    assert await view_of(watch(feed)) == whole
    await met(lambda: not feed.pages.kept)
    feed.pages = SnapshotPages()
    source = Counted()
    for _ in range(2):
        assert await view_of(watch(feed, source)) == whole
    assert (source.readings, feed.pages.kept > 0) == (_THINGS // 2 + 1, True)


async def test_nothing_is_kept_when_nobody_watches(things: Database, feed: Feed) -> None:
    """Proves that the last watcher who leaves takes the pages with it: nobody is told then what they show wrongly."""
    frames = watch(feed)
    assert await view_of(frames) == await stored(things)
    assert feed.pages.kept
    await frames.aclose()
    assert not feed.pages.kept


async def test_progress_that_is_forgotten_takes_the_pages_with_it(things: Database, feed: Feed, first: None) -> None:
    """Proves that a page is not kept for longer than what is known of the activity since: it may show an older one."""
    await view_of(watch(feed))
    for number in range(4096):
        assert feed.pages.kept
        feed.publish_progress("a", f"k{number:05}", b"locked")
    assert not feed.pages.kept


async def test_progress_is_made_once_for_all_who_begin(things: Database, feed: Feed, first: None) -> None:
    """Proves that what is no state, and is told behind the snapshot, is one frame for all who read at the same time."""
    feed.publish_progress("a", "k01", b"locked")
    await things.write(putting("k02"))

    async def told() -> Frame:
        async for frame in watch(feed):
            if frame.body == b"locked":
                return frame
        raise AssertionError("the watch has ended")

    assert len({id(frame) for frame in await asyncio.gather(told(), told(), told())}) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_a_crowd_that_is_cut_at_random_sees_what_is_stored(tmp_path: Path, clock: FakeClock, seed: int) -> None:
    """Proves for pages that are shared, dropped and read again, for filters and for cuts: nothing is lost (R5)."""
    chance = random.Random(seed)
    feed = Feed("things", ring=16)
    feed.pages = SnapshotPages(size=chance.choice((2000, 1 << 20)))
    async with await Database.open(
        tmp_path / "things.db", None, feed, clock, journal_keep=chance.choice((60, 10_000))
    ) as database:
        await database.write(create_things)

        async def read(own: random.Random) -> None:
            matches: Matches | None = None if own.random() < 0.5 else lambda _topic, _key, body: body[:1] in b"aceg"
            view: dict[str, str] = {}
            token = ""
            told_all = False
            while not told_all:
                frames = watch(feed, token=token, matches=matches)
                left = own.randrange(1, 40)
                async for frame in frames:
                    follow(frame, view)
                    token, left = frame.token, left - 1
                    # A page read late shows it beside older ones, in the snapshot of a sequence at which it was not.
                    told_all = "z" in view and frame.sequence == feed.journal.sequence
                    if not left or told_all:
                        break
                    await asyncio.sleep(0)
                await frames.aclose()
            wanted = await stored(database)
            assert view == {
                key: body for key, body in wanted.items() if matches is None or matches("a", key, body.encode())
            }

        readers: list[asyncio.Task[None]] = []
        for turn in range(120):
            if turn % 10 == 0:
                readers += [asyncio.create_task(read(random.Random(seed * 1000 + turn + each))) for each in range(4)]
            key = f"k{chance.randrange(12):02}"
            await database.write(putting(key, chance.choice("abcdefgh")) if chance.random() < 0.8 else dropping(key))
        # Behind all others by its key as well: after a GAP it comes in the snapshot.
        await database.write(putting("z", "a"))
        await asyncio.gather(*readers)


def follow(frame: Frame, view: dict[str, str]) -> None:
    """Apply a frame to what a client knows."""
    if frame.kind == FrameKind.FRAME_KIND_GAP:
        view.clear()
    elif frame.body:
        view[frame.key] = frame.body.decode()
    elif frame.key:
        view.pop(frame.key, None)


async def met(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)
