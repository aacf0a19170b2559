"""The watch over the counters: counted once for all, told when they differ, and the same wherever it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.api.jobs.v1 import job_service_pb2 as pb
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs.summary_watch import SummaryWatch
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.job_states import JobState
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.feed import Feed
from virtyard.runtime.resume_point import ResumePoint

SNAPSHOT = watch_pb2.FRAME_KIND_SNAPSHOT
BOOKMARK = watch_pb2.FRAME_KIND_BOOKMARK
CHANGED = watch_pb2.FRAME_KIND_CHANGED
KEEPALIVE = watch_pb2.FRAME_KIND_KEEPALIVE
GAP = watch_pb2.FRAME_KIND_GAP
GOODBYE = watch_pb2.FRAME_KIND_GOODBYE


class Jobs:
    """A table of jobs with its feed, and how often it was counted."""

    def __init__(self, feed: Feed, database: Database) -> None:
        """Begin with no job."""
        self.feed, self.database = feed, database
        self.counted = 0
        self.watch = SummaryWatch(feed, self.count)

    async def add(self, name: str, state: JobState = JobState.PENDING) -> None:
        """Store a job in a state."""

        def put(transaction: Transaction) -> None:
            transaction.execute("INSERT OR REPLACE INTO one VALUES (?, ?)", (name, int(state)))
            transaction.append("job", name, b"state")

        await self.database.write(put)

    async def count(self) -> tuple[int, dict[int, int]]:
        """Count as the store does."""
        self.counted += 1
        return await self.database.read(
            lambda connection: (
                connection.execute("SELECT sequence FROM feed").fetchone()[0],
                dict(connection.execute("SELECT state, count(*) FROM one GROUP BY state").fetchall()),
            )
        )

    def frames(
        self, token: str = "", *, batch: bool = False, skip: bool = False
    ) -> AsyncGenerator[pb.WatchJobSummaryResponse, None]:
        """Watch from a token."""
        options = watch_pb2.WatchOptions(resume_token=token, batch=batch, skip_snapshot=skip)

        async def read() -> AsyncGenerator[pb.WatchJobSummaryResponse, None]:
            async for raw in self.watch.messages(options):
                yield pb.WatchJobSummaryResponse.FromString(raw)

        return read()


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Jobs]:
    """Return a table with one job."""
    feed = Feed("jobs", keepalive=30.0)
    async with await Database.open(tmp_path / "jobs.db", None, feed, FakeClock()) as database:
        await database.write(lambda sql: sql.execute("CREATE TABLE one (name TEXT PRIMARY KEY, state INTEGER)").close())
        found = Jobs(feed, database)
        await found.add("jobs/1-1")
        yield found


async def take(
    frames: AsyncGenerator[pb.WatchJobSummaryResponse, None], count: int
) -> list[pb.WatchJobSummaryResponse]:
    """Return the next frames, each within twenty seconds."""
    found = []
    for _ in range(count):
        async with asyncio.timeout(20):
            found.append(await anext(frames))
    return found


def told(frame: pb.WatchJobSummaryResponse) -> tuple[int, int, int]:
    """Return (kind, total, complete)."""
    return frame.kind, frame.summary.total, frame.summary.complete


async def test_it_is_the_same_wherever_it_is_cut(jobs: Jobs) -> None:
    """Proves that each token says which counters were seen: what follows is the rest, or the present ones at once."""
    frames = jobs.frames()
    seen = await take(frames, 2)
    assert [told(frame) for frame in seen] == [(SNAPSHOT, 1, 0), (BOOKMARK, 0, 0)]
    for cut, rest in ((seen[0], seen[1:]), (seen[1], [])):
        again = jobs.frames(cut.resume_token)
        assert await take(again, len(rest)) == rest
        reading = asyncio.ensure_future(anext(again))
        await jobs.add("jobs/1-1")
        await jobs.database.read(lambda connection: None)
        assert not reading.done(), "a change that leaves the counters as they are was told"
        reading.cancel()
        await asyncio.wait({reading})
    await jobs.add("jobs/1-1", JobState.COMPLETED)
    seen += await take(frames, 1)
    assert told(seen[-1]) == (CHANGED, 1, 1)
    # Cut before the bookmark and resumed after a change: the bookmark does not claim what was not told.
    rest = await take(jobs.frames(seen[0].resume_token), 2)
    assert [told(frame) for frame in rest] == [(BOOKMARK, 0, 0), (CHANGED, 1, 1)]
    for token in (rest[0].resume_token, seen[1].resume_token):
        assert [told(frame) for frame in await take(jobs.frames(token), 1)] == [(CHANGED, 1, 1)]
    # The token of another watch of the service says nothing of counters.
    assert [told(frame) for frame in await take(jobs.frames(jobs.feed.token()), 1)] == [(CHANGED, 1, 1)]
    (bookmark,) = await take(jobs.frames(skip=True), 1)
    assert bookmark.kind == BOOKMARK


async def test_other_history_is_a_gap_and_no_token_is_refused(jobs: Jobs) -> None:
    """Proves that a database that never was, and a place that is not yet, give GAP with a snapshot, cut there too."""
    for token in (
        ResumePoint(service="jobs", incarnation="9.other", sequence=1).token(),
        jobs.feed.point(jobs.feed.head + 1).token(),
    ):
        seen = await take(jobs.frames(token), 3)
        assert [frame.kind for frame in seen] == [GAP, SNAPSHOT, BOOKMARK]
        again = await take(jobs.frames(seen[0].resume_token), 2)
        assert again == seen[1:]
    for token in ("nonsense", ResumePoint(service="locks", incarnation="1.x", sequence=1).token()):
        with pytest.raises(InvalidRequest):
            await take(jobs.frames(token), 1)


async def test_counting_is_shared_and_progress_costs_nothing(jobs: Jobs) -> None:
    """Proves that a thousand watchers cost one look at each change, the bytes are made once, and progress none."""
    watches = [jobs.watch.messages(watch_pb2.WatchOptions(skip_snapshot=True)) for _ in range(1000)]
    for watch in watches:
        await anext(watch)
    assert jobs.counted == 1
    readings = [asyncio.ensure_future(anext(watch)) for watch in watches]
    for _ in range(5):
        jobs.feed.publish_progress("job", "jobs/1-1", b"progress")
        await jobs.database.read(lambda connection: None)
    assert jobs.counted == 1
    await jobs.add("jobs/2-1")
    async with asyncio.timeout(20):
        made = [await reading for reading in readings]
    assert jobs.counted == 2
    assert len({id(raw) for raw in made}) == 1
    for watch in watches:
        await watch.aclose()


async def test_it_is_kept_alive_and_told_when_the_service_closes(tmp_path: Path) -> None:
    """Proves that KEEPALIVE and GOODBYE come, with tokens from which nothing that is known is told again."""
    feed = Feed("jobs", keepalive=0.02)
    async with await Database.open(tmp_path / "jobs.db", None, feed, FakeClock()) as database:
        await database.write(lambda sql: sql.execute("CREATE TABLE one (name TEXT PRIMARY KEY, state INTEGER)").close())
        jobs = Jobs(feed, database)
        await jobs.add("jobs/1-1")
        frames = jobs.frames(batch=True)
        (first,) = await take(frames, 1)
        assert [first.kind, *(frame.kind for frame in first.further)] == [SNAPSHOT, BOOKMARK]
        (alive,) = await take(frames, 1)
        assert alive.kind == KEEPALIVE
        (again,) = await take(jobs.frames(alive.resume_token), 1)
        assert again.kind == KEEPALIVE
        feed.close()
        kinds = [frame.kind async for frame in frames]
        assert kinds[-1] == GOODBYE
        assert set(kinds[:-1]) <= {KEEPALIVE}
