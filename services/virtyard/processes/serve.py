"""`virtyard serve`: one service in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import grpc.aio

from virtyard.gateway.main import open_gateway
from virtyard.inventory.main import open_inventory
from virtyard.jobs.main import open_jobs
from virtyard.kernel.errors import Unavailable
from virtyard.locks.main import open_locks
from virtyard.processes.certificates import reported_over, services_watched, watched
from virtyard.processes.clock_watch import clock_watched, clock_watched_here, clock_watched_later
from virtyard.processes.command_line import add_flags, configuration_of
from virtyard.processes.control_settings import (
    ADDRESS,
    ADDRESS_WAIT,
    AUDIT_INTERVAL,
    CONTEXT,
    LISTEN,
    METRICS,
    PKI,
    STATE,
    STOP_GRACE,
    WEB,
)
from virtyard.processes.database_watch import database_watched, inventory_near
from virtyard.processes.faults import process_clock
from virtyard.processes.hosting import measured, run_process, say
from virtyard.processes.options import gateway_options, inventory_options, jobs_options, served, shared_options
from virtyard.processes.site import KEEPERS, SERVICES, credentials_of, read_context, write_context
from virtyard.runtime.channel import open_channel
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.feed import Feed
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import OnClosing, Server, serve

_ADDRESS_PAUSE = 0.05


def main(argv: Sequence[str]) -> int:
    """Run one service: inventory, jobs, locks or the gateway."""
    parser = argparse.ArgumentParser(prog="virtyard serve", description=main.__doc__)
    parser.add_argument("service", choices=SERVICES)
    add_flags(parser, SERVICES)
    arguments = parser.parse_args(argv)
    settings = configuration_of(arguments.service, arguments, parser.prog)
    return run_process(arguments.service, settings, lambda stop: _Process(arguments.service, settings).run(stop))


class _Process:
    """One service with its port."""

    def __init__(self, service: str, settings: Configuration) -> None:
        self._service = service
        self._settings = settings
        self._shown_at = settings[METRICS[service]]
        self._metrics = Metrics()
        self._clock = process_clock()
        self._shared = shared_options(settings, self._metrics)
        self._credentials: Credentials = credentials_of(settings[PKI], f"service/{service}")

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop."""
        async with AsyncExitStack() as stack:
            starts = {
                "inventory": self._inventory,
                "jobs": self._jobs,
                "locks": self._locks,
                "gateway": self._gateway,
            }
            await starts[self._service](stack)
            await stop.wait()

    async def _locks(self, stack: AsyncExitStack) -> None:
        locks = await stack.enter_async_context(open_locks(self._settings[STATE], self._clock, **self._shared))
        server = await self._serve(stack, locks.services, locks.feed)
        # Beside the service, which itself calls nobody and waits for nobody (P35).
        reach = partial(self._open_channel, "inventory", math.inf)
        await stack.enter_async_context(clock_watched_later(self._clock, "locks", reach))
        await stack.enter_async_context(database_watched(locks.database, self._clock, server, reach))

    async def _inventory(self, stack: AsyncExitStack) -> None:
        locks = await self._channel(stack, "locks")
        options = inventory_options(self._settings)
        inventory = await stack.enter_async_context(
            open_inventory(self._settings[STATE], self._clock, locks, **options, **self._shared)
        )
        closing = [inventory.end_streams]
        server = await self._serve(stack, inventory.services, inventory.feed, on_closing=closing)
        await stack.enter_async_context(services_watched(self._settings[PKI], inventory.services))
        await stack.enter_async_context(clock_watched_here(self._clock, "inventory", inventory.services))
        reach = inventory_near(inventory.services, "inventory")
        await stack.enter_async_context(database_watched(inventory.database, self._clock, server, reach))

    async def _jobs(self, stack: AsyncExitStack) -> None:
        inventory = await self._channel(stack, "inventory")
        jobs = await stack.enter_async_context(
            open_jobs(
                self._settings[STATE],
                self._clock,
                inventory=inventory,
                locks=await self._channel(stack, "locks"),
                credentials=self._credentials,
                **jobs_options(self._settings),
                audit_interval=self._settings[AUDIT_INTERVAL],
                **self._shared,
            )
        )
        server = await self._serve(stack, jobs.services, jobs.feed, serving=False, on_closing=[jobs.scheduler.stop])
        await jobs.scheduler.start()
        await server.set_serving(True)
        await stack.enter_async_context(watched(lambda: [self._credentials.directory], reported_over(inventory)))
        await stack.enter_async_context(clock_watched(self._clock, "jobs", inventory))
        reach = partial(self._open_channel, "inventory", math.inf)
        await stack.enter_async_context(database_watched(jobs.database, self._clock, server, reach))

    async def _gateway(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        channels = {name: await self._channel(stack, name) for name in KEEPERS}
        gateway = await stack.enter_async_context(
            open_gateway(settings[STATE], self._clock, channels, self._credentials, **gateway_options(settings))
        )
        if settings[WEB]:
            address = await stack.enter_async_context(gateway.front_door(settings[WEB], grace=settings[STOP_GRACE]))
            say(f"virtyard gateway shows the console at http://{address}/; `virtyard console` signs you in")
        await self._serve(stack, gateway.services, on_closing=[gateway.end_streams])
        await stack.enter_async_context(clock_watched(self._clock, "gateway", channels["inventory"]))

    async def _serve(
        self,
        stack: AsyncExitStack,
        services: Sequence[Service],
        *feeds: Feed,
        serving: bool = True,
        on_closing: Sequence[OnClosing] = (),
    ) -> Server:
        settings, service = self._settings, self._service
        server = await stack.enter_async_context(
            serve(
                served(services, self._metrics, self._shown_at),
                settings[LISTEN[service]],
                self._credentials,
                feeds=feeds,
                serving=serving,
                on_closing=on_closing,
                grace=settings[STOP_GRACE],
            )
        )
        shown = await stack.enter_async_context(measured(self._metrics, self._shown_at, service))
        write_context(settings[CONTEXT], {service: server.address}, settings[PKI], {service: shown})
        say(f"virtyard {service} serves on {server.address}")
        return server

    async def _channel(self, stack: AsyncExitStack, service: str) -> grpc.aio.Channel:
        """Return a channel to another service, which is closed with the stack."""
        channel = await self._open_channel(service, self._settings[ADDRESS_WAIT])
        stack.push_async_callback(channel.close)
        return channel

    async def _open_channel(self, service: str, left: float) -> grpc.aio.Channel:
        """Return a channel to another service, whose address is given or will be in the context in `left` seconds."""
        address, context = self._settings[ADDRESS[service]], self._settings[CONTEXT]
        while not address:
            address = read_context(context).services.get(service, "")
            if not address:
                if left <= 0:
                    raise Unavailable(f"--{service} is not given and {context} does not have it")
                left -= _ADDRESS_PAUSE
                await asyncio.sleep(_ADDRESS_PAUSE)
        return open_channel(address, self._credentials, f"service/{service}")
