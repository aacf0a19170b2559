"""Disks that are slow, a hundred times slower than usual: all goes on, and nobody is taken for lost (R12).

The databases of `jobs`, `locks`, `inventory` and of one host are each on a real file system of its own; see `disks`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import SUCCEEDED, ask, list_objects, run
from tests.acceptance.site import Site
from tests.faults.disk_site import MACHINES, OWNERS, SERVERS, open_disk_site, start
from tests.faults.disks import Disks
from tests.faults.scene import Scene
from tests.invariants.check import lasting_findings
from tests.torture.looks import not_as_acknowledged
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(600)
HELD_UP = 10
"""A disk is slow until it was held up so often."""
ALARMS = {"JOB_STUCK", "JOB_FAILED", "SERVER_DISCONNECTED", "SERVER_OFFLINE", "JOB_DEFERRED"}


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Site, Disks]]:
    """A site in which every service is a process, with disks of their own, and a machine for each server."""
    with open_disk_site() as opened:
        yield opened


def kill(machine: str) -> kill_virtual_machine_pb2.KillVirtualMachineRequest:
    """Return a request to kill a machine."""
    return kill_virtual_machine_pb2.KillVirtualMachineRequest(
        name=f"virtualMachines/{machine}", request_id=str(uuid.uuid4())
    )


async def types_of_events(client: Client, after: str = "") -> tuple[set[str], str]:
    """Return the types of the events that came after one, and the name of the last one."""
    request = inventory_service_pb2.ListEventsRequest(page_size=1000, order_by="create_time")
    events = list((await client.inventory.ListEvents(request)).events)
    names = [event.name for event in events]
    since = events[names.index(after) + 1 :] if after in names else events
    return {event.type for event in since}, names[-1] if names else after


async def come_to_rest(site: Site, client: Client) -> None:
    """See that nothing is lost, doubled, or left behind."""
    await Scene(site, client, SERVERS).wait_unlocked()
    assert await asyncio.to_thread(lasting_findings, site.folder, site.shared, site.effect_log) == []


@pytest.mark.parametrize("owner", OWNERS)
async def test_a_slow_disk_makes_all_slow_and_nobody_lost(owner: str, place: tuple[Site, Disks]) -> None:
    """Every operation succeeds, reads wait for no write, and no alarm is raised."""
    site, disks = place
    async with site.client() as client:
        _, last = await types_of_events(client)
        with disks[owner].slow() as held_up:
            while len(held_up) < HELD_UP:
                async with asyncio.TaskGroup() as group:
                    for machine in MACHINES:
                        group.create_task(start_and_kill(client, machine))
                    assert len(await list_objects(client, "Servers")) == len(SERVERS)
        told, _ = await types_of_events(client, last)
        assert told >= {"MACHINE_STARTED", "MACHINE_STOPPED"}
        assert told & ALARMS == set()
        await come_to_rest(site, client)


async def start_and_kill(client: Client, machine: str) -> None:
    """Start a machine and kill it, each seen through."""
    await run(client, start(machine))
    await run(client, kill(machine))


@pytest.mark.parametrize("owner", OWNERS)
async def test_one_killed_while_its_disk_is_slow_has_all_that_it_acknowledged(
    owner: str, place: tuple[Site, Disks]
) -> None:
    """It is started on the same disk, as slow as before, and goes on from what was durable."""
    site, disks = place
    async with site.client() as client:
        request = start("one")
        with disks[owner].slow():
            accepted = {(await ask(client, request)).name: request.request_id}
            site.kill(owner)
            await asyncio.to_thread(site.start, owner)
            for name in accepted:
                await Scene(site, client, SERVERS).ended(name, SUCCEEDED)
        assert not_as_acknowledged(site, accepted) == []
        await run(client, kill("one"))
        await come_to_rest(site, client)
