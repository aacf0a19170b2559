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
from collections.abc import Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from tests.acceptance.asking import create_pool, create_repository, run
from tests.acceptance.site import Site, open_site
from tests.invariants.check import lasting_findings
from tests.torture import obedience
from tests.torture.bugs import BUGS, VARIABLE
from tests.torture.chaos import HITS, SILENCE_SECONDS, Chaos
from tests.torture.clients import Tally, TortureClient
from tests.torture.cuts import Wire
from tests.torture.deaths import Watch
from tests.torture.late import Latecomer
from tests.torture.looks import look_for, not_as_acknowledged
from tests.torture.people import decide_for_ever
from tests.torture.residue import not_accepted
from tests.torture.settle import become_quiet, ended_in
from tests.torture.verbs import Meddler
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard_client.client import Client

SERVERS = ("s1", "s2", "s3", "s4")
LINES = (("jobs", "locks"), ("jobs", "inventory"), ("inventory", "locks"))
"""Which service calls which, over a wire that can be cut."""
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


async def furnish(site: Site, client: Client, wires: dict[str, Wire]) -> None:
    """Make what the examples take for granted."""
    for server, wire in wires.items():
        address = server_pb2.Server(agent_address=wire.address)
        await run(client, discover_server_pb2.DiscoverServerRequest(server_id=server, server=address))
    await run(client, create_pool(site, "pool", ["s1", "s2"], clustered=True))
    await run(client, create_repository(site, "shared"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Torture:
    """One run: who takes part in it, and what they count."""

    site: Site
    chaos: Chaos
    watch: Watch
    late: Latecomer
    meddler: Meddler
    tally: Tally
    checked: list[str]
    """What the invariant checker found in the end, while services could still reach each other."""

    def found(self) -> list[str]:
        """Return what was found while it went on."""
        return [*self.tally.wrong, *self.late.wrong, *self.watch.wrong]


def start_again(site: Site, bug: str) -> None:
    """Start every process again, with the bug if there is one, and with wires between services."""
    os.environ[VARIABLE] = bug
    for name in (*site.control_plane, *(SERVERS if bug else ())):
        site.kill(name)
        site.start(name)


async def laid(stack: AsyncExitStack, target: str) -> Wire:
    """Return a wire to an address, which is there until the stack is closed."""
    wire = Wire(target)
    await wire.open()
    stack.push_async_callback(wire.close)
    return wire


async def torture(site: Site, minutes: float, clients: int, seed: int, bug: str) -> Torture:
    """Let clients and faults loose on a site, and come back when it is quiet again, or is known not to become so.

    With a bug it is looked at all the time, and left as it is as soon as something is found.
    """
    rng = random.Random(seed)
    stop, over, tally = asyncio.Event(), asyncio.Event(), Tally()
    async with AsyncExitStack() as stack:
        wires = {server: await laid(stack, site.addresses[server]) for server in SERVERS}
        lines = {ends: await laid(stack, site.addresses[ends[1]]) for ends in LINES}
        site.through.update({ends: wire.address for ends, wire in lines.items()})
        client = await stack.enter_async_context(site.client())
        await furnish(site, client, wires)
        await asyncio.to_thread(start_again, site, bug)
        chaos = Chaos(site, wires, lines, random.Random(rng.getrandbits(64)))
        watch = Watch(site, (*site.control_plane, *SERVERS), chaos.killed, chaos.filled)
        workers = [TortureClient(site, client, random.Random(rng.getrandbits(64)), tally) for _ in range(clients)]
        late = Latecomer(site, SERVERS, random.Random(rng.getrandbits(64)))
        meddler = Meddler(site, client, random.Random(rng.getrandbits(64)))
        run = Torture(site=site, chaos=chaos, watch=watch, late=late, meddler=meddler, tally=tally, checked=[])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch.run(over))
            tasks.create_task(decide_for_ever(client, over, meddler.rng, meddler.decided))
            work = [tasks.create_task(each.run(stop), name=f"client {place}") for place, each in enumerate(workers)]
            harm = [tasks.create_task(chaos.run(kind, stop), name=f"the fault {kind}") for kind in chaos.kinds]
            harm.append(tasks.create_task(late.run(stop), name="the messages that come late"))
            harm += [tasks.create_task(meddler.run(verb, stop), name=f"people's {verb}") for verb in meddler.verbs]
            began = time.monotonic()
            if bug and (early := await look_for(site, tally.accepted, run.found, minutes * 60)):
                say(f"found after {time.monotonic() - began:.0f} s")
                tally.wrong += [line for line in early if line not in run.found()]
                for task in (*harm, *work):
                    task.cancel()
            else:
                await asyncio.sleep(0 if bug else minutes * 60)
                stop.set()
                tally.wrong += await ended_in(harm, _HARM_SECONDS)
                await settle(site, client, tally, work)
            over.set()
        if not (bug and run.found()):  # else it was left as it was, so much is not as it would be in the end
            run.checked.extend(await asyncio.to_thread(check, site))
    return run


def check(site: Site) -> list[str]:
    """Return what is not as it must be, less what people have accepted."""
    found = lasting_findings(site.folder, site.shared, site.effect_log, patience=30.0)
    return not_accepted(found, site.folder)


async def settle(site: Site, client: Client, tally: Tally, work: Collection[asyncio.Task[None]]) -> None:
    """Wait until all that was asked for has ended, and its clients have heard."""
    site.fail_file.unlink(missing_ok=True)
    began = time.monotonic()
    tally.wrong += await become_quiet(site, client, _QUIET_SECONDS)
    tally.wrong += await ended_in(work, _HEAR_SECONDS)
    say(f"it was quiet {time.monotonic() - began:.0f} s after the last fault")


def report(run: Torture, bug: str) -> list[str]:
    """Print what was done and hit, and return what was found."""
    site, chaos, tally = run.site, run.chaos, run.tally
    say(f"accepted {len(tally.accepted)} operations of {len(tally.by_type)} types; heard: {dict(tally.ends)}")
    say(f"by type: {dict(tally.by_type.most_common())}")
    say(f"refused: {dict(tally.refused.most_common(12))}")
    for kind in chaos.kinds:
        hits = ", ".join(f"{what} {chaos.hits[kind][what]}" for what in HITS)
        say(f"{kind}: {chaos.count[kind]} times; hit {hits}")
    people = run.meddler
    for verb in people.verbs:
        say(f"{verb}: obeyed {people.obeyed[verb]} times, {people.beside[verb]} of them beside a running step")
    say(f"decided: {dict(people.decided)}; people refused: {dict(people.refused.most_common(12))}")
    counted = chaos.aim.count + chaos.count + run.late.count
    say(f"moments and more: { {what: count for what, count in counted.items() if what not in chaos.kinds} }")
    for line in run.watch.could_not_start:
        say(line)
    if bug and run.found():
        return run.found()
    return [*run.checked, *not_as_acknowledged(site, tally.accepted), *run.found()]


def main() -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="put this bug in, until it is found")
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    os.environ |= {
        "VIRTYARD_INVENTORY_REPORT_INTERVAL_SECONDS": "1",
        "VIRTYARD_INVENTORY_SILENCE_SECONDS": str(SILENCE_SECONDS),
        VARIABLE: "",
        obedience.VARIABLE: "1",
    }
    with open_site("split", SERVERS, nursed=True) as site:
        run = asyncio.run(torture(site, arguments.minutes, arguments.clients, arguments.seed, arguments.bug))
        found = report(run, arguments.bug)
        logs = f"{LOGS}/{arguments.seed}"
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(site.pids, logs)
        if found:
            # What was found is looked into afterwards, when the site is gone.
            with suppress(OSError):
                shutil.copytree(site.folder / "state", f"{logs}/state")
        say(f"the logs of its processes are in {logs}")
    for line in found:
        say(f"FOUND {line}")
    void = [] if arguments.bug else [*run.chaos.void(), *run.meddler.void()]
    for line in void:
        say(f"void: {line}")
    return 1 if found else 2 if void else 0


if __name__ == "__main__":
    sys.exit(main())
