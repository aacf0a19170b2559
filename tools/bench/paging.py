"""`python -m tools.bench.paging`: what a page costs deep inside long lists; prints a table, writes build/paging.json.

A real machine is made once, its operation and its object are copied until there are enough, and then every page of
both lists is asked for over mutual TLS.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tools.bench import site as sites
from tools.bench.__main__ import furnish
from tools.bench.client import Site as Client
from tools.bench.site import ROOT, Site
from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc, virtual_machine_pb2
from virtyard.api.inventory.v1 import write_objects_pb2 as writes
from virtyard.api.jobs.v1 import job_service_pb2, job_service_pb2_grpc
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.jobs.store import JobStore
from virtyard.kernel.names import wrap
from virtyard.runtime.channel import open_channel
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.database import Database
from virtyard.runtime.pki import Credentials

JOBS, MACHINES = 100_000, 10_000
PAGE, POINTS = 100, 10
RESULT = ROOT / "build" / "paging.json"
_AT_ONCE = 256


async def make_one(folder: Path) -> None:
    """Run a site until one machine of five jobs is made."""
    async with sites.running(folder, split=False) as site:
        await furnish(site)
        client = Client(site.context)
        await client.create_vm(0, disks=1)
        await client.close()


async def in_batches(count: int, work: Callable[[int], Awaitable[object]]) -> None:
    """Do something so many times, many at a time, so that they share commits."""
    for begin in range(0, count, _AT_ONCE):
        await asyncio.gather(*(work(number) for number in range(begin, min(begin + _AT_ONCE, count))))


async def copy_jobs(state: Path) -> None:
    """Copy the last operation with its jobs until there are enough jobs."""
    async with await Database.open(state / "jobs.db", "virtyard.jobs.migrations", None, SystemClock()) as database:
        store = JobStore(database)
        last = (await store.operations_before(1 << 62, 1))[0].number

        async def copy(_: int) -> None:
            await store.insert(await store.get(last), "")

        have = sum((await store.count_jobs()).values())
        each = len((await store.get(last)).shape.jobs)
        await in_batches((JOBS - have + each - 1) // each, copy)
        # They have ended, as the one that they are copies of.
        await database.write(lambda sql: sql.execute("UPDATE operation SET open = 0").close())


async def copy_machines(state: Path) -> None:
    """Copy the machine until there are enough."""
    async with await Database.open(
        state / "inventory.db", "virtyard.inventory.migrations", None, SystemClock()
    ) as database:
        store = SqliteStore(database, SystemClock())
        found: Any = await store.get("virtualMachines/vm0")

        async def copy(number: int) -> None:
            machine = virtual_machine_pb2.VirtualMachine(
                name=f"virtualMachines/copy{number:06}",
                uid=f"{number:032x}",
                display_name=f"copy {number}",
                memory_bytes=found.memory_bytes,
                cpus=found.cpus,
                server_pool=found.server_pool,
                boot=found.boot,
                state=found.state,
            )
            effect = participant.Effect(
                step_key=f"{1_000_000 + number}/1/1",
                phase=participant.PHASE_DO,
                attempt=1,
                epoch=1,
                target=machine.name,
                locks=[lock_pb2.LockToken(object=machine.name, mode=lock_pb2.LOCK_MODE_X, fencing_token=1 << 40)],
            )
            effect.do.Pack(writes.WriteObjects(writes=[writes.ObjectWrite(create=wrap(machine))]))
            outcome = await store.execute([effect])
            assert outcome.records[0].state == participant.EFFECT_STATE_DONE, outcome.records[0]

        await in_batches(MACHINES - 1, copy)


async def read_pages(ask: Callable[[str], Awaitable[Any]]) -> list[float]:
    """Read a list to its end and return how long each page took, in milliseconds."""
    taken, token = [], ""
    while True:
        began = time.perf_counter()
        page = await ask(token)
        taken.append(1000 * (time.perf_counter() - began))
        token = page.next_page_token
        if not token:
            return taken


async def measure(site: Site) -> dict[str, list[float]]:
    """Read the lists twice and return the median time of each tenth of the pages, in milliseconds."""
    credentials = Credentials.load(site.pki / "user" / "admin")
    jobs_channel = open_channel(site.address("jobs"), credentials, "service/jobs")
    inventory_channel = open_channel(site.address("inventory"), credentials, "service/jobs")
    jobs: Any = job_service_pb2_grpc.JobServiceStub(jobs_channel)
    inventory: Any = inventory_service_pb2_grpc.InventoryServiceStub(inventory_channel)
    lists: dict[str, Callable[[str], Awaitable[Any]]] = {
        "jobs": lambda token: jobs.ListJobs(job_service_pb2.ListJobsRequest(page_size=PAGE, page_token=token)),
        "jobs by state": lambda token: jobs.ListJobs(
            job_service_pb2.ListJobsRequest(page_size=PAGE, page_token=token, filter="state = COMPLETED")
        ),
        "machines": lambda token: inventory.ListVirtualMachines(
            inventory_service_pb2.ListVirtualMachinesRequest(page_size=PAGE, page_token=token)
        ),
    }
    found = {}
    for name, ask in lists.items():
        await read_pages(ask)
        taken = await read_pages(ask)
        tenth = len(taken) / POINTS
        parts = [taken[round(tenth * point) : round(tenth * (point + 1))] for point in range(POINTS)]
        found[name] = [round(statistics.median(part), 2) for part in parts]
    await jobs_channel.close()
    await inventory_channel.close()
    return found


async def main() -> None:
    """Fill, read, and print."""
    RESULT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="paging-", dir=RESULT.parent) as folder:
        place = Path(folder)
        await make_one(place)
        await copy_jobs(place / "state")
        await copy_machines(place / "state")
        async with sites.running(place, split=False) as site:
            found = await measure(site)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(f"milliseconds for a page of {PAGE}, by tenths of the list ({JOBS:,} jobs, {MACHINES:,} machines)")
    for name, parts in found.items():
        print(f"{name:16}", *(f"{part:6.1f}" for part in parts))


if __name__ == "__main__":
    asyncio.run(main())
