"""Slow readers: what waits for one of them is bounded, nobody else is slowed, and each is shown the last states."""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.runtime.conftest import create_things, drop, put, putting, snapshot
from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.entry import Frame
from virtyard.runtime.feed import Feed
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.resume_point import ResumePoint
from virtyard.runtime.subscription import Bounds, Matches, News

GAP = FrameKind.FRAME_KIND_GAP
BOOKMARK = FrameKind.FRAME_KIND_BOOKMARK
CHANGED = FrameKind.FRAME_KIND_CHANGED
REMOVED = FrameKind.FRAME_KIND_REMOVED
SNAPSHOT = FrameKind.FRAME_KIND_SNAPSHOT


class Reader:
    """One watcher that takes batches when it is told to."""

    def __init__(self, feed: Feed, token: str = "", *, matches: Matches | None = None, doorbell: bool = False) -> None:
        """Begin to watch; nothing is read yet."""
        options = WatchOptions(resume_token=token, skip_snapshot=doorbell)
        self._batches = feed.watch_batches(("a",), options, snapshot, matches, doorbell=doorbell)

    async def batch(self) -> Sequence[Frame]:
        """Return the next frames."""
        async with asyncio.timeout(5):
            return await anext(self._batches)

    async def until(self, kind: int) -> list[Frame]:
        """Return the frames up to the batch with the first of a kind."""
        frames = list(await self.batch())
        while frames[-1].kind != kind:
            frames += await self.batch()
        return frames

    async def go_live(self, database: Database) -> None:
        """Read the snapshot, and one change, so that what is committed later is told live."""
        await self.until(BOOKMARK)
        waiting = asyncio.ensure_future(self.batch())
        await database.write(putting("live", str(database.sequence)))
        assert [frame.key for frame in await waiting] == ["live"]

    async def close(self) -> None:
        """Leave."""
        await self._batches.aclose()


@asynccontextmanager
async def opened(
    folder: Path, *, bounds: Bounds, ring: int = 8, keep: int = 100_000
) -> AsyncIterator[tuple[Feed, Database]]:
    """Open a database with things and a feed within these bounds."""
    feed = Feed("things", bounds=bounds, ring=ring)
    async with await Database.open(folder / "things.db", None, feed, FakeClock(), journal_keep=keep) as database:
        await database.write(create_things)
        yield feed, database


async def put_all(database: Database, first: int, count: int, size: int = 1) -> None:
    """Commit so many new things, a hundred with each commit."""
    for begin in range(first, first + count, 100):
        numbers = range(begin, min(begin + 100, first + count))

        def many(transaction: Transaction, numbers: range = numbers) -> None:
            for number in numbers:
                put(transaction, f"k{number:05}", str(number) * size)

        await database.write(many)


async def stored(database: Database) -> dict[str, str]:
    """Return what is stored."""
    rows = await database.read(lambda connection: connection.execute("SELECT key, body FROM thing").fetchall())
    return {key: body.decode() for key, body in rows}


def follow(frames: Sequence[Frame], view: dict[str, str]) -> dict[str, str]:
    """Apply frames to what a client knows."""
    for frame in frames:
        if frame.kind in (SNAPSHOT, CHANGED):
            view[frame.key] = frame.body.decode()
        elif frame.kind == REMOVED:
            view.pop(frame.key, None)
        elif frame.kind == GAP:
            view.clear()
    return view


async def test_who_never_reads_keeps_nothing_waiting_and_is_shown_every_last_state_later(tmp_path: Path) -> None:
    """Proves that new things without end do not gather for a reader of states, and that none of them is lost to it."""
    async with opened(tmp_path, bounds=Bounds(items=50)) as (feed, database):
        reader = Reader(feed)
        await reader.go_live(database)
        (subscription,) = feed._watchers
        for turn in range(20):
            await put_all(database, 100 * turn, 100)
            assert subscription.pending <= 50
        assert (subscription.pending, feed.buffered) == (0, subscription.sending)
        view = {"live": "0"}
        while "k01999" not in view:
            batch = await reader.batch()
            assert {frame.kind for frame in batch} == {CHANGED}
            follow(batch, view)
        assert view == await stored(database)
        await reader.close()
        assert feed.buffered == 0


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("matches", [None, lambda _topic, key, _body: key[-1] != "0"], ids=["everything", "filtered"])
async def test_news_that_nobody_waits_for_is_gone_before_garbage_is_looked_for(
    tmp_path: Path, reads: bool, matches: Matches | None
) -> None:
    """Proves that news is no garbage in a circle: with a search only after 20,000 things, that was 9 MiB of it."""
    async with opened(tmp_path, bounds=Bounds(items=1500)) as (feed, database):
        reader = Reader(feed, matches=matches)
        await reader.go_live(database)
        gc.collect()
        gc.disable()
        try:
            for turn in range(20):
                await put_all(database, 100 * turn, 100)
                while reads and not (await reader.batch())[-1].key.endswith("99"):
                    pass
            there = sum(isinstance(one, News) for one in gc.get_objects())
        finally:
            gc.enable()
        # Those of the ring, and of a portion that is being handed out.
        assert 8 <= there <= 8 + 64
        await reader.close()


async def test_bytes_are_bounded_however_large_the_states_are(tmp_path: Path) -> None:
    """Proves that few large states count as many small ones do, that a larger one alone is told, and none is lost."""
    async with opened(tmp_path, bounds=Bounds(size=10_000)) as (feed, database):
        reader = Reader(feed)
        await reader.go_live(database)
        (subscription,) = feed._watchers
        most = 0
        for number in range(30):
            await database.write(putting(f"k{number}", "x" * 3000))
            most = max(most, subscription.buffered)
        assert 3000 < most <= 10_000 + 3000
        await database.write(putting("large", "y" * 50_000))
        view: dict[str, str] = {}
        while "large" not in view:
            follow(await reader.batch(), view)
        assert len(view) == 31
        await reader.close()


async def test_metrics_show_what_waits(tmp_path: Path) -> None:
    """Proves that a hanging reader is seen from outside, in bytes, until it has left."""
    metrics = Metrics()
    async with opened(tmp_path, bounds=Bounds()) as (feed, database):
        metrics.watch_feed(feed)
        readers = [Reader(feed) for _ in range(2)]
        for reader in readers:
            await reader.go_live(database)
        await database.write(putting("large", "x" * 5000))
        await metrics.look()
        assert metrics.feed_watchers.values["things",] == 2
        assert 10_000 < metrics.feed_buffered.values["things",] < 11_000
        for reader in readers:
            await reader.close()
        await metrics.look()
        assert metrics.feed_buffered.values["things",] == metrics.feed_watchers.values["things",] == 0


async def test_what_is_not_handed_out_yet_is_still_folded(tmp_path: Path) -> None:
    """Proves that a reader who stalls within a portion is told the last state only of all that is behind it."""
    async with opened(tmp_path, bounds=Bounds(portion=4)) as (feed, database):
        reader = Reader(feed)
        await reader.go_live(database)
        await put_all(database, 0, 12)
        assert [frame.key for frame in await reader.batch()] == [f"k{number:05}" for number in range(4)]
        for turn in range(50):
            for number in (3, 4, 11):
                await database.write(putting(f"k{number:05}", f"turn {turn}"))
        rest = [frame for _ in range(3) for frame in await reader.batch()]
        assert [(frame.key, frame.body.decode()) for frame in rest] == [
            *((f"k{number:05}", str(number)) for number in range(5, 11)),
            ("k00003", "turn 49"),
            ("k00004", "turn 49"),
            ("k00011", "turn 49"),
        ]
        assert feed.buffered == sum(len(frame.body) for frame in rest[-1:])
        await reader.close()


async def test_a_portion_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Proves that live news, pages of the journal and pages of a snapshot end where their bytes do."""
    async with opened(tmp_path, bounds=Bounds(portion_size=10_000)) as (feed, database):
        live = Reader(feed)
        await live.go_live(database)
        token = feed.token()
        for number in range(10):
            await database.write(putting(f"k{number}", "x" * 100_000))
        assert [len(await live.batch()) for _ in range(10)] == [1] * 10
        resumed, fresh = Reader(feed, token), Reader(feed)
        feed._ring.clear()
        for reader in (resumed, fresh):
            keys: list[str] = []
            while "k9" not in keys:
                batch = await reader.batch()
                assert sum(len(frame.body) for frame in batch) <= (256 << 10) + 100_000
                keys += [frame.key for frame in batch if frame.key.startswith("k")]
            assert keys == [f"k{number}" for number in range(10)]
            await reader.close()
        await live.close()


async def test_who_falls_behind_the_journal_is_told_a_gap_and_the_last_states(tmp_path: Path) -> None:
    """Proves that a reader of states who slept through the whole history begins anew, by itself, without a loss."""
    async with opened(tmp_path, bounds=Bounds(items=4), keep=16) as (feed, database):
        reader = Reader(feed)
        await reader.go_live(database)
        await put_all(database, 0, 2000)
        await database.write(lambda transaction: drop(transaction, "k00007"))
        await database.write(putting("last"))
        frames: list[Frame] = list(await reader.batch())
        assert frames[0].kind == GAP
        view = follow([*frames, *await reader.until(BOOKMARK)], {"k00007": "7"})
        assert view == await stored(database)
        await reader.close()


async def test_a_doorbell_holds_one_change_and_no_progress(tmp_path: Path) -> None:
    """Proves that who looks for themselves is woken once, however much has changed, and never by progress."""
    async with opened(tmp_path, bounds=Bounds()) as (feed, database):
        bell = Reader(feed, doorbell=True)
        await bell.batch()
        waiting = asyncio.ensure_future(bell.batch())
        await database.write(lambda transaction: None)
        feed.publish_progress("a", "k", b"10 %")
        await database.write(putting("first"))
        assert [frame.key for frame in await waiting] == ["first"]
        await put_all(database, 0, 300)
        feed.publish_progress("a", "k", b"20 %")
        (subscription,) = feed._watchers
        assert subscription.pending == 1
        assert [frame.key for frame in await bell.batch()] == ["k00299"]
        await bell.close()


async def test_a_filter_that_lets_much_through_keeps_little_of_it(tmp_path: Path) -> None:
    """Proves that what is known of things in view is bounded, and that each is told REMOVED once all the same."""

    def short(_topic: str, _key: str, body: bytes) -> bool:
        return len(body) < 4

    async with opened(tmp_path, bounds=Bounds(items=64)) as (feed, database):
        await put_all(database, 0, 300)
        reader = Reader(feed, matches=short)
        view = follow(await reader.until(BOOKMARK), {})
        assert len(view) == 300
        (subscription,) = feed._watchers
        assert len(subscription._shown) <= 64
        reading = asyncio.ensure_future(reader.batch())
        removed: list[str] = []
        for number in range(300):
            await database.write(putting(f"k{number:05}", "none of these"))
            await database.write(putting(f"k{number:05}", "none of these either"))
            while f"k{number:05}" not in removed:
                removed += [frame.key for frame in await reading if frame.kind == REMOVED]
                reading = asyncio.ensure_future(reader.batch())
        assert removed == sorted(view)
        assert len(subscription._shown) <= 64
        reading.cancel()
        await asyncio.wait({reading})


async def test_a_filter_keeps_little_of_what_it_has_shown(tmp_path: Path) -> None:
    """Proves that things which come and go leave nothing in memory, resumed or not, and many that stay not too much."""

    def even(_topic: str, _key: str, body: bytes) -> bool:
        return not int(body) % 2

    async with opened(tmp_path, bounds=Bounds(items=64)) as (feed, database):
        await put_all(database, 0, 10)
        token = feed.token()
        fresh, resumed = Reader(feed, matches=even), Reader(feed, token, matches=even)
        view = follow(await fresh.until(BOOKMARK), {})
        readings = [asyncio.ensure_future(reader.batch()) for reader in (fresh, resumed)]
        await database.write(lambda transaction: None)

        def many(transaction: Transaction) -> None:
            for number in range(1000):
                put(transaction, "coming", str(number))
                drop(transaction, "coming")

        await database.write(many)
        await put_all(database, 10, 200)
        assert all(len(subscription._shown) <= 64 for subscription in feed._watchers)
        for reader, reading in zip((fresh, resumed), readings, strict=True):
            known = dict(view)
            follow(await reading, known)
            while "k00208" not in known:
                follow(await reader.batch(), known)
            assert known == {
                key: body for key, body in (await stored(database)).items() if even("a", key, body.encode())
            }
            await reader.close()


@pytest.mark.parametrize("seed", range(12))
async def test_a_slow_client_that_is_cut_at_random_sees_what_is_stored(tmp_path: Path, seed: int) -> None:
    """Proves for tiny bounds, a short journal, filters and cuts that no last state is ever lost: R5 for the slow."""
    chance = random.Random(seed)
    matches: Matches | None = None if seed % 2 else lambda topic, key, body: body[:1] in b"acegi"
    bounds = Bounds(items=chance.choice((2, 5)), size=chance.choice((300, 10_000)), portion=chance.choice((1, 3)))
    keep, overflows = chance.choice((60, 10_000)), 0
    async with opened(tmp_path, bounds=bounds, ring=64, keep=keep) as (feed, database):
        view: dict[str, str] = {}
        reader, token = Reader(feed, matches=matches), ""
        reading = asyncio.ensure_future(reader.batch())

        def change(transaction: Transaction) -> None:
            for _ in range(chance.randrange(1, 9)):
                key = f"k{chance.randrange(12)}"
                if chance.random() < 0.8:
                    put(transaction, key, chance.choice("abcdefghij"))
                else:
                    drop(transaction, key)

        def read(frames: Sequence[Frame]) -> str:
            # As one who is cut within a message's batch: what is behind the cut must come again.
            kept = frames[: chance.randrange(1, len(frames) + 1)] if chance.random() < 0.3 else frames
            follow(kept, view)
            return kept[-1].token if len(kept) < len(frames) else ""

        for _ in range(300):
            what = chance.random()
            if what < 0.6:
                await database.write(change)
                overflows += any(subscription.overflowed for subscription in feed._watchers)
            elif reading.done():
                frames = await reading
                cut = read(frames)
                token = cut or frames[-1].token
                if cut or what > 0.95:
                    await reader.close()
                    reader = Reader(feed, token, matches=matches)
                reading = asyncio.ensure_future(reader.batch())
            else:
                await database.read(_nothing)
        # Behind all others by its key as well: after a GAP it comes in the snapshot.
        await database.write(putting("z", "a"))
        while "z" not in view:
            follow(await reading, view)
            reading = asyncio.ensure_future(reader.batch())
        reading.cancel()
        await asyncio.wait({reading})
        wanted = await stored(database)
        assert view == {
            key: body for key, body in wanted.items() if matches is None or matches("a", key, body.encode())
        }
        assert overflows > 10


def _nothing(_: sqlite3.Connection) -> None:
    """Read nothing: the watcher's own readings go on meanwhile."""


async def test_the_token_of_a_folded_frame_is_behind_all_that_was_shown(tmp_path: Path) -> None:
    """Proves that a slow reader may be cut after each of its frames: what follows from there is all that is missing."""
    async with opened(tmp_path, bounds=Bounds(portion=3)) as (feed, database):
        reader = Reader(feed)
        known = follow(await reader.until(BOOKMARK), {})
        waiting = asyncio.ensure_future(reader.batch())
        await database.write(putting("k1", "first"))
        frames = list(await waiting)
        for turn in range(40):
            await database.write(putting(f"k{turn % 7}", str(turn)))
        await database.write(lambda transaction: drop(transaction, "k3"))
        await database.write(putting("end"))
        while frames[-1].key != "end":
            frames += await reader.batch()
        assert len(frames) == 1 + 7 + 1
        sequences = [ResumePoint.parse(frame.token).sequence for frame in frames]
        assert sequences == sorted(sequences)
        for cut in range(1, len(frames)):
            view = follow(frames[:cut], dict(known))
            again = Reader(feed, frames[cut - 1].token)
            while "end" not in view:
                follow(await again.batch(), view)
            await again.close()
            assert view == await stored(database), cut
        await reader.close()
