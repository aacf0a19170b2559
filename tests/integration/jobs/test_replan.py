"""A plan is made before the locks are held (P4): what changed meanwhile is planned again, at the place that it had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from tests.integration.jobs.newcomers import running_newcomers
from tests.integration.jobs.site import LIMIT, MIB, Site, machine
from tests.integration.jobs.test_failure import state_of
from tests.integration.jobs.test_pool_failure import SERVERS, memberships
from tests.integration.jobs.test_pool_failure import pool as clustered
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, server_pool_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.operations.v1 import (
    add_server_to_server_pool_pb2,
    create_server_pool_pb2,
    create_virtual_disk_pb2,
    delete_server_pool_pb2,
    refresh_server_pb2,
    remove_server_from_server_pool_pb2,
    rename_virtual_machine_pb2,
    start_virtual_machine_pb2,
    update_repository_pb2,
    update_server_pb2,
    update_virtual_machine_pb2,
)
from virtyard.jobs.admission import MOST_REPLANS
from virtyard.jobs.model import Operation
from virtyard.jobs.outcome import reason_of
from virtyard.jobs.participants import Link
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import Grant, LockSet, LockWish, Release

WEB = "virtualMachines/web"


def before_grant(site: Site, title: str, change: Callable[[], Awaitable[object]]) -> list[LockSet]:
    """Have something done before the first locks of an operation of this title are asked for; return what it asks."""
    proxy: Any = site.jobs.scheduler.world.locks
    acquire = proxy.acquire
    asked: list[LockSet] = []

    async def changed_first(wanted: LockSet, *rest: Any) -> Grant:
        if wanted.purpose == title:
            asked.append(wanted)
            if len(asked) == 1:
                await change()
        granted: Grant = await acquire(wanted, *rest)
        return granted

    proxy.acquire = changed_first
    return asked


@contextmanager
def after_each_view(site: Site, change: Callable[[int], Awaitable[object]]) -> Iterator[None]:
    """Have something done after each view that a plan is made from again."""
    world = site.jobs.scheduler.world
    view, count = world.view, 0

    async def then_changed(selections: Any) -> Any:
        nonlocal count
        found = await view(selections)
        count += 1
        await change(count)
        return found

    object.__setattr__(world, "view", then_changed)
    try:
        yield
    finally:
        object.__setattr__(world, "view", view)


def labelled(kind: Any, request: Any, field: str, name: str, value: str) -> Message:
    """Return a request that changes a label of an object, and so its generation."""
    asked = request(update_mask=FieldMask(paths=["labels"]))
    getattr(asked, field).CopyFrom(kind(name=name, labels={"changed": value}))
    return asked  # type: ignore[no-any-return]


def metadata_of(operation: operations_pb2.Operation) -> operation_pb2.OperationMetadata:
    """Return what an operation tells of its run."""
    return operation_pb2.OperationMetadata.FromString(operation.metadata.value)


def starting(site: Site) -> Operation:
    """Return the operation that starts a machine."""
    runners = site.jobs.scheduler._runners.values()
    (found,) = [each.operation for each in runners if each.operation.record.title == "Start Virtual Machine"]
    return found


@pytest.fixture
async def furnished(site: Site) -> Site:
    """Return a site with a stopped machine."""
    (site.share / "vmlinuz").write_bytes(b"a kernel")
    request = machine("web", disks=0, vnics=0)
    request.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    await site.succeed(request)
    await site.wait_released()
    return site


async def test_a_change_before_the_grant_is_planned_with(furnished: Site) -> None:
    """The first step, which the inventory checks itself, is refused; under the same locks the new plan runs."""
    site = furnished
    label = labelled(
        virtual_machine_pb2.VirtualMachine,
        update_virtual_machine_pb2.UpdateVirtualMachineRequest,
        "virtual_machine",
        WEB,
        "yes",
    )
    asked = before_grant(site, "Rename Virtual Machine", lambda: site.succeed(label))
    rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=WEB, display_name="Web")
    metadata = metadata_of(await site.succeed(rename))
    assert metadata.replans == 1
    assert len(asked) == 1, "the locks that were held suffice"
    found: Any = (await site.objects())[WEB]
    assert (found.display_name, dict(found.labels)) == ("Web", {"changed": "yes"})


async def test_a_change_is_found_where_a_host_goes_first(furnished: Site) -> None:
    """The check is a call then; the host is asked for nothing by the plan that was wrong."""
    site = furnished
    label = labelled(
        repository_pb2.Repository, update_repository_pb2.UpdateRepositoryRequest, "repository", "repositories/R", "yes"
    )
    before_grant(site, "Create Virtual Disk", lambda: site.succeed(label))
    disk = virtual_disk_pb2.VirtualDisk(repository="repositories/R", size_bytes=MIB)
    request = create_virtual_disk_pb2.CreateVirtualDiskRequest(virtual_disk_id="more", virtual_disk=disk)
    metadata = metadata_of(await site.succeed(request))
    assert metadata.replans == 1
    assert site.faults.done["CreateDiskFile"] == 1


async def test_a_plan_that_needs_other_locks_asks_for_them_at_its_old_rank(furnished: Site) -> None:
    """The chosen server leaves the pool before the grant: another is chosen, locked in the next round, and used."""
    site = furnished
    chosen: list[str] = []

    async def take_it_away() -> None:
        chosen.extend(starting(site).shape.plan.servers)
        await site.succeed(
            remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
                name="serverPools/Finance", server=chosen[0]
            )
        )

    asked = before_grant(site, "Start Virtual Machine", take_it_away)
    metadata = metadata_of(await site.succeed(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB)))
    found: Any = (await site.objects())[WEB]
    assert chosen
    assert found.server not in ("", chosen[0])
    assert metadata.replans == 1
    assert [each.round for each in asked] == [0, 1]
    assert {wish.object for wish in asked[1].locks} >= {found.server, WEB}
    assert chosen[0] not in {wish.object for wish in asked[1].locks}


async def test_a_plan_that_needs_fewer_locks_outlives_its_scheduler(
    furnished: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the locks come into the record, it is asked for fewer than are held, and goes on with those."""
    site, made_again = furnished, asyncio.Event()
    leave = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
        name="serverPools/Finance", server="servers/s1"
    )
    asked = before_grant(site, "Refresh Server", lambda: site.succeed(leave))

    async def never_met(_: Link) -> None:
        made_again.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(Link, "meet", never_met)
        name = (await site.submit(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))).name
        async with asyncio.timeout(LIMIT):
            await made_again.wait()
        await site.close_jobs()
    assert "serverPools/Finance" in {wish.object for wish in asked[0].locks}
    await site.open_jobs()
    ended = await site.wait(name)
    assert not ended.HasField("error"), ended.error
    assert metadata_of(ended).replans == 1
    await site.wait_released()


@pytest.fixture
async def estate(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site whose three servers are discovered and in no pool."""
    async with running_newcomers(tmp_path, *SERVERS) as site:
        yield site


async def join(site: Site, pool: str, server: str) -> None:
    """Add a server to a pool."""
    request = add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name=f"serverPools/{pool}", server=server)
    await site.succeed(request)


async def test_a_pool_that_grew_has_a_job_for_the_new_member(estate: Site) -> None:
    """P4: a server joins before the pool's locks are granted; the new plan lets it leave too, and nothing is left."""
    site = estate
    request = clustered(site)
    request.servers[:] = ["servers/s1", "servers/s2"]
    await site.succeed(request)
    asked = before_grant(site, "Delete Server Pool", lambda: join(site, "Finance", "servers/s3"))
    operation = await site.succeed(delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Finance"))
    assert metadata_of(operation).replans == 1
    left = [job.object for job in await site.jobs_of(operation.name) if job.title == "Leave Cluster"]
    assert left == ["servers/s1", "servers/s2", "servers/s3"]
    assert memberships(site) == []
    assert [each.round for each in asked] == [0, 1]
    new = {wish.object for wish in asked[1].locks} - {wish.object for wish in asked[0].locks}
    assert "servers/s3" in new


async def test_a_server_that_moved_waits_for_the_pool_that_it_is_in_now(estate: Site) -> None:
    """P25: it leaves A for B before the grant, and somebody has B for himself: nothing is done under A's lock alone."""
    site = estate
    for pool, server in (("A", "servers/s1"), ("B", "servers/s2")):
        request = create_server_pool_pb2.CreateServerPoolRequest(
            server_pool_id=pool, server_pool=server_pool_pb2.ServerPool(), servers=[server]
        )
        await site.succeed(request)
    wish = LockWish(object="serverPools/B", mode=LockMode.X, job="")

    async def move_it_and_lock_b() -> None:
        leave = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
            name="serverPools/A", server="servers/s1"
        )
        await site.succeed(leave)
        await join(site, "B", "servers/s1")
        locks = site.jobs.scheduler.world.locks
        other = LockSet(owner="operations/900000", epoch=1, locks=(wish,), purpose="somebody else")
        await locks.acquire(other, lambda _: None)

    asked = before_grant(site, "Refresh Server", move_it_and_lock_b)
    looks = site.faults.done["RefreshHost"]
    name = (await site.submit(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))).name

    async def waits_for_b() -> bool:
        found = await site.jobs.scheduler.world.locks.locks(f'owner = "{name}"')
        return {lock.object for lock in found if lock.granted is None} >= {"serverPools/B"}

    await site.wait_until(waits_for_b)
    assert [each.round for each in asked] == [0, 1]
    assert "serverPools/A" in {each.object for each in asked[0].locks} - {each.object for each in asked[1].locks}
    assert await site.job_states(name) == ["WAITING_FOR_LOCKS"]
    assert site.faults.done["RefreshHost"] == looks, "the host is asked for nothing under the lock of A"
    await site.jobs.scheduler.world.locks.release([Release(owner="operations/900000", epoch=1)])
    assert not (await site.wait(name)).HasField("error")
    assert site.faults.done["RefreshHost"] == looks + 1


async def test_an_etag_that_became_stale_before_the_grant_is_refused(furnished: Site) -> None:
    """The user's etag is compared at the submission, and again under the lock."""
    site = furnished
    found: Any = (await site.objects())[WEB]
    label = labelled(
        virtual_machine_pb2.VirtualMachine,
        update_virtual_machine_pb2.UpdateVirtualMachineRequest,
        "virtual_machine",
        WEB,
        "yes",
    )
    before_grant(site, "Rename Virtual Machine", lambda: site.succeed(label))
    request = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=WEB, display_name="Web", etag=found.etag)
    operation = await site.run(request)
    assert reason_of(operation.error) == "ETAG_MISMATCH"
    assert (await site.job_states(operation.name)) == ["FAILED"]
    now: Any = (await site.objects())[WEB]
    assert now.display_name == found.display_name
    await site.wait_released()


async def test_what_keeps_changing_is_given_up(furnished: Site) -> None:
    """After five new plans the operation ends CONTENDED, having done nothing, and holds nothing."""
    site = furnished

    async def change(count: int) -> None:
        (chosen,) = starting(site).shape.plan.servers
        other = "servers/s2" if chosen == "servers/s1" else "servers/s1"
        await site.succeed(
            labelled(server_pb2.Server, update_server_pb2.UpdateServerRequest, "server", other, str(count))
        )

    views = 0

    async def counted(count: int) -> None:
        nonlocal views
        views = count
        await change(count)

    # The servers that it reads and does not choose are not locked: they may change while it holds its locks.
    before_grant(site, "Start Virtual Machine", lambda: change(0))
    with after_each_view(site, counted):
        operation = await site.run(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB))
    assert reason_of(operation.error) == "CONTENDED"
    assert metadata_of(operation).replans == MOST_REPLANS == views
    assert metadata_of(operation).state == operation_pb2.OPERATION_STATE_FAILED
    found: Any = (await site.objects())[WEB]
    assert found.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    assert not site.faults.done["StartGuest"]
    await site.wait_released()
    assert (await state_of(site))["files"] == site.files()
