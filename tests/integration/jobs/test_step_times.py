"""Times of steps: from the commits that there are, kept over a restart of the scheduler, and of an undo its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.integration.jobs.site import LIMIT, Site, machine
from virtyard.agent.actions.contract import Context
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import refresh_repository_pb2
from virtyard.kernel.errors import WrongState

HOUR = 3600.0
SLACK = timedelta(minutes=10)
"""What a test may take where it compares times; far less than the jumps of the clock here."""


def hours_after(stamp: Timestamp, began: datetime) -> int:
    """Return how many hours after the beginning a time is, that is by how many jumps of the clock."""
    past = stamp.ToDatetime(UTC) - began
    hours = round(past / timedelta(hours=1))
    assert abs(past - timedelta(hours=hours)) < SLACK
    return hours


async def disk_step(site: Site, operation: str) -> job_pb2.Step:
    """Return the step that makes an image."""
    jobs = await site.jobs_of(operation)
    return next(step for job in jobs for step in job.steps if job.title == "Create Virtual Disk")


async def test_a_step_keeps_its_times_over_a_restart(site: Site) -> None:
    """It began before the scheduler's end and was done an hour later by its clock; a second restart changes neither."""
    began, under_way, gate = datetime.now(UTC), asyncio.Event(), asyncio.Event()

    async def wait(_: Message, __: Context) -> None:
        under_way.set()
        await gate.wait()

    site.faults.before["CreateDiskFile"] = wait
    name = (await site.submit(machine("web", disks=1, vnics=0))).name
    async with asyncio.timeout(LIMIT):
        await under_way.wait()
    before = await disk_step(site, name)
    assert before.HasField("start_time")
    assert not before.HasField("end_time")
    await site.close_jobs()
    site.jumped += HOUR
    await site.open_jobs()
    gate.set()
    await site.wait(name)
    after = await disk_step(site, name)
    assert after.start_time == before.start_time
    assert (hours_after(after.start_time, began), hours_after(after.end_time, began)) == (0, 1)
    await site.close_jobs()
    site.jumped += HOUR
    await site.open_jobs()
    assert await disk_step(site, name) == after


async def test_an_undone_step_says_when_it_was_done_and_when_undone(site: Site) -> None:
    """The hour between the two, by the scheduler's clock, is in neither; what failed was never undone."""
    began = datetime.now(UTC)

    made: list[Message] = []

    async def make(message: Message, _: Context) -> None:
        made.append(message)
        if len(made) == 2:  # the first disk is there, or being made
            site.skipped += HOUR
            raise WrongState("the switch is off")

    site.faults.before["CreateDiskFile"] = make
    name = (await site.submit(machine("web", disks=2, vnics=0))).name
    assert (await site.wait(name)).HasField("error")
    steps = [step for job in await site.jobs_of(name) for step in job.steps]
    undone = [step for step in steps if step.state == job_pb2.STEP_STATE_UNDONE]
    assert undone
    for step in undone:
        assert hours_after(step.start_time, began) == 0
        assert hours_after(step.undo_start_time, began) == hours_after(step.undo_end_time, began) == 1
        assert step.undo_start_time.ToDatetime() <= step.undo_end_time.ToDatetime()
    (failed,) = (step for step in steps if step.state == job_pb2.STEP_STATE_FAILED)
    assert hours_after(failed.end_time, began) == 1
    assert not failed.HasField("undo_start_time")
    skipped = [step for step in steps if step.state == job_pb2.STEP_STATE_SKIPPED]
    assert skipped
    assert not any(step.HasField("start_time") for step in skipped)


async def test_a_wait_for_locks_is_told_by_when_it_began_and_ended(site: Site) -> None:
    """The second of two waits for an hour; it says since when while it does, and how long it did once that is over."""
    began, under_way, gate = datetime.now(UTC), asyncio.Event(), asyncio.Event()

    async def wait(_: Message, __: Context) -> None:
        under_way.set()
        await gate.wait()

    site.faults.before["ScanRepository"] = wait
    request = refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R")
    first = (await site.submit(request)).name
    async with asyncio.timeout(LIMIT):
        await under_way.wait()
    second = (await site.submit(request)).name

    async def waits() -> bool:
        (job,) = await site.jobs_of(second)
        return bool(job.waiting_for)

    await site.wait_until(waits)
    (job,) = await site.jobs_of(second)
    assert hours_after(job.lock_request_time, began) == 0
    assert not job.HasField("lock_grant_time")
    site.skipped += HOUR
    gate.set()
    for name, hours in ((first, 0), (second, 1)):
        assert not (await site.wait(name)).HasField("error")
        (job,) = await site.jobs_of(name)
        assert hours_after(job.lock_request_time, began) == 0
        assert hours_after(job.lock_grant_time, began) == hours
        assert job.lock_grant_time.ToDatetime() <= job.start_time.ToDatetime()
