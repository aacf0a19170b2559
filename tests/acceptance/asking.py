"""What tests ask a site for, and how they see what came of it: requests, stories, and pictures of the whole site."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from tests.acceptance.site import Site, until
from tools import processes
from virtyard.api.inventory.v1 import (
    heartbeat_device_pb2,
    image_pb2,
    inventory_service_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    vnic_pb2,
)
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.operations.v1 import (
    create_repository_pb2,
    create_server_pool_pb2,
    create_virtual_machine_pb2,
    discover_server_pb2,
    import_image_pb2,
    start_virtual_machine_pb2,
)
from virtyard_client.client import Client
from virtyard_client.story import Story

MIB = 1 << 20
LIMIT = 40.0
"""Seconds in which an operation of a test must end."""
FULL = virtual_disk_pb2.DISK_ALLOCATION_FULL
SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
NOUNS = {
    "Servers": "servers",
    "ServerPools": "server_pools",
    "Clusters": "clusters",
    "HeartbeatDevices": "heartbeat_devices",
    "Repositories": "repositories",
    "VirtualDisks": "virtual_disks",
    "VirtualMachines": "virtual_machines",
    "Vnics": "vnics",
    "Networks": "networks",
    "Images": "images",
    "Triggers": "triggers",
    "Webhooks": "webhooks",
    "Schedules": "schedules",
    "Filters": "filters",
}


def new_disk(size_mib: int = 16, repository: str = "repositories/shared", **fields: Any) -> Any:
    """Return a disk to be made with a machine."""
    return create_virtual_machine_pb2.NewVirtualDisk(repository=repository, size_bytes=size_mib * MIB, **fields)


def disk_file(site: Site, name: str = "debian.raw", content: bytes = b"a disk", size_mib: int = 3) -> str:
    """Return the path of a raw disk image on the shared storage that is to be imported, made if it is not there."""
    path = site.shared / name
    if not path.exists():
        path.write_bytes(content)
        os.truncate(path, size_mib * MIB)
    return str(path)


def iso_file(site: Site, name: str = "installer.iso") -> str:
    """Return the path of an image on the shared storage that begins as an ISO 9660 image does, made if needed."""
    return disk_file(site, name, bytes(0x8001) + b"CD001", 1)


def import_image(
    site: Site, name: str, *, iso: bool = False, path: str = "", **fields: Any
) -> import_image_pb2.ImportImageRequest:
    """Return the request that imports an image from a path on the shared storage, a small one of its own if none."""
    wanted = image_pb2.Image(
        repository="repositories/shared",
        format=image_pb2.IMAGE_FORMAT_ISO if iso else image_pb2.IMAGE_FORMAT_DISK,
    )
    if "upload" not in fields:
        fields["server_path"] = path or (iso_file(site) if iso else disk_file(site))
    return import_image_pb2.ImportImageRequest(**{"image_id": name, "image": wanted, **fields})


def create_machine(
    site: Site,
    name: str,
    disks: Sequence[Any] = (),
    cards: int = 0,
    *,
    pool: str = "serverPools/pool",
    memory_mib: int = 64,
    boot: virtual_machine_pb2.BootSource | None = None,
) -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return the request that makes a machine."""
    kernel, initrd = (str(site.shared / file) for file in ("vmlinuz", "initrd.img"))
    return create_virtual_machine_pb2.CreateVirtualMachineRequest(
        virtual_machine_id=name,
        virtual_machine=virtual_machine_pb2.VirtualMachine(
            server_pool=pool,
            memory_bytes=memory_mib * MIB,
            cpus=1,
            boot=boot or virtual_machine_pb2.BootSource(kernel_path=kernel, initrd_path=initrd),
        ),
        disks=disks,
        vnics=[create_virtual_machine_pb2.NewVnic(network=vnic_pb2.VNIC_NETWORK_USER) for _ in range(cards)],
    )


def start_machine(name: str) -> start_virtual_machine_pb2.StartVirtualMachineRequest:
    """Return the request that starts a machine."""
    return start_virtual_machine_pb2.StartVirtualMachineRequest(name=f"virtualMachines/{name}")


async def ask(client: Client, request: Any) -> Any:
    """Submit a request to the rpc that it belongs to, and return the operation as it was accepted."""
    method = type(request).__name__.removesuffix("Request")
    return await getattr(client.operations, method)(request)


async def run(client: Client, request: Any, *, ended: int = SUCCEEDED) -> Story:
    """Submit a request, wait for its end, which must be the one that is said, and return its story."""
    story = await client.wait(await ask(client, request), timeout=LIMIT)
    assert story.state == ended, (story.state, story.error and story.error.message)
    return story


async def prepare(site: Site, client: Client, *, clustered: bool = False) -> None:
    """Discover every server of the site, and make the pool `pool` of them and the repository `shared`."""
    servers = sorted(name for name in site.addresses if name.startswith("s") and name[1:].isdigit())
    await asyncio.gather(
        *(
            run(
                client,
                discover_server_pb2.DiscoverServerRequest(
                    server_id=server, server=server_pb2.Server(agent_address=site.addresses[server])
                ),
            )
            for server in servers
        )
    )
    await run(client, create_pool(site, "pool", servers, clustered=clustered))
    await run(client, create_repository(site, "shared"))


def create_pool(
    site: Site, name: str, servers: Sequence[str], *, clustered: bool = False
) -> create_server_pool_pb2.CreateServerPoolRequest:
    """Return the request that makes a pool."""
    device = heartbeat_device_pb2.HeartbeatDevice(path=str(site.shared / f"{name}.heartbeat"), io_timeout_seconds=1)
    return create_server_pool_pb2.CreateServerPoolRequest(
        server_pool_id=name,
        server_pool=server_pool_pb2.ServerPool(clustered=clustered),
        servers=[f"servers/{server}" for server in servers],
        heartbeat_device=device if clustered else None,
    )


def create_repository(
    site: Site, name: str, *, path: str = "", pool: str = "serverPools/pool", capacity_mib: int = 0
) -> create_repository_pb2.CreateRepositoryRequest:
    """Return the request that makes a repository, in a folder of its own name if no path is given."""
    return create_repository_pb2.CreateRepositoryRequest(
        repository_id=name,
        repository=repository_pb2.Repository(
            path=path or str(site.shared / name), server_pool=pool, capacity_bytes=capacity_mib * MIB
        ),
    )


# --- looking --------------------------------------------------------------------------------------------------------


async def list_objects(client: Client, noun: str) -> list[Any]:
    """Return all objects of a noun, as `VirtualMachines`."""
    request = getattr(inventory_service_pb2, f"List{noun}Request")(page_size=1000)
    return list(getattr(await getattr(client.inventory, f"List{noun}")(request), NOUNS[noun]))


async def list_locks(client: Client) -> list[lock_service_pb2.Lock]:
    """Return every lock and every waiter."""
    return list((await client.locks.ListLocks(lock_service_pb2.ListLocksRequest(page_size=1000))).locks)


async def list_jobs(client: Client, operation: str) -> list[job_pb2.Job]:
    """Return an operation's jobs in the order of its plan."""
    request = job_service_pb2.ListJobsRequest(filter=f'operation = "{operation}"', page_size=1000)
    jobs = (await client.jobs.ListJobs(request)).jobs
    return sorted(jobs, key=lambda job: int(job.name.rpartition("-")[2]))


async def picture(site: Site, client: Client) -> dict[str, list[str]]:
    """Return what can be seen of the site: objects, locks, files and processes, less what the clock changes."""
    objects = []
    for noun in NOUNS:
        for item in await list_objects(client, noun):
            shown = json_format.MessageToDict(item)
            # A server's etag moves with the reports of its agent, too.
            live = {"observed", "activity", "etag"} if noun == "Servers" else {"activity"}
            objects.append(str({key: value for key, value in shown.items() if key not in live}))
    return {
        "objects": sorted(objects),
        "locks": sorted(str(lock) for lock in await list_locks(client)),
        "files": site.files(),
        "guests": site.guests(),
        "processes": sorted(f"{record.pid} {record.name}" for record, _ in processes.working_in(site.folder)),
    }


async def wait_unlocked(client: Client) -> None:
    """Wait until no operation holds a lock; the release follows the end of an operation at once, not before it."""
    async with asyncio.timeout(10):
        while await list_locks(client):
            await asyncio.sleep(0.01)


async def wait_offline(client: Client, server: str) -> None:
    """Wait until a server has been silent for so long that it is shown as offline: 35 s, and a look of the sweep."""
    request = inventory_service_pb2.GetServerRequest(name=server)
    async with asyncio.timeout(35 + LIMIT):
        while (await client.inventory.GetServer(request)).state != server_pb2.SERVER_STATE_OFFLINE:
            await asyncio.sleep(0.1)


__all__ = [
    "FAILED",
    "FULL",
    "LIMIT",
    "MIB",
    "SUCCEEDED",
    "ask",
    "create_machine",
    "create_pool",
    "create_repository",
    "disk_file",
    "import_image",
    "iso_file",
    "list_jobs",
    "list_locks",
    "list_objects",
    "new_disk",
    "picture",
    "prepare",
    "run",
    "start_machine",
    "until",
    "wait_offline",
    "wait_unlocked",
]
