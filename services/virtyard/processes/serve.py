"""`virtyard serve`: one service in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio

from virtyard.inventory.main import open_inventory
from virtyard.jobs.main import open_jobs
from virtyard.kernel.errors import Unavailable
from virtyard.locks.main import open_locks
from virtyard.processes.faults import kill_hook, step_hook
from virtyard.processes.hosting import run_process, say
from virtyard.processes.site import (
    SERVICES,
    credentials_of,
    default_context,
    read_context,
    state_folder,
    write_context,
)
from virtyard.runtime.channel import open_channel
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.feed import Feed
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import OnClosing, Server, serve

_ADDRESS_WAIT, _ADDRESS_PAUSE = 60.0, 0.05


def main(argv: Sequence[str]) -> int:
    """Run one service: inventory, jobs or locks."""
    parser = argparse.ArgumentParser(prog="virtyard serve", description=main.__doc__)
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("--state", type=Path, default=state_folder(), help="folder of the database")
    parser.add_argument("--pki", type=Path, help="folder of the certificates; STATE/pki if not given")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port; port 0 lets the kernel choose")
    parser.add_argument("--inventory", default="", help="host:port of the inventory; from the context if not given")
    parser.add_argument("--locks", default="", help="host:port of the lock service; from the context if not given")
    parser.add_argument("--context", type=Path, default=default_context(), help="context file to read and write")
    arguments = parser.parse_args(argv)
    return run_process(arguments.service, lambda stop: _Process(arguments).run(stop))


class _Process:
    """One service with its port."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._pki: Path = arguments.pki or arguments.state / "pki"
        self._credentials: Credentials = credentials_of(self._pki, f"service/{arguments.service}")

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop."""
        async with AsyncExitStack() as stack:
            starts = {"inventory": self._inventory, "jobs": self._jobs, "locks": self._locks}
            await starts[self._arguments.service](stack)
            await stop.wait()

    async def _locks(self, stack: AsyncExitStack) -> None:
        locks = await stack.enter_async_context(
            open_locks(self._arguments.state, SystemClock(), transition_hook=kill_hook())
        )
        await self._serve(stack, locks.services, locks.feed)

    async def _inventory(self, stack: AsyncExitStack) -> None:
        locks = await self._channel(stack, "locks")
        inventory = await stack.enter_async_context(
            open_inventory(
                self._arguments.state, SystemClock(), locks, transition_hook=kill_hook(), step_hook=step_hook()
            )
        )
        await self._serve(stack, inventory.services, inventory.feed, on_closing=[inventory.end_streams])

    async def _jobs(self, stack: AsyncExitStack) -> None:
        jobs = await stack.enter_async_context(
            open_jobs(
                self._arguments.state,
                SystemClock(),
                inventory=await self._channel(stack, "inventory"),
                locks=await self._channel(stack, "locks"),
                credentials=self._credentials,
                transition_hook=kill_hook(),
            )
        )
        server = await self._serve(stack, jobs.services, jobs.feed, serving=False, on_closing=[jobs.scheduler.stop])
        await jobs.scheduler.start()
        await server.set_serving(True)

    async def _serve(
        self,
        stack: AsyncExitStack,
        services: Sequence[Service],
        feed: Feed,
        *,
        serving: bool = True,
        on_closing: Sequence[OnClosing] = (),
    ) -> Server:
        arguments = self._arguments
        server = await stack.enter_async_context(
            serve(services, arguments.listen, self._credentials, feeds=[feed], serving=serving, on_closing=on_closing)
        )
        write_context(arguments.context, {arguments.service: server.address}, self._pki)
        say(f"virtyard {arguments.service} serves on {server.address}")
        return server

    async def _channel(self, stack: AsyncExitStack, service: str) -> grpc.aio.Channel:
        """Return a channel to another service, whose address is given or will be in the context."""
        address = getattr(self._arguments, service)
        left = _ADDRESS_WAIT
        while not address:
            address = read_context(self._arguments.context).services.get(service, "")
            if not address:
                if left <= 0:
                    raise Unavailable(f"--{service} is not given and {self._arguments.context} does not have it")
                left -= _ADDRESS_PAUSE
                await asyncio.sleep(_ADDRESS_PAUSE)
        channel = open_channel(address, self._credentials, f"service/{service}")
        stack.push_async_callback(channel.close)
        return channel
