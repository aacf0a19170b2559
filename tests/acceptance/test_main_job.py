"""The main job, embedded and split: the same requests give the same objects, jobs and locks in both shapes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf import json_format

from tests.acceptance.asking import (
    ask,
    create_machine,
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
from virtyard.api.operations.v1 import (
    delete_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    rename_virtual_machine_pb2,
)
from virtyard.kernel.lock_modes import LockMode
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
        held = await _hold_create(site, client)
        await run(client, start_machine("web"))
        assert len(site.guests()) == 1
        running = await _shown(site, client)
        rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest
        await run(client, rename(name="virtualMachines/web", display_name="Web server"))
        await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/web"))
        assert site.guests() == []
        await run(client, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))
        await wait_unlocked(client)
        assert site.images() == []
        jobs = []
        # One job a server, discovered at the same time; the order of the three is nobody's promise.
        for number in range(4, 11):
            jobs += [(job.title, job.object, job.state) for job in await list_jobs(client, f"operations/{number}")]
        return {"held": held, "running": running, "left": await _shown(site, client), "jobs": jobs}


async def _hold_create(site: Site, client: Client) -> list[str]:
    """Create the machine, check its jobs, and return the locks that the operation was seen to hold."""
    operation = await ask(client, create_machine(site, "web", [new_disk(16), new_disk(24)], cards=1))
    held: set[str] = set()
    while not (await client.longrunning.GetOperation(_get(operation.name))).done:
        held |= {
            f"{lock.object} {LockMode(lock.mode).name}"
            for lock in await list_locks(client)
            if lock.owner == operation.name
        }
    story = await client.wait(operation.name, timeout=10)
    assert story.error is None
    assert [job.title for job in await list_jobs(client, operation.name)] == MACHINE_TITLES
    return sorted(held)


def _get(name: str) -> Any:
    from google.longrunning import operations_pb2

    return operations_pb2.GetOperationRequest(name=name)


async def _shown(site: Site, client: Client) -> list[str]:
    """Return every object as text, without what two sites cannot share: uids, times, addresses, folders."""
    shown = []
    for noun in ("ServerPools", "Servers", "Clusters", "Repositories", "VirtualMachines", "VirtualDisks", "Vnics"):
        for item in await list_objects(client, noun):
            fields = json_format.MessageToDict(item)
            for own in ("uid", "etag", "createTime", "updateTime", "observed", "activity", "agentAddress", "hostId"):
                fields.pop(own, None)
            for own in ("serial", "macAddress", "path", "placement", "allocatedBytes"):
                fields.pop(own, None)
            text = re.sub(r"vya-\w+", "FOLDER", str(sorted(fields.items())))
            shown.append(text)
    return shown


async def test_main_job_is_the_same_embedded_and_split() -> None:
    """Objects, jobs and locks do not tell whether the control plane is one process or three from compose.yaml."""
    with open_site("embedded", ("s1", "s2", "s3")) as site:
        embedded = await play(site)
    with open_site("split", ("s1", "s2", "s3")) as site:
        split = await play(site)
    assert split["jobs"] == embedded["jobs"]
    assert split["running"] == embedded["running"]
    assert split["left"] == embedded["left"]
    wanted = {"serverPools/pool IX", "virtualMachines/web X", "virtualDisks/web-disk0 X", "vnics/web-vnic0 X"}
    for held in (embedded["held"], split["held"]):
        assert not held or wanted <= set(held)
