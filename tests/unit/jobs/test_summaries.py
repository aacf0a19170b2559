"""The counters of jobs that match a filter, on a real database: right after every change, and read once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from typing_extensions import override

from tests.fakes.clock import FakeClock
from tests.unit.jobs.plans import failed, job, operation_of, shape_of
from virtyard.api.jobs.v1 import job_service_pb2 as pb
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs import schedule
from virtyard.jobs.archive import archive, read_leaving
from virtyard.jobs.job_rows import JobRow, Narrow
from virtyard.jobs.listing import list_jobs
from virtyard.jobs.model import Operation
from virtyard.jobs.store import JobStore
from virtyard.jobs.summaries import JobSummaries
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.plan import pack
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed

SHAPE = shape_of(job(1, "inventory"), job(2, "inventory", after=[1]))
FILTERS = (
    'object = "servers/o1"',
    "state = JOB_STATE_RUNNING",
    'operation = "operations/1"',
    'title = "Job 2" OR state = JOB_STATE_FAILED',
    'object = "servers/none"',
    "archived = true",
)
JOURNAL = 64


class CountedStore(JobStore):
    """A store that counts how often rows of jobs were read."""

    reads = 0

    @override
    async def jobs_after(self, number: int, job: int, limit: int, narrow: Narrow | None = None) -> list[JobRow]:
        """Count, and read."""
        self.reads += 1
        return await super().jobs_after(number, job, limit, narrow)


class Jobs:
    """A store with its feed, and what is asked of them."""

    def __init__(self, feed: Feed, database: Database) -> None:
        """Begin with no job."""
        self.feed = feed
        self.store = CountedStore(database)
        self.summaries = JobSummaries(feed, self.store)

    async def add(self) -> Operation:
        """Store two jobs more."""
        operation = operation_of(SHAPE, number=0)
        operation.request.CopyFrom(pack(kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/a")))
        return await self.store.insert(operation, "")

    async def save(self, operation: Operation, *jobs: str) -> None:
        """Store what became of jobs."""
        await self.store.save(operation, jobs, "jobs.test", after=lambda: None)

    async def listed(self, matching: str) -> int:
        """Return how many live jobs the list has that match."""
        answer = await list_jobs(self.store, pb.ListJobsRequest(filter=f"({matching}) AND archived = false"))
        return len(answer.jobs)

    def frames(self, matching: str, token: str = "") -> AsyncGenerator[pb.WatchJobSummaryResponse, None]:
        """Watch the counters of the jobs that match."""
        options = watch_pb2.WatchOptions(resume_token=token)
        messages = self.summaries.messages(options, matching)

        async def read() -> AsyncGenerator[pb.WatchJobSummaryResponse, None]:
            async with aclosing(messages):
                async for raw in messages:
                    yield pb.WatchJobSummaryResponse.FromString(raw)

        return read()


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Jobs]:
    """Open a store on an empty database, with a short journal."""
    feed, path = Feed("jobs"), tmp_path / "jobs.db"
    opening = Database.open(path, "virtyard.jobs.migrations", feed, FakeClock(), journal_keep=JOURNAL)
    async with await opening as database:
        yield Jobs(feed, database)


async def take(frames: AsyncGenerator[pb.WatchJobSummaryResponse, None]) -> operation_pb2.JobSummary:
    """Return the counters of the next frame that has some."""
    async with asyncio.timeout(20):
        while True:
            frame = await anext(frames)
            if frame.HasField("summary"):
                return frame.summary


async def test_counters_are_those_of_the_list_after_every_change(jobs: Jobs) -> None:
    """Proves that who watches, and who asks, is told what a list would: new, changed, failed and archived jobs."""
    watches = {matching: jobs.frames(matching) for matching in FILTERS}
    shown = {matching: await take(frames) for matching, frames in watches.items()}
    assert {summary.total for summary in shown.values()} == {0}

    async def all_told() -> None:
        for matching, frames in watches.items():
            now = await jobs.summaries.now(matching)
            assert now.total == await jobs.listed(matching), matching
            assert now == await JobSummaries(jobs.feed, jobs.store).now(matching), matching
            while shown[matching] != now:
                shown[matching] = await take(frames)

    first, _ = await jobs.add(), await jobs.add()
    await all_told()
    assert [shown[matching].total for matching in FILTERS] == [2, 0, 2, 2, 0, 0]
    schedule.advance(SHAPE, first.record)
    await jobs.save(first, "1", "2")
    await all_told()
    assert [shown[matching].in_progress for matching in FILTERS] == [1, 2, 2, 1, 0, 0]
    failed(first.record, "1/1")
    first.record.state = operation_pb2.OPERATION_STATE_FAILED
    first.record.end_time.FromSeconds(1)
    await jobs.save(first, "1", "2")
    await all_told()
    leaving = await jobs.store.database.read(lambda sql: read_leaving(sql, 10.0, 0, 10))
    await jobs.store.database.write(lambda sql: archive(sql, leaving))
    await all_told()
    assert [shown[matching].total for matching in FILTERS] == [1, 0, 0, 1, 0, 0]
    for frames in watches.values():
        await frames.aclose()


async def test_jobs_are_read_once_for_all_who_watch_and_again_if_the_journal_is_lost(jobs: Jobs) -> None:
    """Proves that a change costs its own entry and no row, and that a count that was left behind is right again."""
    matching = 'object = "servers/o1"'
    watches = [jobs.frames(matching) for _ in range(20)]
    await jobs.add()
    for frames in watches:
        assert (await take(frames)).total == 1
    before = jobs.store.reads
    assert before == 1
    await jobs.add()
    for frames in watches:
        assert (await take(frames)).total == 2
    assert (await jobs.summaries.now(matching)).total == 2
    assert jobs.store.reads == before
    for _ in range(2 * JOURNAL):
        await jobs.add()
    assert (await jobs.summaries.now(matching)).total == 2 + 2 * JOURNAL
    assert jobs.store.reads > before
    for frames in watches:
        await frames.aclose()
    del frames, watches
    gc.collect()
    before = jobs.store.reads
    await jobs.summaries.now(matching)
    assert jobs.store.reads > before, "the count outlived the last of its watchers"


async def test_a_token_says_which_counters_were_seen(jobs: Jobs) -> None:
    """Proves that who comes back by the same filter is told what differs, and nothing else."""
    matching = 'object = "servers/o1"'
    await jobs.add()
    frames = jobs.frames(matching)
    async with asyncio.timeout(20):
        bookmark = (await anext(frames), await anext(frames))[1]
    waiting, later = jobs.frames(matching, bookmark.resume_token), jobs.frames(matching, bookmark.resume_token)
    told = asyncio.ensure_future(take(waiting))
    await jobs.add()
    assert (await told).total == 2
    assert (await take(later)).total == 2
    for each in (frames, waiting, later):
        await each.aclose()


async def test_no_filter_counts_all_and_a_bad_one_is_refused(jobs: Jobs) -> None:
    """Proves that blanks are no filter and read no job, and that a wrong filter names the field `filter`."""
    await jobs.add()
    assert (await jobs.summaries.now(" ")).total == 2
    frames = jobs.frames(" ")
    assert (await take(frames)).total == 2
    await frames.aclose()
    assert jobs.store.reads == 0
    with pytest.raises(InvalidRequest) as refused:
        await jobs.summaries.now("colour = 1")
    assert refused.value.violations[0].field == "filter"
    with pytest.raises(InvalidRequest):
        jobs.frames("colour = 1")
