"""The feed: a watcher that is cut anywhere resumes with no loss and no repeat, and nobody's slowness costs others."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.runtime.conftest import create_things, dropping, put, putting, snapshot
from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.kernel.errors import InternalError, InvalidRequest, Unavailable
from virtyard.runtime.database import Database, Transaction, raise_incarnation
from virtyard.runtime.entry import Entry, Frame
from virtyard.runtime.feed import Feed
from virtyard.runtime.resume_point import ResumePoint
from virtyard.runtime.subscription import Bounds, Matches

Shown = tuple[str, str, str]


def shown(frame: Frame) -> Shown:
    """Return (kind, key, body) as the tests compare it."""
    return FrameKind.Name(frame.kind).removeprefix("FRAME_KIND_"), frame.key, frame.body.decode()


class Reader:
    """One watcher, read frame by frame."""

    def __init__(
        self,
        feed: Feed,
        token: str = "",
        *,
        matches: Matches | None = None,
        fold: bool = True,
        skip_snapshot: bool = False,
        topics: tuple[str, ...] = ("a",),
        scope: str = "",
        mark_live: bool = False,
    ) -> None:
        """Begin to watch."""
        options = WatchOptions(resume_token=token, skip_snapshot=skip_snapshot, mark_live=mark_live)
        self._frames = feed.watch(topics, options, snapshot, matches, fold=fold, scope=scope)

    async def next(self) -> Frame:
        """Return the next frame, which must come within twenty seconds."""
        async with asyncio.timeout(20):
            return await anext(self._frames)

    async def take(self, count: int) -> list[Shown]:
        """Return the next frames."""
        return [shown(await self.next()) for _ in range(count)]

    async def until(self, kind: int) -> list[Frame]:
        """Return the frames up to and with the first of a kind."""
        frames = [await self.next()]
        while frames[-1].kind != kind:
            frames.append(await self.next())
        return frames

    async def close(self) -> None:
        """Leave."""
        await self._frames.aclose()


@pytest.fixture
async def things(database: Database) -> Database:
    """Return a database with five things in topic a, one of which was removed."""
    for key in ("k1", "k2", "k3", "k4", "k5"):
        await database.write(putting(key, "old"))
    await database.write(dropping("k4"))
    return database


async def test_fresh_watch_is_a_snapshot_a_bookmark_and_then_changes(things: Database, feed: Feed) -> None:
    """Items come in order of their keys, then the bookmark, then what is committed later."""
    reader = Reader(feed)
    assert await reader.take(5) == [
        ("SNAPSHOT", "k1", "old"),
        ("SNAPSHOT", "k2", "old"),
        ("SNAPSHOT", "k3", "old"),
        ("SNAPSHOT", "k5", "old"),
        ("BOOKMARK", "", ""),
    ]
    await things.write(putting("k1", "new"))
    await things.write(dropping("k2"))
    assert await reader.take(2) == [("CHANGED", "k1", "new"), ("REMOVED", "k2", "")]
    await reader.close()
    assert feed.watchers == 0


async def test_topics_are_shown_in_their_order_and_others_not_at_all(things: Database, feed: Feed) -> None:
    """A watch of two topics shows both; one of the other topic shows nothing of them."""
    await things.write(putting("z", "b", topic="b"))
    both = Reader(feed, topics=("b", "a"))
    assert [key for _, key, _ in await both.take(6)] == ["k1", "k2", "k3", "k5", "z", ""]
    other = Reader(feed, topics=("b",))
    assert await other.take(2) == [("SNAPSHOT", "z", "b"), ("BOOKMARK", "", "")]
    await things.write(putting("k1", "new"))
    await things.write(putting("z", "c", topic="b"))
    assert await other.take(1) == [("CHANGED", "z", "c")]
    await both.close()
    await other.close()


@pytest.mark.parametrize("folded", [True, False])
async def test_watch_cut_at_every_frame_resumes_with_the_exact_suffix(
    things: Database, feed: Feed, folded: bool
) -> None:
    """Resumed at the bookmark or any later frame, the rest is the same as without the cut, tokens too (R5)."""
    first = Reader(feed, fold=folded)
    frames = [(await first.until(FrameKind.FRAME_KIND_BOOKMARK))[-1]]
    for key, body in (("k1", "x"), ("k3", "y"), ("k6", "z"), ("k1", "w")):
        await things.write(putting(key, body))
        frames.append(await first.next())
    await things.write(dropping("k3"))
    frames.append(await first.next())
    await first.close()
    for cut, frame in enumerate(frames):
        again = Reader(feed, frame.token, fold=folded)
        assert [await again.next() for _ in frames[cut + 1 :]] == frames[cut + 1 :]
        await again.close()


async def test_watch_cut_inside_a_quiet_snapshot_resumes_with_the_exact_suffix(things: Database, feed: Feed) -> None:
    """As long as nothing changes, the resumed snapshot goes on behind the last key, with the same tokens."""
    whole = await Reader(feed).until(FrameKind.FRAME_KIND_BOOKMARK)
    for cut, frame in enumerate(whole[:-1]):
        rest = await Reader(feed, frame.token).until(FrameKind.FRAME_KIND_BOOKMARK)
        assert rest == whole[cut + 1 :]


async def test_watch_cut_inside_a_snapshot_loses_no_change(things: Database, feed: Feed) -> None:
    """What changed behind the cut is left out of the rest of the snapshot and comes as a change (P29)."""
    first = Reader(feed)
    cut = [await first.next(), await first.next()][-1]
    await first.close()
    await things.write(putting("k1", "new"))
    await things.write(putting("k3", "new"))
    await things.write(dropping("k5"))
    await things.write(putting("k9", "new"))
    assert await Reader(feed, cut.token).take(5) == [
        ("BOOKMARK", "", ""),
        ("CHANGED", "k1", "new"),
        ("CHANGED", "k3", "new"),
        ("REMOVED", "k5", ""),
        ("CHANGED", "k9", "new"),
    ]


def final(frames: list[Shown], view: dict[str, str]) -> dict[str, str]:
    """Apply frames to a client's view."""
    for kind, key, body in frames:
        if kind in {"SNAPSHOT", "CHANGED"}:
            view[key] = body
        elif kind == "REMOVED":
            view.pop(key, None)
        elif kind == "GAP":
            view.clear()
    return view


@pytest.mark.parametrize("seed", range(8))
async def test_client_that_is_cut_at_random_sees_what_is_stored(things: Database, feed: Feed, seed: int) -> None:
    """Random changes, random cuts, with and without a filter: the client's view ends as the filtered table."""
    chance = random.Random(seed)
    matches: Matches | None = None if seed % 2 else lambda topic, key, body: body[:1] in b"acegi"
    view: dict[str, str] = {}
    reader, token = Reader(feed, matches=matches), ""
    reading = asyncio.ensure_future(reader.next())
    for _ in range(400):
        key, what = f"k{chance.randrange(8)}", chance.random()
        if what < 0.5:
            await things.write(putting(key, chance.choice("abcdefghij")))
        elif what < 0.6:
            await things.write(dropping(key))
        elif what < 0.7:
            await things.read(lambda connection: None)
        elif what < 0.8:
            reading.cancel()
            await asyncio.wait({reading})
            await reader.close()
            reader = Reader(feed, token, matches=matches)
            reading = asyncio.ensure_future(reader.next())
        if reading.done():
            token = (await reading).token
            final([shown(await reading)], view)
            reading = asyncio.ensure_future(reader.next())
    await things.write(putting("end", "a"))
    while "end" not in view:
        final([shown(await reading)], view)
        reading = asyncio.ensure_future(reader.next())
    reading.cancel()
    await asyncio.wait({reading})
    stored = dict(await things.read(lambda connection: connection.execute("SELECT key, body FROM thing").fetchall()))
    wanted = {key: body.decode() for key, body in stored.items() if matches is None or matches("a", key, body)}
    assert view == wanted


async def test_filter_tells_removed_when_an_item_stops_matching(things: Database, feed: Feed) -> None:
    """An item that leaves the view is REMOVED once, without its body; one that never was in it is not mentioned."""
    reader = Reader(feed, matches=lambda topic, key, body: body == b"old")
    await reader.until(FrameKind.FRAME_KIND_BOOKMARK)
    await things.write(putting("k8", "unseen"))
    await things.write(putting("k1", "new"))
    await things.write(putting("k1", "newer"))
    await things.write(putting("k1", "old"))
    assert await reader.take(2) == [("REMOVED", "k1", ""), ("CHANGED", "k1", "old")]
    await reader.close()


async def test_filter_after_a_resume_knows_what_was_in_view(things: Database, feed: Feed) -> None:
    """The journal says whether an item was in the view before the cut; others are not mentioned."""

    def old(topic: str, key: str, body: bytes) -> bool:
        return body == b"old"

    await things.write(putting("k8", "unseen"))
    cut = (await Reader(feed, matches=old).until(FrameKind.FRAME_KIND_BOOKMARK))[-1]
    await things.write(putting("k8", "still unseen"))
    await things.write(putting("k9", "unseen"))
    await things.write(putting("k1", "new"))
    resumed = Reader(feed, cut.token, matches=old)
    assert await resumed.take(1) == [("REMOVED", "k1", "")]
    await things.write(putting("k8", "again"))
    await things.write(putting("k2", "new"))
    assert await resumed.take(1) == [("REMOVED", "k2", "")]
    await resumed.close()


async def test_what_was_removed_leaves_the_view_though_it_is_back_outside_of_it(things: Database, feed: Feed) -> None:
    """Both changes wait for a reader who came by a token: the later is none to it, and hides not the removal."""
    before = Reader(feed, matches=_is_old)
    token = (await before.until(FrameKind.FRAME_KIND_BOOKMARK))[-1].token
    await before.close()
    reader = Reader(feed, token, matches=_is_old, mark_live=True)
    await reader.until(FrameKind.FRAME_KIND_KEEPALIVE)
    await things.write(dropping("k1"))
    await things.write(putting("k1", "new"))
    await things.write(putting("k9", "old"))
    assert [(each.kind, each.key) for each in [await reader.next(), await reader.next()]] == [
        (FrameKind.FRAME_KIND_REMOVED, "k1"),
        (FrameKind.FRAME_KIND_CHANGED, "k9"),
    ]
    await reader.close()


def _is_old(_topic: str, _key: str, body: bytes) -> bool:
    return body == b"old"


async def test_nothing_is_shown_before_it_is_durable(tmp_path: Path, clock: FakeClock) -> None:
    """While COMMIT has not returned, no watcher is told."""
    feed, seen = Feed("things"), []

    def commit(connection: sqlite3.Connection) -> None:
        seen.append(feed.head)
        connection.execute("COMMIT")

    async with await Database.open(tmp_path / "d.db", None, feed, clock, commit_hook=commit) as database:
        await database.write(create_things)
        await database.write(putting("k", "x"))
        assert (seen[-1], feed.head) == (0, 1)


async def test_slow_reader_gets_the_last_state_and_bounded_memory(things: Database, feed: Feed) -> None:
    """Ten thousand changes of two items are two frames for a reader that was away, the last states in commit order."""
    reader = Reader(feed)
    await reader.until(FrameKind.FRAME_KIND_BOOKMARK)
    await things.write(putting("k1", "first"))
    assert await reader.take(1) == [("CHANGED", "k1", "first")]

    def many(transaction: Transaction) -> None:
        for number in range(5000):
            put(transaction, "k2", str(number))
            put(transaction, "k1", str(number))

    await things.write(many)
    assert await reader.take(2) == [("CHANGED", "k2", "4999"), ("CHANGED", "k1", "4999")]
    await reader.close()


async def test_slow_reader_of_logs_loses_no_entry(tmp_path: Path, clock: FakeClock) -> None:
    """A log reader that falls behind its limit is served from the journal: every entry, in order."""
    feed = Feed("things", bounds=Bounds(entries=8), ring=4)
    async with await Database.open(tmp_path / "l.db", None, feed, clock) as database:
        await database.write(create_things)
        reader = Reader(feed, fold=False)
        await reader.until(FrameKind.FRAME_KIND_BOOKMARK)
        await database.write(putting("log", "first"))
        waiting = asyncio.ensure_future(reader.next())
        assert shown(await waiting) == ("CHANGED", "log", "first")
        for number in range(100):
            await database.write(putting("log", str(number)))
        assert [body for _, _, body in await reader.take(100)] == [str(number) for number in range(100)]
        await reader.close()


async def test_progress_is_shown_but_nobody_resumes_into_it(things: Database, feed: Feed) -> None:
    """A progress frame carries the token of the last durable entry; a durable change replaces pending progress."""
    reader = Reader(feed)
    bookmark = (await reader.until(FrameKind.FRAME_KIND_BOOKMARK))[-1]
    waiting = asyncio.ensure_future(reader.next())
    await things.write(lambda transaction: None)
    feed.publish_progress("a", "k1", b"10 %")
    frame = await waiting
    assert shown(frame) == ("CHANGED", "k1", "10 %")
    assert frame.token == bookmark.token
    feed.publish_progress("a", "k1", b"20 %")
    feed.publish_progress("a", "k1", b"30 %")
    assert await reader.take(1) == [("CHANGED", "k1", "30 %")]
    feed.publish_progress("a", "k1", b"99 %")
    await things.write(putting("k1", "done"))
    assert await reader.take(1) == [("CHANGED", "k1", "done")]
    await reader.close()


async def test_progress_between_a_watchers_snapshot_and_its_live_news_is_not_lost(things: Database, feed: Feed) -> None:
    """What was shown before the watcher went live is shown to it then, unless a durable change came after it."""
    feed.publish_progress("a", "k1", b"10 %")
    feed.publish_progress("a", "k2", b"50 %")
    reader = Reader(feed)
    bookmark = (await reader.until(FrameKind.FRAME_KIND_BOOKMARK))[-1]
    feed.publish_progress("a", "k1", b"20 %")
    assert sorted(await reader.take(2)) == [("CHANGED", "k1", "20 %"), ("CHANGED", "k2", "50 %")]
    await reader.close()
    await things.write(putting("k1", "done"))
    later = Reader(feed, bookmark.token)
    assert await later.take(2) == [("CHANGED", "k1", "done"), ("CHANGED", "k2", "50 %")]
    await later.close()


async def test_token_above_the_head_or_of_another_incarnation_is_a_gap(tmp_path: Path, clock: FakeClock) -> None:
    """A history that this database does not have is a GAP, and a snapshot follows, also for the GAP's own token."""
    path = tmp_path / "things.db"
    feed = Feed("things")
    async with await Database.open(path, None, feed, clock) as database:
        await database.write(create_things)
        await database.write(putting("k", "x"))
        above = feed.point(99).token()
        known = feed.token()
        gap = Reader(feed, above)
        first = await gap.next()
        assert shown(first) == ("GAP", "", "")
        assert await gap.take(2) == [("SNAPSHOT", "k", "x"), ("BOOKMARK", "", "")]
        await gap.close()
        assert await Reader(feed, first.token).take(2) == [("SNAPSHOT", "k", "x"), ("BOOKMARK", "", "")]
    raise_incarnation(path)
    feed = Feed("things")
    async with await Database.open(path, None, feed, clock):
        assert await Reader(feed, known).take(1) == [("GAP", "", "")]


async def test_token_older_than_the_journal_is_a_gap(tmp_path: Path, clock: FakeClock) -> None:
    """When the entries after the token are forgotten, a GAP and a snapshot come instead of silence."""
    feed = Feed("things", ring=4)
    async with await Database.open(tmp_path / "g.db", None, feed, clock, journal_keep=8) as database:
        await database.write(create_things)
        await database.write(putting("k", "0"))
        token = feed.token()
        for number in range(1, 30):
            await database.write(putting("k", str(number)))
        reader = Reader(feed, token)
        assert await reader.take(3) == [("GAP", "", ""), ("SNAPSHOT", "k", "29"), ("BOOKMARK", "", "")]
        await reader.close()


async def test_resume_beyond_the_ring_is_served_from_the_journal(tmp_path: Path, clock: FakeClock) -> None:
    """A watcher that was away longer than the ring reaches gets every entry from the journal, then goes live."""
    feed = Feed("things", ring=4)
    async with await Database.open(tmp_path / "r.db", None, feed, clock) as database:
        await database.write(create_things)
        token = feed.token()
        for number in range(20):
            await database.write(putting(f"k{number:02}"))
        reader = Reader(feed, token)
        assert [key for _, key, _ in await reader.take(20)] == [f"k{number:02}" for number in range(20)]
        await database.write(putting("live"))
        assert await reader.take(1) == [("CHANGED", "live", "x")]
        await reader.close()


async def test_foreign_or_broken_token_is_refused_with_its_field(things: Database, feed: Feed) -> None:
    """Tokens of other services and other texts are INVALID_REQUEST on options.resume_token."""
    foreign = ResumePoint(service="locks", incarnation="1.x", sequence=1).token()
    for token in (foreign, "nonsense!", "bm9uc2Vuc2U", "WzEsMiwzXQ"):
        with pytest.raises(InvalidRequest) as refusal:
            await Reader(feed, token).next()
        assert refusal.value.violations[0].field == "options.resume_token"


async def test_skip_snapshot_starts_at_now(things: Database, feed: Feed) -> None:
    """Without the snapshot the bookmark gives the place, and later changes follow."""
    reader = Reader(feed, skip_snapshot=True)
    assert await reader.take(1) == [("BOOKMARK", "", "")]
    await things.write(putting("k1", "new"))
    assert await reader.take(1) == [("CHANGED", "k1", "new")]
    await reader.close()


@pytest.mark.parametrize("resumed", ["behind", "at the head", "not"])
async def test_who_asks_is_told_when_all_there_is_was_told(things: Database, feed: Feed, resumed: str) -> None:
    """One KEEPALIVE comes at once behind the last of it, so that silence means from then on that nothing happens."""
    behind = feed.token()
    await things.write(putting("k1", "new"))
    await things.write(dropping("k2"))
    token = {"behind": behind, "at the head": feed.token(), "not": ""}[resumed]
    reader = Reader(feed, token, mark_live=True)
    frames = await reader.until(FrameKind.FRAME_KIND_KEEPALIVE)
    told = {"behind": ["CHANGED", "REMOVED"], "at the head": [], "not": ["SNAPSHOT"] * 3 + ["BOOKMARK"]}
    assert [shown(frame)[0] for frame in frames[:-1]] == told[resumed]
    assert ResumePoint.parse(frames[-1].token).sequence == feed.head
    waiting = asyncio.ensure_future(reader.next())
    await things.write(putting("k3", "newest"))
    assert shown(await waiting) == ("CHANGED", "k3", "newest")
    await reader.close()


async def test_silent_stream_sends_keepalives_whose_token_moves_on(tmp_path: Path, clock: FakeClock) -> None:
    """After the interval without a frame a KEEPALIVE comes, with a token behind what was none of its business."""
    feed = Feed("things", keepalive=0.02)
    async with await Database.open(tmp_path / "s.db", None, feed, clock) as database:
        await database.write(create_things)
        reader = Reader(feed, topics=("b",))
        bookmark = (await reader.until(FrameKind.FRAME_KIND_BOOKMARK))[-1]
        await database.write(putting("k"))
        alive = await reader.next()
        assert shown(alive) == ("KEEPALIVE", "", "")
        assert (bookmark.sequence, alive.sequence) == (0, 1)
        assert ResumePoint.parse(alive.token).sequence == 1
        assert (await reader.next()).kind == FrameKind.FRAME_KIND_KEEPALIVE
        await reader.close()


async def test_close_shows_what_is_pending_and_says_goodbye(things: Database, feed: Feed) -> None:
    """On close a watcher gets what is pending, then GOODBYE with a token to go on from, then the end."""
    reader = Reader(feed)
    await reader.until(FrameKind.FRAME_KIND_BOOKMARK)
    waiting = asyncio.ensure_future(reader.next())
    await things.write(putting("k1", "new"))
    assert shown(await waiting) == ("CHANGED", "k1", "new")
    await things.write(putting("k2", "new"))
    feed.close()
    goodbye = [await reader.next(), await reader.next()]
    assert [shown(frame) for frame in goodbye] == [("CHANGED", "k2", "new"), ("GOODBYE", "", "")]
    assert ResumePoint.parse(goodbye[1].token).sequence == feed.head
    with pytest.raises(StopAsyncIteration):
        await reader.next()
    with pytest.raises(Unavailable):
        feed.watch(("a",), WatchOptions(), snapshot)


async def test_goodbye_inside_a_snapshot_carries_its_place(things: Database, feed: Feed) -> None:
    """A watcher whose service closes in the middle of its snapshot resumes there."""
    reader = Reader(feed)
    await reader.take(1)
    feed.close()
    frames = await reader.until(FrameKind.FRAME_KIND_GOODBYE)
    shown_before = ["k1", *(frame.key for frame in frames[:-1])]
    point = ResumePoint.parse(frames[-1].token)
    assert point.snapshot == ("a", shown_before[-1])


async def test_thousand_watchers_share_the_bytes(things: Database, feed: Feed) -> None:
    """A frame is built once for all who are told the same."""
    built = 0

    def build(frame: Frame) -> bytes:
        nonlocal built
        built += 1
        return frame.token.encode() + frame.body

    readers = [Reader(feed, skip_snapshot=True) for _ in range(1000)]
    await asyncio.gather(*(reader.next() for reader in readers))
    waiting = [asyncio.ensure_future(reader.next()) for reader in readers]
    await things.write(putting("k1", "new"))
    encoded = {id((await one).encoded(build)) for one in waiting}
    assert (built, len(encoded)) == (1, 1)
    for reader in readers:
        await reader.close()


async def test_unordered_snapshot_is_a_defect(things: Database, feed: Feed) -> None:
    """A service whose snapshot is not in order of its keys is told so, instead of losing items on resume."""

    def unordered(connection: sqlite3.Connection, topic: str, after: str, sequence: int) -> list[tuple[str, bytes]]:
        return [("b", b""), ("a", b"")]

    with pytest.raises(InternalError, match="order"):
        await anext(feed.watch(("a",), WatchOptions(), unordered))


async def test_feed_numbers_must_be_without_a_gap(things: Database, feed: Feed) -> None:
    """A feed that is given an entry too far ahead refuses it: nothing may be skipped silently."""
    with pytest.raises(InternalError, match="stands at"):
        feed.publish([Entry(sequence=feed.head + 2, topic="a", key="k", body=b"")])


async def test_scoped_watcher_is_asked_for_its_scope_only(tmp_path: Path, clock: FakeClock) -> None:
    """News of another scope does not even reach the filter, live or from the ring; the frames are the same."""
    feed = Feed("things", scope_of=lambda topic, key: key.partition("-")[0])
    asked: list[str] = []

    def matches(topic: str, key: str, body: bytes) -> bool:
        asked.append(key)
        return key.startswith("op1-")

    async with await Database.open(tmp_path / "s.db", None, feed, clock) as database:
        await database.write(create_things)
        reader = Reader(feed, matches=matches, scope="op1", skip_snapshot=True)
        token = (await reader.next()).token
        await database.write(putting("op1-1", "x"))
        await database.write(putting("op2-1", "x"))
        assert await reader.take(1) == [("CHANGED", "op1-1", "x")]
        await database.write(putting("op2-2", "x"))
        await database.write(putting("op1-2", "x"))
        assert await reader.take(1) == [("CHANGED", "op1-2", "x")]
        assert set(asked) == {"op1-1", "op1-2"}
        resumed = Reader(feed, token, matches=matches, scope="op1")
        assert await resumed.take(2) == [("CHANGED", "op1-1", "x"), ("CHANGED", "op1-2", "x")]
        await reader.close()
        await resumed.close()


async def test_scope_needs_a_feed_that_has_scopes(things: Database, feed: Feed) -> None:
    """A scoped watch of a feed without scopes would be silent for ever, and is refused."""
    with pytest.raises(InternalError, match="no scopes"):
        Reader(feed, scope="op1")


async def test_story_is_what_happened_since_a_token(things: Database, feed: Feed) -> None:
    """The story has every change after the token of the wanted keys, in order; without a usable token there is none."""
    token = feed.token()
    await things.write(putting("k1", "one"))
    await things.write(putting("k2", "other"))
    await things.write(putting("k1", "two"))
    await things.write(dropping("k1"))
    story = await feed.story(token, {"a"}, lambda key: key == "k1")
    assert story is not None
    assert [shown(frame) for frame in story] == [
        ("CHANGED", "k1", "one"),
        ("CHANGED", "k1", "two"),
        ("REMOVED", "k1", ""),
    ]
    assert await feed.story(feed.token(), {"a"}, lambda key: True) == []
    assert await feed.story("", {"a"}, lambda key: True) is None
    assert await feed.story(feed.point(99).token(), {"a"}, lambda key: True) is None


async def test_lag_is_that_of_the_slowest_watcher(feed: Feed, database: Database) -> None:
    """Proves that a watcher who does not read is seen in entries, beside one who does, and that reading ends it."""
    slow, quick = Reader(feed, skip_snapshot=True), Reader(feed, skip_snapshot=True)
    for reader in (slow, quick):
        await reader.next()
    await database.write(putting("first"))
    for reader in (slow, quick):
        assert (await reader.next()).key == "first"
    assert (feed.watchers, feed.lag) == (2, 0)
    for number in range(5):
        await database.write(putting(f"k{number}"))
    assert await quick.take(5)
    assert feed.lag == 5
    await slow.take(5)
    assert feed.lag == 0


async def test_lag_counts_what_must_be_read_from_the_journal_again(tmp_path: Path, clock: FakeClock) -> None:
    """Proves that a reader of a log whose pending entries were dropped is behind by all of them, until it has read."""
    feed = Feed("things", bounds=Bounds(entries=2))
    async with await Database.open(tmp_path / "log.db", None, feed, clock) as database:
        await database.write(create_things)
        log = Reader(feed, skip_snapshot=True, fold=False)
        await log.next()
        await database.write(putting("first"))
        await log.next()
        for number in range(7):
            await database.write(putting(f"k{number}"))
        assert feed.lag == 7
        assert [key for _, key, _ in await log.take(7)] == [f"k{number}" for number in range(7)]
        assert feed.lag == 0


async def test_a_watcher_within_its_snapshot_is_not_behind(feed: Feed, database: Database) -> None:
    """Proves that a new watcher of a long history raises no alarm."""
    for number in range(3):
        await database.write(putting(f"k{number}"))
    reader = Reader(feed)
    assert (await reader.next()).kind == FrameKind.FRAME_KIND_SNAPSHOT
    assert (feed.watchers, feed.lag) == (1, 0)
