"""A person's lock is kept while something is open under it, also while nothing runs that just then (P23)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Gate
from tests.integration.jobs.test_lock_break import refusal_of
from tests.integration.jobs.test_person_locks import HELD, WEB, Person, hold_commits, person, released
from tests.integration.jobs.test_probation import crash, is_tried
from virtyard.api.jobs.v1.lock_control_service_pb2 import PERSON_LOCK_STATE_ENDING, BreakLockRequest
from virtyard.api.jobs.v1.lock_control_service_pb2_grpc import LockControlServiceStub
from virtyard.jobs import probation, scheduler
from virtyard.jobs.scheduler import SchedulerState
from virtyard.kernel.errors import WrongState


@pytest.fixture
async def ann(site: Site) -> AsyncIterator[Person]:
    """Return Ann on a site with a machine."""
    await site.succeed(machine("web", disks=0, vnics=0))
    await site.wait_released()
    async with AsyncExitStack() as stack:
        yield await person(site, stack, "ann")


async def stored_under(site: Site, who: Person, lock: str) -> str:
    """Submit an operation under a lock that does not get to its locks, and return it."""
    hold_commits(site)
    return await who.edit(under=lock)


@pytest.mark.parametrize("seconds", [3600.0, 4.0])
async def test_it_is_kept_for_what_waits_for_its_trial(
    site: Site, ann: Person, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Neither its holder nor its end releases it, nor a break; it goes with the last that was open under it."""
    monkeypatch.setattr(probation, "_TRIAL", 1000.0)
    gate = site.faults.before["CreateDiskFile"] = Gate()
    suspect = (await site.submit(machine("suspect", disks=1))).name
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    lock = await ann.take(seconds=seconds)
    waiting = await stored_under(site, ann, lock.name)
    for _ in range(2):
        await crash(site)
    await site.wait_until(lambda: is_tried(site, int(suspect.partition("/")[2])))
    assert site.jobs.scheduler.state is SchedulerState.STARTING
    async with AsyncExitStack() as stack:
        ann = await person(site, stack, "ann")
        if seconds > LIMIT:
            await site.wait_until(lambda: is_in(ann, lock.name, HELD))
            new = await ann.edit(under=lock.name, cpus=3)
            under = [waiting, new]
        else:
            await site.wait_until(lambda: is_in(ann, lock.name, PERSON_LOCK_STATE_ENDING))
            under = [waiting]
        assert [list(each.operations) for each in await ann.list()] == [under]
        refused = await refusal_of(ann.release(lock.name))
        assert isinstance(refused, WrongState)
        assert ", ".join(under) in refused.message
        admin: Any = LockControlServiceStub(site._near["jobs"])
        broken = BreakLockRequest(target=lock.name, reason="nobody is at it")
        assert isinstance(await refusal_of(admin.BreakLock(broken)), WrongState)
        gate.opened.set()
        for name in (suspect, *under):
            assert not (await site.wait(name)).HasField("error")
        await site.wait_until(lambda: released(ann, lock.name))
        await site.wait_released()


async def is_in(who: Person, name: str, state: int) -> bool:
    """Return whether a lock is in a state."""
    return (name, state) in {(each.name, each.state) for each in await who.list()}


async def test_it_is_kept_between_a_runner_and_its_successor(
    site: Site, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails by a defect is taken up again after a pause, under the lock."""
    lock = await ann.take()
    monkeypatch.setattr(scheduler, "_PAUSE", 1000.0)
    gate = site.faults.before["CreateDiskFile"] = Gate()
    request = machine("beside", disks=1)
    request.options.under = lock.name
    running = await ann.submit(request)
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    number = int(running.partition("/")[2])
    runners = site.jobs.scheduler._runners
    runners[number]._rounds.inbox.put_nowait(object())  # type: ignore[arg-type]  # no report: the runner fails over it

    async def paused() -> bool:
        return number not in runners

    await site.wait_until(paused)
    assert isinstance(await refusal_of(ann.release(lock.name)), WrongState)
    assert [list(each.operations) for each in await ann.list()] == [[running]]
    assert WEB in await site.held_locks()
    gate.opened.set()
