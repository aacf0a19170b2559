"""Counted locks on real services (P22): so many copies at once on a server, by rank, over restarts and aborts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.integration.jobs.site import LIMIT, MIB, Site, machine
from tests.integration.jobs.test_control import Gate, first_job, get, hold, metadata_of, refusal, release
from tests.integration.jobs.test_explaining import BARRIER, HOLDER, commands, explain, number
from virtyard.api.actions.v1 import import_image_file_pb2
from virtyard.api.inventory.v1 import image_pb2
from virtyard.api.jobs.v1 import job_control_pb2 as control
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, plan_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.api.operations.v1 import import_image_pb2
from virtyard.jobs.counted_locks import COPY, StepGate
from virtyard.kernel.errors import InvalidRequest

COPY_ON_S1 = "capacity/servers/s1/copy"
ISO = bytes(0x8001) + b"CD001"


class Copies:
    """A fault that keeps each copy back until it is let go, and knows which began, in their order."""

    def __init__(self, site: Site) -> None:
        """Stand before the copies of every server of the site."""
        self.begun: list[str] = []
        self.running: set[str] = set()
        self.most = 0
        self._site = site
        self._open: set[str] = set()
        self._all = False
        self._news = asyncio.Condition()
        site.faults.before["ImportImageFile"] = cast(Any, self._wait)

    async def _wait(self, message: import_image_file_pb2.ImportImageFile, _: object) -> None:
        name = message.server_path.rpartition("/")[2]
        self.begun.append(name)
        self.running.add(name)
        self.most = max(self.most, len(self.running))
        try:
            async with self._news:
                self._news.notify_all()
                await self._news.wait_for(lambda: self._all or name in self._open)
        finally:
            self.running.discard(name)

    async def let_go(self, *names: str) -> None:
        """Let these copies end; all of them, and those that are still to come, if none is named."""
        async with self._news:
            self._open |= set(names)
            self._all = self._all or not names
            self._news.notify_all()

    async def until_begun(self, count: int) -> None:
        """Wait until so many copies have begun."""
        async with asyncio.timeout(LIMIT), self._news:
            await self._news.wait_for(lambda: len(self.begun) >= count)


@pytest.fixture
def copies(site: Site) -> Copies:
    """Keep copies back, and let two run at once on a server."""
    limit(site, 2)
    return Copies(site)


def limit(site: Site, count: int) -> None:
    """Let so many copies run at once on a server."""
    site.jobs.scheduler.world.counted.limits[COPY] = count


def importing(site: Site, name: str) -> import_image_pb2.ImportImageRequest:
    """Return a request that has s1 copy a small image."""
    source = site.share / name
    source.write_bytes(ISO)
    return import_image_pb2.ImportImageRequest(
        image_id=name,
        image=image_pb2.Image(repository="repositories/R", format=image_pb2.IMAGE_FORMAT_ISO),
        server_path=str(source),
        server="servers/s1",
    )


async def submit(site: Site, *names: str) -> list[str]:
    """Submit an import of each, one after another; return the operations once each is copying or kept back."""
    submitted = []
    for name in names:
        operation = (await site.submit(importing(site, name))).name
        submitted.append(operation)

        async def has_come(operation: str = operation) -> bool:
            job = await get(site, operation)
            return job.steps[0].state == job_pb2.STEP_STATE_STARTED or bool(job.waiting_for.startswith("capacity/"))

        await site.wait_until(has_come)
    return submitted


def demand(site: Site, monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    """Have the copy of one image take more than one unit."""
    operations: Any = site.jobs.scheduler.world.operations
    method = "virtyard.api.operations.v1.OperationService.ImportImage"
    kind = operations[method]

    def plan(request: import_image_pb2.ImportImageRequest, *rest: Any) -> plan_pb2.Plan:
        made: plan_pb2.Plan = kind.plan(request, *rest)
        if request.image_id == name:
            made.jobs[0].steps[0].counted.count = count
        return made

    monkeypatch.setitem(operations, method, replace(kind, plan=plan))


async def end_well(site: Site, operations: list[str]) -> None:
    """Require that every operation succeeds."""
    for name in operations:
        ended = await site.wait(name)
        assert not ended.HasField("error"), ended.error


async def test_never_more_at_once_than_the_limit(site: Site, copies: Copies) -> None:
    """Ten copies, two at a time: the others wait without a copy, say for what, and all are made in the end."""
    operations = await submit(site, *(f"i{index}" for index in range(10)))
    assert copies.begun == ["i0", "i1"]
    waiting = await get(site, operations[-1])
    assert waiting.waiting_for == f"{COPY_ON_S1}: 2 of 2 in use"
    await copies.let_go()
    await end_well(site, operations)
    assert copies.most == 2
    assert copies.begun == [f"i{index}" for index in range(10)]
    await site.wait_released()


async def test_without_the_gate_too_many_run_at_once(
    site: Site, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the gate is for: let through, a third copy begins beside two."""
    monkeypatch.setattr(StepGate, "may_begin", lambda _gate, _step: True)
    operations = await submit(site, "a", "b", "c")
    await copies.until_begun(3)
    assert copies.most == 3
    await copies.let_go()
    await end_well(site, operations)


async def test_each_server_counts_for_itself(site: Site, copies: Copies) -> None:
    """A server whose copies are all in use keeps none of another one back."""
    operations = await submit(site, "a", "b", "c")
    other = importing(site, "other")
    other.server = "servers/s2"
    operations.append((await site.submit(other)).name)
    await copies.until_begun(3)
    assert copies.begun == ["a", "b", "other"]
    await copies.let_go()
    await end_well(site, operations)


async def test_waiters_go_by_rank(site: Site, copies: Copies) -> None:
    """Who came first goes first; a higher priority, given while it waits, goes before."""
    limit(site, 1)
    operations = await submit(site, "holder", "first", "second", "urgent")
    await site.service.SetJobPriority(control.SetJobPriorityRequest(name=first_job(operations[3]), priority=1))
    told = await explain(site, operations[1])
    assert (told.cause, told.queue_place) == (pb.WAIT_CAUSE_CAPACITY, 2)
    assert [(edge.blocker, edge.kind, edge.object) for edge in told.edges] == [
        (operations[0], HOLDER, COPY_ON_S1),
        (operations[3], BARRIER, COPY_ON_S1),
    ]
    assert told.summary == f"it waits for {COPY_ON_S1}, which {operations[0]} has, and for 1 more"
    assert f"abort {number(operations[0])}-1 --operation" in commands(told)
    assert f"set-priority {number(operations[1])}-1 --priority 20" in commands(told)
    await copies.let_go()
    await end_well(site, operations)
    assert copies.begun == ["holder", "urgent", "first", "second"]


async def test_a_bigger_demand_is_not_passed(site: Site, copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reserves what is free: smaller ones that came later wait behind it, though they would fit."""
    demand(site, monkeypatch, "big", 2)
    operations = await submit(site, "holder", "big", "small", "last")
    assert copies.begun == ["holder"]
    await copies.let_go("holder")
    await copies.until_begun(2)
    assert copies.running == {"big"}
    await copies.let_go("big")
    await copies.until_begun(4)
    assert copies.begun == ["holder", "big", "small", "last"]
    await copies.let_go()
    await end_well(site, operations)


async def test_more_than_there_is_is_refused_at_once(
    site: Site, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could never begin: the refusal names the field, a preview gives it too, and nothing is kept."""
    demand(site, monkeypatch, "huge", 3)
    before = site.commits()
    for preview in (True, False):
        request = importing(site, "huge")
        request.validate_only = preview
        refused = await refusal(site.submit(request))
        assert isinstance(refused, InvalidRequest)
        assert [each.field for each in refused.violations] == ["server"]
        assert f"takes 3 of {COPY_ON_S1}, of which there are 2" in str(refused)
    assert site.commits() == before
    assert not copies.begun


@pytest.mark.parametrize("lowered", [2, 1])
async def test_a_restart_keeps_the_count_and_lowering_evicts_nobody(site: Site, copies: Copies, lowered: int) -> None:
    """Those that hold go on and are still counted; the next one begins when there is room by the new limit."""
    operations = await submit(site, "a", "b", "c", "d")
    await site.close_jobs()
    await site.open_jobs(start=False)
    limit(site, lowered)
    await site.jobs.scheduler.start()

    async def both_wait() -> bool:
        jobs = [await get(site, name) for name in operations[2:]]
        return all(job.waiting_for == f"{COPY_ON_S1}: 2 of {lowered} in use" for job in jobs)

    await site.wait_until(both_wait)
    assert copies.running == {"a", "b"}
    await copies.let_go("a")
    await end_well(site, operations[:1])
    if lowered == 2:
        await copies.until_begun(3)
    else:
        assert copies.running == {"b"}
        assert site.jobs.scheduler.world.counted.holders(COPY_ON_S1) == [int(number(operations[1]))]
        await copies.let_go("b")
        await copies.until_begun(3)
    assert copies.begun == ["a", "b", "c"]
    await copies.let_go()
    await end_well(site, operations)
    assert copies.begun == ["a", "b", "c", "d"]


async def test_what_was_planned_for_a_higher_limit_begins_alone(
    site: Site, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demand that was right when it was planned does not wait for ever once the limit is below it."""
    demand(site, monkeypatch, "big", 2)
    operations = await submit(site, "holder", "big", "last")
    limit(site, 1)
    await copies.let_go("holder")
    await copies.until_begun(2)
    assert copies.running == {"big"}
    await copies.let_go()
    await end_well(site, operations)


async def test_an_abort_ends_the_wait_at_once_and_leaves_nothing(site: Site, copies: Copies) -> None:
    """The operation ends while the others still copy, with nothing done, locked or reserved."""
    operations = await submit(site, "a", "b", "c", "d")
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=first_job(operations[2])))
    ended = metadata_of(await site.wait(operations[2]))
    assert (ended.state, ended.waiting_for) == (operation_pb2.OPERATION_STATE_CANCELLED, "")
    assert copies.running == {"a", "b"}

    async def is_free() -> bool:
        return "images/c" not in await site.held_locks()

    await site.wait_until(is_free)
    assert site.jobs.scheduler.world.counted.ahead(COPY_ON_S1, int(number(operations[3]))) == []
    await copies.let_go()
    await end_well(site, [*operations[:2], operations[3]])
    assert copies.begun == ["a", "b", "d"]
    assert "images/c" not in await site.objects()


async def test_what_is_set_aside_reserves_nothing(site: Site, copies: Copies) -> None:
    """Those behind it go on; released, it waits again, at its old rank."""
    operations = await submit(site, "a", "b", "c", "d")
    await hold(site, operations[2])
    await copies.let_go("a")
    await copies.until_begun(3)
    assert copies.running == {"b", "d"}
    await release(site, operations[2])

    async def waits() -> bool:
        return bool((await get(site, operations[2])).waiting_for)

    await site.wait_until(waits)
    await copies.let_go()
    await end_well(site, operations)
    assert copies.begun == ["a", "b", "d", "c"]


async def test_a_copy_that_fails_gives_its_unit_back(site: Site, copies: Copies) -> None:
    """The way back needs none, and the next one begins."""
    limit(site, 1)
    first = importing(site, "a")
    first.sha256 = "0" * 64
    failing = (await site.submit(first)).name
    await copies.until_begun(1)
    operations = await submit(site, "b")
    await copies.let_go()
    assert (await site.wait(failing)).HasField("error")
    await end_well(site, operations)
    assert copies.begun == ["a", "b"]


async def test_a_restart_beside_another_step_looks_for_its_turn(site: Site, copies: Copies) -> None:
    """A machine whose plain disk is being made is resumed; its copy waits for its own turn, and then for a unit."""
    limit(site, 1)
    await copies.let_go("base")
    base = importing(site, "base")
    base.image.format = image_pb2.IMAGE_FORMAT_DISK
    (site.share / "base").write_bytes(bytes(MIB))
    await site.succeed(base)
    plain = site.faults.before["CreateDiskFile"] = Gate()
    request = machine("web", vnics=0)
    request.disks[1].image = "images/base"
    web = (await site.submit(request)).name
    async with asyncio.timeout(LIMIT):
        await plain.begun.wait()
    operations = await submit(site, "holder")
    other = importing(site, "other")
    other.server = "servers/s2"
    operations.append((await site.submit(other)).name)
    await copies.until_begun(3)
    await site.close_jobs()
    await site.open_jobs(start=False)
    limit(site, 1)
    await site.jobs.scheduler.start()
    plain.open.set()

    async def waits() -> bool:
        return any(job.waiting_for.endswith("/copy: 1 of 1 in use") for job in await site.jobs_of(web))

    await site.wait_until(waits)
    assert site.faults.done["CreateDiskFile"] == 1
    await copies.let_go()
    await end_well(site, [web, *operations])
    assert site.faults.done["CreateDiskFile"] == 2
