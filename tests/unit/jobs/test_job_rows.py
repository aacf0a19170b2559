"""Lists of jobs on a real database: the order of people, along an index wherever a page begins, and true counters."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.jobs.plans import job, operation_of, shape_of
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.jobs import schedule
from virtyard.jobs.job_rows import Narrow, rows_after
from virtyard.jobs.listing import list_jobs
from virtyard.jobs.model import Operation
from virtyard.jobs.store import JobStore
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.job_states import JobEvent
from virtyard.kernel.plan import pack
from virtyard.runtime.database import Database

OPERATIONS, JOBS = 7, 3
NEWEST = 1 << 62
SHAPE = shape_of(*(job(number, "inventory") for number in range(1, JOBS + 1)))
NARROWS = [
    None,
    Narrow(column="operation", value=4),
    Narrow(column="object", value="servers/o2"),
    Narrow(column="state", value=int(job_pb2.JOB_STATE_RUNNING)),
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    """Open a store with some operations whose jobs are in several states."""
    async with await Database.open(tmp_path / "jobs.db", "virtyard.jobs.migrations", None, FakeClock()) as database:
        store = JobStore(database)
        chance = random.Random(1)
        for _ in range(OPERATIONS):
            operation = operation_of(SHAPE, number=0)
            operation.request.CopyFrom(
                pack(kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/a"))
            )
            await store.insert(operation, "")
            for each in SHAPE.jobs:
                if chance.random() < 0.6:
                    schedule.change_job(operation.record, each, JobEvent.START)
                    await store.save(operation, [each], "jobs.test", after=lambda: None)
        yield store


def naive(connection: sqlite3.Connection, narrow: Narrow | None) -> list[tuple[int, int]]:
    """Return the places of all jobs in the order of the list, by a sort of everything."""
    where = f"WHERE {narrow.column} = {narrow.value!r}" if narrow else ""
    rows = connection.execute(f"SELECT operation, number FROM job {where}").fetchall()
    return sorted(rows, key=lambda row: (-row[0], row[1]))


@pytest.mark.parametrize("narrow", NARROWS)
async def test_pages_of_any_size_are_the_whole_list_in_its_order(store: JobStore, narrow: Narrow | None) -> None:
    """From every place on, and page by page, nothing is missed and nothing is there twice."""

    def check(connection: sqlite3.Connection) -> None:
        wanted = naive(connection, narrow)
        assert wanted, "the test would prove nothing"
        for size in (1, 2, 3, 5, 100):
            found: list[tuple[int, int]] = []
            place = (NEWEST, NEWEST)
            while rows := rows_after(connection, *place, size, narrow):
                found += [row[:2] for row in rows]
                place = rows[-1][:2]
            assert found == wanted
        for place in itertools.product(range(OPERATIONS + 2), range(JOBS + 2)):
            later = [each for each in wanted if (-each[0], each[1]) > (-place[0], place[1])]
            assert [row[:2] for row in rows_after(connection, *place, 4, narrow)] == later[:4]

    await store.database.read(check)


@pytest.mark.parametrize("narrow", NARROWS)
async def test_every_page_goes_along_an_index(store: JobStore, narrow: Narrow | None) -> None:
    """No statement reads the table from end to end, or sorts: a page costs the same with a hundred thousand jobs."""

    def plans(connection: sqlite3.Connection) -> list[str]:
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        rows_after(connection, OPERATIONS, 1, 50, narrow)
        connection.execute("SELECT state, jobs FROM job_count WHERE jobs > 0").fetchall()
        connection.set_trace_callback(None)
        return [str(row[3]) for sql in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]

    steps = await store.database.read(plans)
    assert len(steps) >= 2
    assert not [
        step for step in steps if "TEMP B-TREE" in step or (step.startswith("SCAN") and "job_count" not in step)
    ]


async def test_the_counters_are_those_of_the_jobs(store: JobStore) -> None:
    """Kept by the database itself, whatever was inserted, moved or replaced."""

    def counted(connection: sqlite3.Connection) -> dict[int, int]:
        return dict(connection.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())

    assert await store.count_jobs() == await store.database.read(counted)
    operation = await store.get(3)
    smaller = Operation(shape=shape_of(job(1, "inventory")), request=operation.request, record=operation.record)
    await store.save(smaller, ["1"], "jobs.test", new_plan=True, after=lambda: None)
    now = await store.count_jobs()
    assert now == await store.database.read(counted)
    assert sum(now.values()) == OPERATIONS * JOBS - (JOBS - 1)


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "state = RUNNING",
        'object = "servers/o2"',
        'operation = "operations/4" AND state = RUNNING',
        'operation = "operations/400"',
        'operation = "nonsense"',
        "state = RUNNING OR state = PENDING",
        'NOT state = RUNNING AND object != "servers/o1"',
        'object = "servers/o3" title = "Job 3"',
    ],
)
async def test_a_list_is_that_of_its_filter(store: JobStore, text: str, size: int) -> None:
    """Whatever an index finds first, exactly what passes the filter is listed, the newest operation first."""
    everything = (await list_jobs(store, job_service_pb2.ListJobsRequest(page_size=1000))).jobs
    assert len(everything) == OPERATIONS * JOBS
    matches = compile_filter(text, job_pb2.Job.DESCRIPTOR)
    wanted = [each.name for each in everything if matches(each)]
    found: list[str] = []
    token = ""
    while True:
        asked = job_service_pb2.ListJobsRequest(filter=text, page_size=size, page_token=token)
        page = await list_jobs(store, asked)
        found += [each.name for each in page.jobs]
        token = page.next_page_token
        if not token:
            break
        assert len(page.jobs) == size
    assert found == wanted


async def test_rows_of_an_earlier_release_are_completed(store: JobStore) -> None:
    """A job that was written before there was a column for its object is found by it."""
    await store.database.write(lambda sql: sql.execute("UPDATE job SET object = '' WHERE operation = 5").close())
    asked = job_service_pb2.ListJobsRequest(filter='object = "servers/o2"')
    assert len((await list_jobs(store, asked)).jobs) == OPERATIONS - 1
    await store.complete_rows()
    assert len((await list_jobs(store, asked)).jobs) == OPERATIONS
