"""`make torture MINUTES=30`: many clients on a split site, while its processes are killed, stopped, cut and starved.

It ends with the invariant checker. The exit code is 0 if nothing was found, 1 for a finding, and 2 if faults hit too
little for the run to say anything. The seed is printed, and set by SEED; it fixes what is asked for and which faults
come, not how processes interleave.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import time
from contextlib import AsyncExitStack, suppress

from tests.acceptance.asking import create_pool, create_repository, run
from tests.acceptance.site import Site, open_site
from tests.invariants.check import lasting_findings
from tests.invariants.records import read
from tests.torture.bugs import BUGS, VARIABLE
from tests.torture.chaos import HITS, SILENCE_SECONDS, Chaos
from tests.torture.clients import Tally, TortureClient
from tests.torture.cuts import Wire
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

SERVERS = ("s1", "s2", "s3", "s4")
LOGS = "build/torture-logs"
_QUIET_SECONDS = 180.0


def say(line: str) -> None:
    """Tell whoever runs it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def watch_over(site: Site, stop: asyncio.Event) -> None:
    """Start again whoever has died, a little later."""
    while not stop.is_set():
        for name in (*site.control_plane, *SERVERS):
            if not site.is_alive(name):
                with suppress(AssertionError):  # it was killed again before it served
                    await asyncio.to_thread(site.start, name)
        await asyncio.sleep(0.05)


async def decide(client: Client) -> None:
    """Have every undo tried again that was refused."""
    wanted = job_service_pb2.ListJobsRequest(filter="state = ROLLBACK_FAILED", page_size=1000)
    for job in (await client.jobs.ListJobs(wanted)).jobs:
        if job.state == job_pb2.JOB_STATE_ROLLBACK_FAILED:
            await client.jobs.RetryJob(job_service_pb2.RetryJobRequest(name=job.name))


async def become_quiet(site: Site, client: Client) -> None:
    """Wait until every operation has ended, for as long as that may take; what has not is a finding later."""
    deadline = time.monotonic() + _QUIET_SECONDS
    while time.monotonic() < deadline:
        with suppress(ClientError):
            await decide(client)
        records = await asyncio.to_thread(read, site.folder)
        if len(records.ended) == len(records.operations):
            return
        await asyncio.sleep(0.5)


async def furnish(site: Site, client: Client, wires: dict[str, Wire]) -> None:
    """Make what the examples take for granted."""
    for server, wire in wires.items():
        address = server_pb2.Server(agent_address=wire.address)
        await run(client, discover_server_pb2.DiscoverServerRequest(server_id=server, server=address))
    await run(client, create_pool(site, "pool", ["s1", "s2"], clustered=True))
    await run(client, create_repository(site, "shared"))


async def torture(site: Site, minutes: float, clients: int, seed: int) -> tuple[Chaos, Tally]:
    """Let clients and faults loose on a site, and come back when it is quiet again."""
    rng = random.Random(seed)
    stop, over, tally = asyncio.Event(), asyncio.Event(), Tally()
    async with AsyncExitStack() as stack:
        wires = {server: Wire(site.addresses[server]) for server in SERVERS}
        for wire in wires.values():
            await wire.open()
            stack.push_async_callback(wire.close)
        client = await stack.enter_async_context(site.client())
        await furnish(site, client, wires)
        chaos = Chaos(site, wires, random.Random(rng.getrandbits(64)))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_over(site, over))
            async with asyncio.TaskGroup() as work:
                for _ in range(clients):
                    worker = TortureClient(site, client, random.Random(rng.getrandbits(64)), tally)
                    work.create_task(worker.run(stop))
                harm = [work.create_task(chaos.run(kind, stop)) for kind in chaos.kinds]
                await asyncio.sleep(minutes * 60)
                stop.set()
                await asyncio.wait(harm)
                site.fail_file.unlink(missing_ok=True)
                # Clients that wait for a stuck operation wait for a decision.
                work.create_task(become_quiet(site, client))
            over.set()
    return chaos, tally


def report(site: Site, chaos: Chaos, tally: Tally) -> list[str]:
    """Print what was done and hit, and return what was found."""
    records = read(site.folder)
    say(f"accepted {len(tally.accepted)} operations of {len(tally.by_type)} types; heard: {dict(tally.ends)}")
    say(f"by type: {dict(tally.by_type.most_common())}")
    say(f"refused: {dict(tally.refused.most_common(12))}")
    for kind in chaos.kinds:
        hits = ", ".join(f"{what} {chaos.hits[kind][what]}" for what in HITS)
        say(f"{kind}: {chaos.count[kind]} times; hit {hits}")
    found = lasting_findings(site.folder, site.shared, site.effect_log, patience=30.0)
    known = {f"operations/{number}": request for _, request, number in records.requests}
    for name, request in tally.accepted.items():
        if known.get(name) != request:
            found.append(f"{name} was acknowledged for {request}, and is {known.get(name) or 'not there'}")
    return [*found, *tally.wrong]


def main() -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="put this bug in, to see that it is found")
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    os.environ |= {
        "VIRTYARD_INVENTORY_REPORT_INTERVAL_SECONDS": "1",
        "VIRTYARD_INVENTORY_SILENCE_SECONDS": str(SILENCE_SECONDS),
        VARIABLE: arguments.bug,
    }
    with open_site("split", SERVERS, nursed=True) as site:
        chaos, tally = asyncio.run(torture(site, arguments.minutes, arguments.clients, arguments.seed))
        found = report(site, chaos, tally)
        shutil.rmtree(LOGS, ignore_errors=True)
        shutil.copytree(site.pids, LOGS)
        say(f"the logs of its processes are in {LOGS}")
    for line in found:
        say(f"FOUND {line}")
    void = chaos.void()
    for line in void:
        say(f"void: {line}")
    return 1 if found else 2 if void else 0


if __name__ == "__main__":
    sys.exit(main())
