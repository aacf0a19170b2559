"""The scheduler's store on a real database: epochs, request ids, the state table, and what is due."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.jobs.plans import job, operation_of, shape_of
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2, start_virtual_machine_pb2
from virtyard.jobs import schedule
from virtyard.jobs.model import Operation
from virtyard.jobs.store import RELEASE, Due, JobStore
from virtyard.kernel.errors import AlreadyExists, NotFound, StaleEpoch
from virtyard.kernel.job_states import JOB_TABLE
from virtyard.kernel.plan import pack
from virtyard.runtime.database import Database

SHAPE = shape_of(job(1, "inventory"), job(2, "inventory", after=[1]))
KILL = kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/a")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    """Open a store on an empty database."""
    async with await Database.open(tmp_path / "jobs.db", "virtyard.jobs.migrations", None, FakeClock()) as database:
        yield JobStore(database)


def submitted() -> Operation:
    """Return an operation that is not stored yet."""
    operation = operation_of(SHAPE, number=0)
    operation.request.CopyFrom(pack(KILL))
    operation.record.principal = "user/ann"
    return operation


async def save(store: JobStore, operation: Operation, *jobs: str, due: tuple[Due, ...] = ()) -> None:
    """Save an operation; nothing follows."""
    await store.save(operation, jobs, "jobs.test", due=due, after=lambda: None)


async def test_operations_are_numbered_as_they_are_stored(store: JobStore) -> None:
    """Numbers rise, and what is stored is what is read."""
    first, second = await store.insert(submitted(), ""), await store.insert(submitted(), "")
    assert (first.number, second.number) == (1, 2)
    found = await store.get(2)
    assert (found.record, found.shape.plan, found.request) == (second.record, SHAPE.plan, second.request)
    assert (await store.get_job(2, 1)).name == "jobs/2-1"
    with pytest.raises(NotFound):
        await store.get(3)
    with pytest.raises(NotFound):
        await store.get_job(2, 3)


async def test_a_request_id_names_one_operation_of_one_principal(store: JobStore) -> None:
    """The same request gives the same operation, another one is refused, another principal is another matter (P26)."""
    first = await store.insert(submitted(), "id")
    assert (await store.insert(submitted(), "id")).number == first.number
    found = await store.find_request("user/ann", "id", first.request)
    assert found is not None
    assert found.number == first.number
    assert await store.find_request("user/bob", "id", first.request) is None
    other = submitted()
    other.request.CopyFrom(pack(start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/a")))
    with pytest.raises(AlreadyExists, match="request_id"):
        await store.insert(other, "id")
    other.record.principal = "user/bob"
    assert (await store.insert(other, "id")).number == 2


async def test_a_write_of_an_overtaken_scheduler_changes_nothing(store: JobStore) -> None:
    """Adoption raises the epoch; whoever still has the old one is refused (P14)."""
    mine = await store.insert(submitted(), "")
    (adopted,) = await store.adopt()
    assert adopted.record.epoch == mine.record.epoch + 1
    schedule.advance(SHAPE, mine.record)
    with pytest.raises(StaleEpoch):
        await save(store, mine, "1", "2")
    assert (await store.get(1)).record == adopted.record
    schedule.advance(SHAPE, adopted.record)
    await save(store, adopted, "1", "2")
    assert (await store.get_job(1, 1)).state == job_pb2.JOB_STATE_RUNNING


async def test_an_ended_operation_is_never_written_again(store: JobStore) -> None:
    """Nor is it adopted."""
    operation = await store.insert(submitted(), "")
    operation.record.state = operation_pb2.OPERATION_STATE_CANCELLED
    await save(store, operation)
    with pytest.raises(StaleEpoch):
        await save(store, operation)
    assert await store.adopt() == []


async def test_what_is_due_stays_until_a_commit_after_it_was_forgotten(store: JobStore) -> None:
    """Forgetting costs no commit of its own."""
    operation = await store.insert(submitted(), "")
    due = Due(key="release 1", kind=RELEASE, body=b"x")
    await save(store, operation, due=(due,))
    assert await store.due() == [due]
    before = store.database.commits
    store.forget([due.key])
    assert store.database.commits == before
    await save(store, operation)
    assert await store.due() == []


async def test_pages_of_jobs_are_newest_operation_first(store: JobStore) -> None:
    """And inside an operation in the order of the plan."""
    for _ in range(3):
        await store.insert(submitted(), "")
    rows = await store.jobs_after(1 << 62, 1 << 62, 3)
    assert [row[:2] for row in rows] == [(3, 1), (3, 2), (2, 1)]
    rows = await store.jobs_after(2, 1, 3)
    assert [row[:2] for row in rows] == [(2, 2), (1, 1), (1, 2)]
    assert [operation.number for operation in await store.operations_before(3, 5)] == [2, 1]
    assert await store.count_jobs() == {job_pb2.JOB_STATE_WAITING_FOR_LOCKS: 3, job_pb2.JOB_STATE_PENDING: 3}


async def test_the_database_knows_the_kernels_table(store: JobStore) -> None:
    """The trigger's table is the kernel's, change for change."""
    rows = await store.database.read(lambda sql: sql.execute("SELECT before, after FROM job_change").fetchall())
    assert set(rows) == {(int(before), int(after)) for (before, _), after in JOB_TABLE.items()}


async def test_the_database_refuses_a_change_that_the_table_does_not_have(store: JobStore) -> None:
    """Whatever the code does: a job that waits cannot be completed."""
    operation = await store.insert(submitted(), "")
    operation.record.jobs["1"].state = job_pb2.JOB_STATE_COMPLETED
    with pytest.raises(sqlite3.IntegrityError, match="cannot change its state"):
        await save(store, operation, "1")
