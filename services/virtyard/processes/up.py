"""`virtyard up`: inventory, locks and jobs in one process, each with its database, on one port."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from virtyard.inventory.main import open_inventory
from virtyard.jobs.main import open_jobs
from virtyard.kernel.permissions import Principal
from virtyard.locks.main import open_locks
from virtyard.processes.faults import kill_hook, step_hook
from virtyard.processes.hosting import run_process, say
from virtyard.processes.site import (
    CONTROL_PLANE,
    SERVICES,
    credentials_of,
    default_context,
    local_hosts,
    prepare_authority,
    state_folder,
    write_context,
)
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve


def main(argv: Sequence[str]) -> int:
    """Run inventory, jobs and locks in one process."""
    parser = argparse.ArgumentParser(prog="virtyard up", description=main.__doc__)
    parser.add_argument("--state", type=Path, default=state_folder(), help="folder of databases and certificates")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port; port 0 lets the kernel choose")
    parser.add_argument("--context", type=Path, default=default_context(), help="context file to write")
    parser.add_argument("--pki", type=Path, help="folder of the authority; STATE/pki if not given")
    arguments = parser.parse_args(argv)
    return run_process("up", lambda stop: _up(arguments, stop))


async def _up(arguments: argparse.Namespace, stop: asyncio.Event) -> None:
    pki = arguments.pki or arguments.state / "pki"
    prepare_authority(pki, hosts=local_hosts(arguments.listen))
    credentials = credentials_of(pki, CONTROL_PLANE)
    clock, hook = SystemClock(), kill_hook()
    async with AsyncExitStack() as stack:
        locks = await stack.enter_async_context(open_locks(arguments.state, clock, transition_hook=hook))
        inventory = await stack.enter_async_context(
            open_inventory(
                arguments.state,
                clock,
                await _near(stack, locks.services, "inventory"),
                transition_hook=hook,
                step_hook=step_hook(),
            )
        )
        jobs = await stack.enter_async_context(
            open_jobs(
                arguments.state,
                clock,
                inventory=await _near(stack, inventory.services, "jobs"),
                locks=await _near(stack, locks.services, "jobs"),
                credentials=credentials_of(pki, "service/jobs"),
                transition_hook=hook,
            )
        )
        server = await stack.enter_async_context(
            serve(
                [*inventory.services, *locks.services, *jobs.services],
                arguments.listen,
                credentials,
                feeds=[jobs.feed, inventory.feed, locks.feed],
                on_closing=[jobs.scheduler.stop, inventory.end_streams],
                serving=False,
            )
        )
        await jobs.scheduler.start()
        await server.set_serving(True)
        write_context(arguments.context, dict.fromkeys(SERVICES, server.address), pki)
        say(f"virtyard is up on {server.address}; context {arguments.context}")
        await stop.wait()
        say("virtyard stops; running operations are resumed at the next start")


async def _near(stack: AsyncExitStack, services: Sequence[Service], caller: str) -> LocalChannel:
    """Return a channel to services of this process, for one that calls them by its own name, as over the wire."""
    return await stack.enter_async_context(LocalChannel(services, Principal.of(f"service/{caller}")))
