"""Many users at once: disjoint objects run together, one object by turns, and no reader sees half of anything."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import (
    FULL,
    LIMIT,
    ask,
    create_machine,
    create_pool,
    list_jobs,
    list_objects,
    new_disk,
    prepare,
    run,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import delete_server_pool_pb2, discover_server_pb2, rename_virtual_machine_pb2
from virtyard_client.client import Client

USERS = 20


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with two servers."""
    with open_site("embedded", ("s1", "s2")) as running:
        yield running


@pytest.fixture(autouse=True)
async def pool(site: Site) -> None:
    """The pool and the repository, made once, whichever test of the module comes first."""
    async with site.client() as client:
        if not (site.shared / "shared").exists():
            await prepare(site, client)


def overlap(jobs: list[job_pb2.Job]) -> int:
    """Return how many of the jobs were running at one moment, at most."""
    moments = [(job.start_time.ToNanoseconds(), 1) for job in jobs] + [
        (job.end_time.ToNanoseconds(), -1) for job in jobs
    ]
    return max(itertools.accumulate(step for _, step in sorted(moments)))


async def test_twenty_users_on_disjoint_objects_run_beside_each_other(site: Site) -> None:
    """Proves that operations on different machines of one pool overlap, and that all of them succeed."""
    async with site.client() as client:
        stories = await asyncio.gather(
            *(
                run(client, create_machine(site, f"user{number}", [new_disk(4, allocation=FULL)]))
                for number in range(USERS)
            )
        )
        disks = [
            job
            for story in stories
            for job in await list_jobs(client, story.name)
            if job.title == "Create Virtual Disk"
        ]
        assert len(disks) == USERS
        assert overlap(disks) > 1, "no two disks were ever made at the same time"
        await wait_unlocked(client)


async def test_two_on_one_machine_take_turns_and_the_second_says_for_whom_it_waits(site: Site) -> None:
    """Proves that a second operation on a machine waits, names the first one, and then runs."""
    async with site.client() as client:
        # Servers that stand still hold the first one at its disk for as long as the second one needs to ask.
        with site.paused("s1", "s2"):
            first = await ask(client, create_machine(site, "busy", [new_disk(4)]))
            while not any(vm.name == "virtualMachines/busy" for vm in await list_objects(client, "VirtualMachines")):
                await asyncio.sleep(0.01)
            rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(
                name="virtualMachines/busy", display_name="Idle"
            )
            second = await ask(client, rename)
            said = await waits_for(client, second)
        assert first.name in said
        assert "virtualMachines/busy" in said
        ended = await client.wait(second, timeout=LIMIT)
        assert not ended.error
        (renamed,) = await list_jobs(client, second.name)
        made = await list_jobs(client, first.name)
        assert renamed.start_time.ToNanoseconds() >= max(job.end_time.ToNanoseconds() for job in made)


async def waits_for(client: Client, operation: object) -> str:
    """Return whom an operation says it waits for."""
    async with asyncio.timeout(LIMIT):
        async for _, story in client.watch_operation(operation):
            if story.waiting:
                return story.waiting
    raise AssertionError("it never waited")


async def test_reader_never_sees_half_a_relation(site: Site) -> None:
    """Proves that while pools come and go, every pool lists exactly the servers that name it."""
    async with site.client() as client:
        for name in ("s3", "s4"):
            site.authority.issue(f"agent/{name}", site.folder / "credentials" / name, hosts=["127.0.0.1"])
            site.start(name)
            discovered = server_pb2.Server(agent_address=site.addresses[name])
            await run(client, discover_server_pb2.DiscoverServerRequest(server_id=name, server=discovered))

        async def change() -> None:
            for _ in range(5):
                await run(client, create_pool(site, "half", ["s3", "s4"]))
                await run(client, delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/half"))

        changing = asyncio.ensure_future(change())
        looked = 0
        try:
            while not changing.done():
                # The pool is read between two readings of its servers: what did not change meanwhile must agree.
                before = await members(client)
                pools = {pool.name: list(pool.servers) for pool in await list_objects(client, "ServerPools")}
                if before == await members(client):
                    looked += 1
                    assert sorted(pools.get("serverPools/half", [])) == before
        finally:
            await changing
        assert looked > 5


async def members(client: Client) -> list[str]:
    """Return the servers that name the pool."""
    servers = await list_objects(client, "Servers")
    return sorted(server.name for server in servers if server.server_pool == "serverPools/half")
