"""How soon an abort reaches a running action, and how soon that has left (P34), with QEMU.

A stop whose guest does not listen has nothing to undo: from its abort to the end of its operation is how long the abort
takes to the host, and the answer back. An import is aborted in the middle of its copy, which is removed by then.

Usage: python -m tools.bench.aborts CYCLES, prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.acceptance.asking import ask, disk_file, import_image, prepare
from tests.acceptance.site import open_site
from tools.bench.host_events import LIMIT, WEB, start_web
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import stop_virtual_machine_pb2
from virtyard.runtime import loop
from virtyard_client.client import Client

_IMAGE_MIB = 2048


async def abort(client: Client, request: Any) -> float:
    """Submit a request, abort it once an action of it says how far it is, and return how long it took to end, in ms."""
    operation = await ask(client, request)
    async with asyncio.timeout(LIMIT):
        job = await _at_work(client, operation)
    began = time.monotonic()
    await client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job, reason="a measurement"))
    story = await client.wait(operation, timeout=LIMIT)
    if story.state != operation_pb2.OPERATION_STATE_CANCELLED:
        raise RuntimeError(f"{story.name} was not aborted in time")
    return 1000 * (time.monotonic() - began)


async def _at_work(client: Client, operation: Any) -> str:
    """Wait until a running action of an operation tells its progress, and return its job."""
    async for change, _ in client.watch_operation(operation):
        if change.job is not None and any(
            step.state == job_pb2.STEP_STATE_STARTED and step.progress.total_units for step in change.job.steps
        ):
            return str(change.job.name)
    raise RuntimeError(f"{operation.name} has ended before it could be aborted")


async def repeat(kind: str, cycles: int, cycle: Callable[[int], Awaitable[float]]) -> dict[str, float]:
    """Return the median and the 99th percentile of one kind, in milliseconds."""
    took = sorted([await cycle(number) for number in range(cycles)])
    return {
        f"abort_{kind}_p50_ms": took[cycles // 2],
        f"abort_{kind}_p99_ms": took[min(cycles * 99 // 100, cycles - 1)],
    }


async def measure(cycles: int) -> dict[str, float]:
    """Measure both, each so often."""
    with open_site("embedded", ("s1",), driver="qemu") as site:
        async with site.client() as client:
            await prepare(site, client)
            await start_web(client, site)
            stop = stop_virtual_machine_pb2.StopVirtualMachineRequest(name=WEB, grace_seconds=3600)
            found = await repeat("stop", cycles, lambda _: abort(client, stop))
            path = disk_file(site, "large.raw", size_mib=_IMAGE_MIB)
            return found | await repeat(
                "import", cycles, lambda number: abort(client, import_image(site, f"image{number}", path=path))
            )


if __name__ == "__main__":
    print(json.dumps(loop.run(measure(int(sys.argv[1])))))
