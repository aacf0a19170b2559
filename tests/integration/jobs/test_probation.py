"""Probation after crashes: one operation at a time, strikes for the marked one alone, and what is held stays so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate, state_of
from tests.integration.jobs.test_stuck import events_of
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import probation
from virtyard.jobs.probation import MOST_STRIKES
from virtyard.jobs.scheduler import SchedulerState

POISON = job_pb2.HELD_REASON_POISON


def records(folder: Path) -> list[record_pb2.OperationRecord]:
    """Return the records of the open operations, as they are durable."""
    with closing(sqlite3.connect(folder / "state" / "jobs.db")) as database:
        rows = database.execute("SELECT record FROM operation WHERE open = 1 ORDER BY number").fetchall()
    return [record_pb2.OperationRecord.FromString(record) for (record,) in rows]


async def crash(site: Site) -> None:
    """End the scheduler so that its file looks as after a crash, and start the next one."""
    await site.close_jobs()
    with closing(sqlite3.connect(site.folder / "state" / "jobs.db")) as database:
        database.execute("UPDATE life SET clean = 0")
        database.commit()
    await site.open_jobs()


async def is_tried(site: Site, number: int) -> bool:
    """Return whether the operation is the one that is tried now."""
    return [record.number for record in records(site.folder) if record.trying] == [number]


def state(site: Site) -> SchedulerState:
    """Return the scheduler's state now."""
    return site.jobs.scheduler.state


@pytest.fixture
async def two(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, list[str], Gate]:
    """Return a site with two operations whose disks are not made yet, and whose trials do not end by themselves."""
    monkeypatch.setattr(probation, "_TRIAL", 1000.0)
    gate = site.faults.before["CreateDiskFile"] = Gate()
    names = [(await site.submit(machine(name, disks=1))).name for name in ("bad", "good")]

    async def both_wait() -> bool:
        jobs = [await site.jobs_of(name) for name in names]
        return all(len(each) > 2 and each[2].state == job_pb2.JOB_STATE_RUNNING for each in jobs)

    await site.wait_until(both_wait)
    return site, names, gate


async def make_poison(site: Site, number: int) -> None:
    """Let the scheduler crash until the operation, which is the oldest, has all its strikes."""
    await crash(site)
    for strikes in range(MOST_STRIKES):
        await crash(site)
        await site.wait_until(lambda: is_tried(site, number))
        assert [record.strikes for record in records(site.folder)] == [strikes, 0]
        assert state(site) is SchedulerState.STARTING
    await crash(site)


async def test_one_crash_is_no_reason_for_care(two: tuple[Site, list[str], Gate]) -> None:
    """Everything is begun at once; so it is after a clean stop, however many crashes were before."""
    site, names, gate = two
    await crash(site)
    assert state(site) is SchedulerState.RUNNING
    await crash(site)
    assert state(site) is SchedulerState.STARTING
    await site.close_jobs()
    await site.open_jobs()
    assert state(site) is SchedulerState.RUNNING
    assert [(record.strikes, record.trying) for record in records(site.folder)] == [(0, False)] * 2
    gate.opened.set()
    for name in names:
        assert not (await site.wait(name)).HasField("error")


async def test_a_long_life_ends_the_care(two: tuple[Site, list[str], Gate], monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash counts with the one before it only if it came within a minute."""
    site, _, gate = two
    await crash(site)
    monkeypatch.setattr(probation, "_SHORT_LIFE", -1000.0)
    await crash(site)
    assert state(site) is SchedulerState.RUNNING
    gate.opened.set()


async def test_the_marked_one_is_set_aside_and_the_others_go_on(two: tuple[Site, list[str], Gate]) -> None:
    """It keeps state and locks, a CRITICAL event tells of it, and a restart does not forget it; others succeed."""
    site, (bad, good), gate = two
    await make_poison(site, int(bad.partition("/")[2]))
    gate.opened.set()
    assert not (await site.wait(good)).HasField("error")
    assert not (await site.run(machine("new", disks=1))).HasField("error")
    assert state(site) is SchedulerState.RUNNING
    for _ in range(2):
        jobs = await site.jobs_of(bad)
        assert {job.held for job in jobs} == {POISON}
        assert jobs[2].state == job_pb2.JOB_STATE_RUNNING
        assert jobs[2].steps[0].state == job_pb2.STEP_STATE_STARTED, "its result is there, and not asked for"
        assert {"virtualMachines/bad", "virtualDisks/bad-disk0"} <= set(await site.held_locks())
        await site.close_jobs()
        await site.open_jobs()

    async def told() -> bool:
        return any(event.type == "OPERATION_POISONED" for event in await events_of(site))

    await site.wait_until(told)
    (event,) = [event for event in await events_of(site) if event.type == "OPERATION_POISONED"]
    assert (event.severity, event.object, event.operation) == (
        event_pb2.SEVERITY_CRITICAL,
        "virtualMachines/bad",
        bad,
    )


async def test_what_is_set_aside_can_be_aborted(two: tuple[Site, list[str], Gate]) -> None:
    """It is settled and undone like any other, and its locks go."""
    site, (bad, good), gate = two
    await make_poison(site, int(bad.partition("/")[2]))
    gate.opened.set()
    await site.wait(good)
    held = [job.name for job in await site.jobs_of(bad) if job.held]
    assert held
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=held[0]))
    operation = await site.wait(bad)
    metadata = operation_pb2.OperationMetadata.FromString(operation.metadata.value)
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_CANCELLED, job_pb2.OUTCOME_NONE)
    assert not metadata.held
    assert not [name for name in (await state_of(site))["objects"] if "bad" in name]
    await site.wait_released()


async def test_a_step_that_is_done_forgives_strikes(two: tuple[Site, list[str], Gate]) -> None:
    """Two strikes are gone with the next result; the trial ends by it, and the other one is tried and begun."""
    site, (bad, good), gate = two
    numbers = [int(name.partition("/")[2]) for name in (bad, good)]
    await crash(site)
    for _ in range(MOST_STRIKES):
        await crash(site)
        await site.wait_until(lambda: is_tried(site, numbers[0]))
    assert records(site.folder)[0].strikes == MOST_STRIKES - 1
    gate.opened.set()
    for name, number in zip((bad, good), numbers, strict=True):
        assert not (await site.wait(name)).HasField("error")
        ended = (await site.jobs.scheduler.look(number)).record
        assert ended.strikes == 0

    async def is_over() -> bool:
        return state(site) is SchedulerState.RUNNING

    await site.wait_until(is_over)


async def test_what_is_submitted_in_probation_waits(two: tuple[Site, list[str], Gate]) -> None:
    """It is durable and accepted, and begun when the others were tried, so that no innocent one is blamed for it."""
    site, names, gate = two
    await crash(site)
    await crash(site)
    await site.wait_until(lambda: is_tried(site, int(names[0].partition("/")[2])))
    late = (await site.submit(machine("late", disks=0))).name
    assert site.jobs.scheduler.find(int(late.partition("/")[2])) is None
    gate.opened.set()
    for name in (*names, late):
        assert not (await site.wait(name)).HasField("error")
