"""The main job, embedded and split: the same requests give the same objects, jobs and locks in both shapes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.acceptance.asking import (
    LIMIT,
    NOUNS,
    ask,
    create_machine,
    import_image,
    list_jobs,
    list_locks,
    list_objects,
    new_disk,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import network_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import (
    create_network_pb2,
    delete_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    rename_virtual_machine_pb2,
)
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import kinds
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(180)

MACHINE_TITLES = [
    "Create Virtual Machine",
    "Add Virtual Machine to Server Pool",
    "Create Virtual Disk",
    "Add Virtual Disk to Virtual Machine",
    "Create Virtual Disk",
    "Add Virtual Disk to Virtual Machine",
    "Create VNIC on Virtual Machine",
]


async def play(site: Site) -> dict[str, Any]:
    """Run the main job on a site, and return all that can be compared between two sites."""
    async with site.client() as client:
        await prepare(site, client, clustered=True)
        await run(client, create_network(["servers/s1"]))
        await run(client, import_image(site, "installer", iso=True, server="servers/s1"))
        held = await _hold_create(site, client)
        await run(client, start_machine("web"))
        await wait_unlocked(client)
        await _wait_told(client)
        assert len(site.guests()) == 1
        running = await _shown(client)
        rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest
        await run(client, rename(name="virtualMachines/web", display_name="Web server"))
        await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/web"))
        assert site.guests() == []
        await run(client, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))
        await wait_unlocked(client)
        await _wait_told(client)
        assert site.images() == []
        jobs = {}
        # One job a server, discovered at the same time; the order of the three is nobody's promise.
        for number in range(4, 13):
            jobs[number] = [_plain(job) for job in await list_jobs(client, f"operations/{number}")]
        return {"held": held, "running": running, "left": await _shown(client), "jobs": jobs}


def create_network(servers: list[str]) -> create_network_pb2.CreateNetworkRequest:
    """Return the request for a network, so that there is an object of every kind."""
    return create_network_pb2.CreateNetworkRequest(
        network_id="lan", network=network_pb2.Network(description="of one server"), servers=servers
    )


async def _hold_create(site: Site, client: Client) -> dict[str, Any]:
    """Create the machine, with the agents standing still while its first disk is made; return all that is seen then."""
    servers = ("s1", "s2", "s3")
    with site.paused(*servers):
        operation = await ask(client, create_machine(site, "web", [new_disk(16), new_disk(24)], cards=1))
        async with asyncio.timeout(LIMIT):
            while not _waits_for_host(jobs := await list_jobs(client, operation.name)):
                await asyncio.sleep(0.01)
        assert [job.title for job in jobs] == MACHINE_TITLES
        await _wait_told(client)
        locks = await list_locks(client)
        held = {
            "locks": sorted(str(_plain(lock)) for lock in locks),
            "modes": {f"{lock.object} {LockMode(lock.mode).name}" for lock in locks if lock.owner == operation.name},
            "jobs": [_plain(job) for job in jobs],
            "objects": await _shown(client),
        }
    story = await client.wait(operation.name, timeout=LIMIT)
    assert story.error is None
    return held


async def _wait_told(client: Client) -> None:
    """Wait until every object that is locked says so: it is a projection, and follows the lock service at once."""
    locked = {lock.object for lock in await list_locks(client)}
    async with asyncio.timeout(LIMIT):
        while True:
            objects = [item for noun in NOUNS for item in await list_objects(client, noun)]
            if all(bool(item.activity.locked_by) == (item.name in locked) for item in objects):
                return
            await asyncio.sleep(0.01)


def _waits_for_host(jobs: Sequence[job_pb2.Job]) -> bool:
    """Return whether a step on a host has been started, and everything before it is done."""
    return any(
        step.state == job_pb2.STEP_STATE_STARTED and step.participant != "inventory"
        for job in jobs
        for step in job.steps
    )


OWN = {
    *("uid", "etag", "serial", "macAddress", "hostId", "agentAddress", "fencingToken", "observed", "placement"),
    *("totalBytes", "freeBytes"),
    *(
        "createTime",
        "updateTime",
        "requestTime",
        "sinceTime",
        "grantTime",
        "lockRequestTime",
        "lockGrantTime",
        "startTime",
        "endTime",
        "expectedEndTime",
        "time",
    ),
}
"""What two sites cannot share: ids made by chance, times, addresses, numbers of grants, and the room on the disk."""


def _plain(message: Message) -> Any:
    """Return a message as plain values, without what two sites cannot share."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: without(item) for key, item in sorted(value.items()) if key not in OWN}
            # Which server writes or erases a disk is chosen by the disk's uid; where a machine runs is compared above.
            on_host = kept.get("participant", "inventory") != "inventory"
            return kept | {"participant": "a server"} if on_host else kept
        if isinstance(value, list):
            return [without(item) for item in value]
        if isinstance(value, str):
            for made_by_chance in (r"vya-\w+", r"\bvy[0-9a-f]{10}\b", r"\b[0-9a-f]{32}\b"):
                value = re.sub(made_by_chance, "CHANCE", value)
            return value
        return value

    return without(json_format.MessageToDict(message))


async def _shown(client: Client) -> dict[str, list[Any]]:
    """Return every object of every kind, with who holds its locks."""
    return {noun: [_plain(item) for item in await list_objects(client, noun)] for noun in NOUNS}


def _differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Yield each place where two plain values differ, with both sides."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            yield from _differences(one.get(key), other.get(key), f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{place}[{number}]")
    elif one != other:
        yield f"{place}: {one!r} and {other!r}"


def test_every_kind_of_object_is_compared() -> None:
    """A kind that is added later is compared too, or this fails."""
    assert set(NOUNS.values()) == {_snake(collection) for collection in kinds()}


def _snake(collection: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", collection).lower()


async def test_main_job_is_the_same_embedded_and_split() -> None:
    """Objects, jobs and locks do not tell whether the control plane is one process or three from compose.yaml."""
    with open_site("embedded", ("s1", "s2", "s3")) as site:
        embedded = await play(site)
    with open_site("split", ("s1", "s2", "s3")) as site:
        split = await play(site)
    assert "\n".join(_differences(split, embedded)) == ""
    # They are the same, and they are not the same nothing.
    wanted = {"serverPools/pool IX", "virtualMachines/web X", "virtualDisks/web-disk0 X", "vnics/web-vnic0 X"}
    assert wanted <= embedded["held"]["modes"]
    none = ("Schedules", "Filters", "Webhooks")
    made = {kind: there for kind, there in embedded["running"].items() if kind not in none}
    assert all(made.values())
    assert [job["title"] for job in embedded["jobs"][8]] == MACHINE_TITLES
