"""`virtyard up`: inventory, locks, jobs and the gateway in one process, on one port, and a second one for browsers."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

from virtyard.gateway.main import open_gateway
from virtyard.inventory.main import open_inventory
from virtyard.jobs.main import open_jobs
from virtyard.kernel.permissions import Principal
from virtyard.locks.main import open_locks
from virtyard.processes.certificates import services_watched
from virtyard.processes.clock_watch import clock_watched_here
from virtyard.processes.command_line import add_flags, configuration_of
from virtyard.processes.control_settings import (
    AUDIT_INTERVAL,
    CERTIFICATE_DAYS,
    CONTEXT,
    DOMAIN,
    METRICS,
    PKI,
    STATE,
    STOP_GRACE,
    UP_LISTEN,
    WEB,
)
from virtyard.processes.database_watch import database_watched, inventory_near
from virtyard.processes.faults import process_clock
from virtyard.processes.hosting import measured, run_process, say
from virtyard.processes.options import gateway_options, inventory_options, jobs_options, served, shared_options
from virtyard.processes.site import (
    ADMIN,
    CONTROL_PLANE,
    SERVICES,
    credentials_of,
    local_hosts,
    prepare_authority,
    write_context,
)
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.peer import principal_of_credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve


def main(argv: Sequence[str]) -> int:
    """Run inventory, jobs, locks and the gateway in one process."""
    parser = argparse.ArgumentParser(prog="virtyard up", description=main.__doc__)
    add_flags(parser, ("up",))
    settings = configuration_of("up", parser.parse_args(argv), parser.prog)
    return run_process("up", settings, lambda stop: _up(settings, stop))


async def _up(settings: Configuration, stop: asyncio.Event) -> None:
    pki, state, listen, shown_at = settings[PKI], settings[STATE], settings[UP_LISTEN], settings[METRICS["up"]]
    lifetime = timedelta(days=settings[CERTIFICATE_DAYS])
    prepare_authority(pki, settings[DOMAIN], local_hosts(listen), lifetime=lifetime)
    credentials = credentials_of(pki, CONTROL_PLANE)
    clock, metrics = process_clock(), Metrics()
    shared = shared_options(settings, metrics)
    async with AsyncExitStack() as stack:
        locks = await stack.enter_async_context(open_locks(state, clock, **shared))
        lock_services = served(locks.services, metrics, shown_at)
        inventory = await stack.enter_async_context(
            open_inventory(
                state, clock, await _near(stack, lock_services, "inventory"), **inventory_options(settings), **shared
            )
        )
        inventory_services = served(inventory.services, metrics, shown_at)
        jobs = await stack.enter_async_context(
            open_jobs(
                state,
                clock,
                inventory=await _near(stack, inventory_services, "jobs"),
                locks=await _near(stack, lock_services, "jobs"),
                credentials=credentials_of(pki, "service/jobs"),
                **jobs_options(settings),
                audit_interval=settings[AUDIT_INTERVAL],
                **shared,
            )
        )
        jobs_services = served(jobs.services, metrics, shown_at)
        near = {"inventory": inventory_services, "jobs": jobs_services, "locks": lock_services}
        channels = {name: await _near(stack, services, "gateway") for name, services in near.items()}
        gateway = await stack.enter_async_context(
            open_gateway(state, clock, channels, credentials_of(pki, "service/gateway"), **gateway_options(settings))
        )
        server = await stack.enter_async_context(
            serve(
                [*inventory_services, *lock_services, *jobs_services, *served(gateway.services, metrics, shown_at)],
                listen,
                credentials,
                feeds=[jobs.feed, inventory.feed, locks.feed],
                on_closing=[jobs.scheduler.stop, inventory.end_streams, gateway.end_streams],
                serving=False,
                grace=settings[STOP_GRACE],
            )
        )
        await jobs.scheduler.start()
        if settings[WEB]:
            _ = await stack.enter_async_context(gateway.front_door(settings[WEB], grace=settings[STOP_GRACE]))
        await server.set_serving(True)
        await stack.enter_async_context(services_watched(pki, inventory.services))
        await stack.enter_async_context(clock_watched_here(clock, "up", inventory.services))
        for database in (inventory.database, locks.database, jobs.database):
            reach = inventory_near(inventory.services, database.path.stem)
            await stack.enter_async_context(database_watched(database, clock, server, reach))
        shown = await stack.enter_async_context(measured(metrics, shown_at, "up"))
        write_context(settings[CONTEXT], dict.fromkeys(SERVICES, server.address), pki, {"up": shown})
        if settings[WEB]:
            link = gateway.make_link(principal_of_credentials(credentials_of(pki, ADMIN)))
            say(f"virtyard shows its console, to whoever opens this first: {link}")
        say(f"virtyard is up on {server.address}; context {settings[CONTEXT]}")
        await stop.wait()
        say("virtyard stops; running operations are resumed at the next start")


async def _near(stack: AsyncExitStack, services: Sequence[Service], caller: str) -> LocalChannel:
    """Return a channel to services of this process, for one that calls them by its own name, as over the wire."""
    return await stack.enter_async_context(LocalChannel(services, Principal.of(f"service/{caller}")))
