"""`python -m tools.operation_costs`: what one operation of each type costs, by its example; prints a table.

Each example of `tests/examples` is run once on a site of its own in this process, with simulated hosts. Counted are its
jobs, its steps, the durable commits of each database while it ran, and the time until its end was shown.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.acceptance.asking import create_pool, create_repository
from tests.examples.contract import Example, load
from tests.integration.jobs.site import Site, running
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2

SERVERS = ("s1", "s2", "s3", "s4")


async def cost(name: str, example: Example, folder: Path) -> str:
    """Run an example and return its row."""
    async with running(folder, *SERVERS) as site:
        stage: Any = site
        stage.shared = site.share
        await furnish(site, stage, example)
        before = site.commits()
        began = time.perf_counter()
        operation = await site.succeed(example.request(stage))
        taken = time.perf_counter() - began
        await site.wait_released()
        spent = {database: count - before[database] for database, count in site.commits().items()}
        jobs = await site.jobs_of(operation.name)
    ledgers = sum(spent[server] for server in SERVERS)
    commits = f"{spent['jobs']} + {spent['locks']} + {spent['inventory']} + {ledgers}"
    steps = sum(len(job.steps) for job in jobs)
    title = name.replace("_", " ").title().replace("Vnic", "VNIC")
    return f"| {title} | {len(jobs)} | {steps} | {commits} | {1000 * taken:.0f} |"


async def furnish(site: Site, stage: Any, example: Example) -> None:
    """Make what the example takes for granted."""
    for name, address in site.addresses.items():
        server = server_pb2.Server(agent_address=address)
        await site.succeed(discover_server_pb2.DiscoverServerRequest(server_id=name, server=server))
    await site.succeed(create_pool(stage, "pool", ["s1", "s2"], clustered=example.clustered))
    await site.succeed(create_repository(stage, "shared"))
    for request in example.prepare(stage):
        await site.succeed(request)
    if example.gone:
        await site.close_agent(example.gone)
        await site.show_offline(example.gone)
    await site.wait_released()


async def main() -> None:
    """Print a row for each example."""
    print("| operation | jobs | steps | commits: jobs + locks + inventory + ledgers | ms |")
    print("|---|---|---|---|---|")
    for name, example in load().items():
        with tempfile.TemporaryDirectory(prefix="virtyard-costs-") as folder:
            print(await cost(name, example, Path(folder)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
