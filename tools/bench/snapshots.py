"""Snapshots for a crowd: what it costs the inventory when many subscribers of `WatchObjects` come at once.

An inventory in a process of its own has machines with a disk each. All subscribers begin together, as they do after a
restart, and read from the first frame to the BOOKMARK; ten machines change in each second meanwhile. Noted is the
processor time of the inventory.

Usage: python -m tools.bench.snapshots FOLDER, prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from tools.bench.client import Target
from tools.bench.plain import used
from tools.bench.site import ROOT, environment
from virtyard.api.inventory.v1 import inventory_service_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.inventory.main import open_inventory
from virtyard.inventory.model import FeedWriter, TypedObject
from virtyard.inventory.objects import links_of, write_links, write_row
from virtyard.inventory.publishing import publish
from virtyard.processes.site import prepare_authority
from virtyard.runtime import loop
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.pki import Credentials
from virtyard.runtime.server import serve

MACHINES, READERS = 1000, 200
_CONNECTIONS = 10
_CHANGES = 0.1
_PATIENCE = 300.0
_BOOKMARK = watch_pb2.FRAME_KIND_BOOKMARK
_METHOD = "/virtyard.api.inventory.v1.InventoryService/WatchObjects"


def machine_of(number: int, memory: int = 1 << 28) -> virtual_machine_pb2.VirtualMachine:
    """Return one of the machines, with so many bytes of memory."""
    return virtual_machine_pb2.VirtualMachine(
        name=f"virtualMachines/vm{number:05}",
        uid=f"{number:032x}",
        generation=1,
        display_name=f"machine {number}",
        memory_bytes=memory,
        cpus=2,
        server_pool="serverPools/p",
        boot=virtual_machine_pb2.BootSource(kernel_path="/storage/vmlinuz"),
        state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED,
        labels={"team": "finance", "purpose": "measurement"},
    )


def disk_of(number: int) -> virtual_disk_pb2.VirtualDisk:
    """Return the disk of a machine."""
    return virtual_disk_pb2.VirtualDisk(
        name=f"virtualDisks/vm{number:05}",
        uid=f"{number + 1_000_000:032x}",
        generation=1,
        display_name=f"disk of machine {number}",
        repository="repositories/r",
        virtual_machine=f"virtualMachines/vm{number:05}",
        size_bytes=1 << 30,
    )


def store(transaction: FeedWriter, message: TypedObject) -> None:
    """Write an object and publish it, as an effect does."""
    message.create_time.GetCurrentTime()
    write_row(transaction, message, 1)
    publish(transaction, [message.name])


def fill(transaction: FeedWriter) -> None:
    """Make the machines and their disks."""
    for number in range(MACHINES):
        for message in (machine_of(number), disk_of(number)):
            write_links(transaction, message.name, {}, links_of(message))
            store(transaction, message)


async def run_inventory(folder: Path) -> None:
    """Serve a filled inventory until the pipe is closed; print its address."""
    async with open_inventory(folder / "state", SystemClock()) as inventory:
        await inventory.database.write(fill)
        credentials = Credentials.load(folder / "service" / "jobs")
        async with serve(inventory.services, credentials=credentials, feeds=[inventory.feed]) as server:
            print(server.address, flush=True)
            told = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            turn = 0
            while not (await asyncio.wait({told}, timeout=_CHANGES))[0]:
                turn += 1
                changed = machine_of(turn % MACHINES, (1 << 28) + turn)
                await inventory.database.write(partial(store, message=changed))


async def read_snapshot(watch: Any, request: bytes) -> int:
    """Read up to the BOOKMARK; return how many objects came."""
    objects = 0
    call = watch(request, wait_for_ready=True)
    async for raw in call:
        message = inventory_service_pb2.WatchObjectsResponse.FromString(raw)
        for frame in (message, *message.further):
            if frame.kind == _BOOKMARK:
                call.cancel()
                return objects
            objects += frame.kind == watch_pb2.FRAME_KIND_SNAPSHOT
    raise RuntimeError("the watch has ended")


async def crowd(target: Target, process: int, readers: int) -> dict[str, float]:
    """Have so many subscribers begin at once and read their snapshots."""
    request = inventory_service_pb2.WatchObjectsRequest(options=watch_pb2.WatchOptions(batch=True)).SerializeToString()
    channels = [target.dial() for _ in range(_CONNECTIONS)]
    for channel in channels:
        await channel.channel_ready()
    watches: list[Any] = [channel.unary_stream(_METHOD) for channel in channels]
    began, before = time.perf_counter(), used(process)
    async with asyncio.timeout(_PATIENCE):
        seen = await asyncio.gather(
            *(read_snapshot(watches[number % _CONNECTIONS], request) for number in range(readers))
        )
    found = {"cpu_s": used(process) - before, "s": time.perf_counter() - began}
    # What changes while they read comes as a change instead.
    assert min(seen) > 1.8 * MACHINES, min(seen)
    for channel in channels:
        await channel.close()
    return found


async def measure(folder: Path) -> dict[str, float]:
    """Measure a crowd, and one subscriber alone."""
    prepare_authority(folder, hosts=["127.0.0.1"])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.bench.snapshots", str(folder), "serve"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        target = Target(address, str(folder / "user" / "admin"))
        await crowd(target, process.pid, 1)
        alone = await crowd(target, process.pid, 1)
        many = await crowd(target, process.pid, READERS)
        return {
            "snapshot_alone_cpu_ms": 1000 * alone["cpu_s"],
            "snapshot_in_crowd_cpu_ms": 1000 * many["cpu_s"] / READERS,
            "snapshot_crowd_s": many["s"],
        }
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        loop.run(run_inventory(Path(sys.argv[1])))
    else:
        print(json.dumps(loop.run(measure(Path(sys.argv[1])))))
