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
from contextlib import AsyncExitStack

from tests.acceptance.asking import create_pool, create_repository, run
from tests.acceptance.site import Site, open_site
from tests.invariants.check import lasting_findings
from tests.invariants.records import read
from tests.torture import obedience
from tests.torture.bugs import BUGS, VARIABLE
from tests.torture.chaos import HITS, SILENCE_SECONDS, Chaos
from tests.torture.clients import Tally, TortureClient
from tests.torture.cuts import Wire
from tests.torture.people import decide_for_ever
from tests.torture.settle import become_quiet, ended_in
from tools import processes
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard_client.client import Client

SERVERS = ("s1", "s2", "s3", "s4")
LOGS = "build/torture-logs"
_HARM_SECONDS = 60.0
"""After so long no fault is under way any more."""
_QUIET_SECONDS = 180.0
"""So long after the last fault, every operation has ended."""
_HEAR_SECONDS = 60.0
"""So long after the end of an operation, whoever waits for it has heard."""


def say(line: str) -> None:
    """Tell whoever runs it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def watch_over(site: Site, chaos: Chaos, over: asyncio.Event) -> None:
    """Start again whoever has died, a little later; who died by itself is counted."""
    while not over.is_set():
        for name in (*site.control_plane, *SERVERS):
            record = site.record(name)
            if not processes.is_alive(record):
                chaos.count[f"{name} ended by itself"] += record.pid not in chaos.killed
                await asyncio.to_thread(site.start, name, wait=False)
        await asyncio.sleep(0.05)


async def furnish(site: Site, client: Client, wires: dict[str, Wire]) -> None:
    """Make what the examples take for granted."""
    for server, wire in wires.items():
        address = server_pb2.Server(agent_address=wire.address)
        await run(client, discover_server_pb2.DiscoverServerRequest(server_id=server, server=address))
    await run(client, create_pool(site, "pool", ["s1", "s2"], clustered=True))
    await run(client, create_repository(site, "shared"))


async def torture(site: Site, minutes: float, clients: int, seed: int) -> tuple[Chaos, Tally]:
    """Let clients and faults loose on a site, and come back when it is quiet again, or is known not to become so."""
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
            tasks.create_task(watch_over(site, chaos, over))
            tasks.create_task(decide_for_ever(client, over))
            work = []
            for number in range(clients):
                worker = TortureClient(site, client, random.Random(rng.getrandbits(64)), tally)
                work.append(tasks.create_task(worker.run(stop), name=f"client {number}"))
            harm = [tasks.create_task(chaos.run(kind, stop), name=f"the fault {kind}") for kind in chaos.kinds]
            await asyncio.sleep(minutes * 60)
            stop.set()
            tally.wrong += await ended_in(harm, _HARM_SECONDS)
            site.fail_file.unlink(missing_ok=True)
            began = time.monotonic()
            tally.wrong += await become_quiet(site, client, _QUIET_SECONDS)
            tally.wrong += await ended_in(work, _HEAR_SECONDS)
            say(f"it was quiet {time.monotonic() - began:.0f} s after the last fault")
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
    others = {what: count for what, count in (chaos.aim.count + chaos.count).items() if what not in chaos.kinds}
    say(f"moments and more: {others}")
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
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="put this bug in, to see that it is found")
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    os.environ |= {
        "VIRTYARD_INVENTORY_REPORT_INTERVAL_SECONDS": "1",
        "VIRTYARD_INVENTORY_SILENCE_SECONDS": str(SILENCE_SECONDS),
        VARIABLE: arguments.bug,
        obedience.VARIABLE: "1",
    }
    with open_site("split", SERVERS, nursed=True) as site:
        chaos, tally = asyncio.run(torture(site, arguments.minutes, arguments.clients, arguments.seed))
        found = report(site, chaos, tally)
        logs = f"{LOGS}/{arguments.seed}"
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(site.pids, logs)
        say(f"the logs of its processes are in {logs}")
    for line in found:
        say(f"FOUND {line}")
    void = chaos.void()
    for line in void:
        say(f"void: {line}")
    return 1 if found else 2 if void else 0


if __name__ == "__main__":
    sys.exit(main())
