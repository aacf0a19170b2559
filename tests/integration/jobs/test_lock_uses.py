"""A lock names the job that uses it now, not the one that used it first."""

from __future__ import annotations

from typing import Any

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub


async def users(site: Site) -> dict[str, str]:
    """Return the job that each lock names."""
    stub: Any = LockServiceStub(site._near["locks"])
    return {lock.object: lock.job for lock in (await stub.ListLocks(lock_service_pb2.ListLocksRequest())).locks}


async def test_a_lock_passes_from_job_to_job(site: Site) -> None:
    """While the second disk is made, the locks are at the jobs that came last to each object."""
    gate = Gate()

    async def second_waits(message: Any, context: Any) -> None:
        if site.faults.done["CreateDiskFile"]:
            await gate(message, context)

    site.faults.before["CreateDiskFile"] = second_waits
    name = (await site.submit(machine("web"))).name
    await gate.reached.wait()
    front = f"jobs/{name.partition('/')[2]}"

    async def passed_on() -> bool:
        used = await users(site)
        return (used["virtualMachines/web"], used["repositories/R"]) == (f"{front}-2", f"{front}-5")

    await site.wait_until(passed_on)
    gate.opened.set()
    assert not (await site.wait(name)).HasField("error")
    await site.wait_released()
