"""Interleavings on the way back: who could come in between, and what is still under way when it begins (P3, P10).

Each is shown twice: as it is, and without what forbids it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.newcomers import running_newcomers
from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import state_of
from tests.integration.jobs.test_pool_failure import SERVERS, memberships, pool
from virtyard.api.inventory.v1 import schedule_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import (
    create_schedule_pb2,
    edit_virtual_machine_pb2,
    refresh_server_pb2,
)
from virtyard.jobs import schedule
from virtyard.kernel.errors import CapacityExhausted
from virtyard.kernel.plan import pack
from virtyard.locks.model import Release

WEB = "virtualMachines/web"


class FailingGate:
    """A fault that holds an action until it is opened, and then fails it."""

    def __init__(self) -> None:
        """Make a closed gate."""
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, message: object, context: object) -> None:
        """Wait, and fail."""
        self.reached.set()
        await self.opened.wait()
        raise CapacityExhausted("the disk is full", resource="repositories/R")


async def begin_two(site: Site) -> tuple[FailingGate, str, str]:
    """Have a machine made up to its disk, and another operation ask for the machine; return the gate and both names."""
    gate = site.faults.before["CreateDiskFile"] = FailingGate()
    first = (await site.submit(machine("web", disks=1))).name
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    assert (await site.job_states(first))[0] == "COMPLETED"
    edited = virtual_machine_pb2.VirtualMachine(name=WEB, cpus=2)
    second = (await site.submit(edit_virtual_machine_pb2.EditVirtualMachineRequest(virtual_machine=edited))).name
    return gate, first, second


async def test_nobody_comes_between_a_finished_job_and_its_undo(site: Site) -> None:
    """P3: the machine of a finished job stays locked, so that who waits for it finds it gone, and nothing is left."""
    before = await state_of(site)
    gate, first, second = await begin_two(site)

    async def waits() -> bool:
        return await site.job_states(second) == ["WAITING_FOR_LOCKS"]

    await site.wait_until(waits)
    gate.opened.set()
    assert (await site.wait(first)).error.message == "the disk is full"
    assert f"{WEB} does not exist" in (await site.wait(second)).error.message
    assert await state_of(site) == before


async def test_without_its_lock_somebody_changes_what_is_to_be_undone(site: Site) -> None:
    """The same where a finished job's lock is given back: the other one changes what the first is to take away."""
    _, first, second = await begin_two(site)
    locks = site.jobs.scheduler.world.locks
    kept = {lock.object: lock.mode for lock in await locks.locks() if lock.owner == first and lock.object != WEB}
    await locks.release([Release(owner=first, epoch=1, keep=kept)])
    assert not (await site.wait(second)).HasField("error")
    found: Any = (await site.objects())[WEB]
    assert found.cpus == 2


class Joins:
    """Members that join: the first does, the second fails once the third is at it, and that takes long to stop."""

    def __init__(self) -> None:
        """Nobody has come."""
        self.came = 0
        self.last_came = asyncio.Event()
        self.let_go = asyncio.Event()
        self.news: asyncio.Queue[str] = asyncio.Queue()
        """What has happened, in order."""

    async def join(self, message: object, context: object) -> None:
        """Let the first one through, hold the last one, and fail the other."""
        self.came += 1
        if self.came == 2:
            await self.last_came.wait()
            raise CapacityExhausted("there is no slot left", resource="serverPools/Finance")
        if self.came == 3:
            self.last_came.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.news.put_nowait("stopped")
                await self.let_go.wait()
                self.news.put_nowait("settled")
                raise

    async def undo(self, message: object, context: object) -> None:
        """Note an undo."""
        self.news.put_nowait("undone")

    async def next(self) -> str:
        """Return what happens next."""
        async with asyncio.timeout(3 * LIMIT):
            return await self.news.get()


@asynccontextmanager
async def joining(folder: Path) -> AsyncIterator[tuple[Site, Joins]]:
    """Run a site whose servers are to join a cluster."""
    async with running_newcomers(folder, *SERVERS) as site:
        joins = Joins()
        site.faults.before["JoinCluster"] = joins.join
        for action in ("LeaveCluster", "RemoveHeartbeatDevice"):
            site.faults.before[f"undo {action}"] = joins.undo
        try:
            yield site, joins
        finally:
            joins.let_go.set()


def elsewhere() -> create_schedule_pb2.CreateScheduleRequest:
    """Return a request that needs nothing of what is locked."""
    wanted = schedule_pb2.Schedule(
        request=pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1")), cron="0 0 1 1 *"
    )
    return create_schedule_pb2.CreateScheduleRequest(schedule_id="other", schedule=wanted)


async def test_nothing_is_undone_while_a_sibling_is_under_way(tmp_path: Path) -> None:
    """P10: a member that is still joining is stopped and settled first; another operation passes, and no undo."""
    async with joining(tmp_path) as (site, joins):
        before = await state_of(site)
        name = (await site.submit(pool(site))).name
        assert await joins.next() == "stopped"
        await site.succeed(elsewhere())
        assert joins.news.empty()
        joins.let_go.set()
        assert await joins.next() == "settled"
        assert await joins.next() == "undone"
        assert (await site.wait(name)).error.message == "there is no slot left"
        assert memberships(site) == []
        after = await state_of(site)
        del after["objects"]["schedules/other"]
        assert after == before


async def test_without_settling_a_member_joins_what_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where started steps are overlooked: undoing begins beside the member that is still joining."""
    async with joining(tmp_path) as (site, joins):
        monkeypatch.setattr(schedule, "in_flight", lambda *_: [])
        await site.submit(pool(site))
        assert await joins.next() == "undone"
