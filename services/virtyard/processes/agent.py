"""`virtyard agent`: the agent of one physical server, in a process of its own.

It stops on SIGTERM without touching guests; what it was doing is resolved by the next agent on the same state folder.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from virtyard.agent.actions.catalogue import load
from virtyard.agent.actions.contract import Lane
from virtyard.agent.contact import Contact
from virtyard.agent.facts import Resources, resources_of_host
from virtyard.agent.host_clock import HostClock
from virtyard.agent.inventory_link import InventoryLink
from virtyard.agent.main import Agent, Settings, open_agent
from virtyard.agent.reports import Reporter
from virtyard.kernel.errors import InvalidRequest, WrongState
from virtyard.processes.agent_settings import (
    ADVERTISE,
    AGENT_LISTEN,
    AGENT_NAME,
    AGENT_STATE,
    CPUS,
    CREDENTIALS,
    DRIVER,
    HYPERVISOR_ACTIONS,
    MEMORY,
    RUNTIME,
    STOP_PATIENCE,
    STORAGE_ACTIONS,
    STORAGE_ROOTS,
    WATCHDOG,
)
from virtyard.processes.certificates import certificate_request, watched
from virtyard.processes.command_line import add_flags, configuration_of
from virtyard.processes.control_settings import CONTEXT, INVENTORY_ADDRESS, METRICS, STOP_GRACE
from virtyard.processes.effect_log import logging_makes
from virtyard.processes.faults import failing, kill_hook, process_clock
from virtyard.processes.hosting import measured, run_process, say
from virtyard.processes.options import served
from virtyard.processes.site import read_context
from virtyard.runtime.channel import open_channel
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.folders import Folders
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import Server, serve

_INVENTORY = "service/inventory"


def main(argv: Sequence[str]) -> int:
    """Run the agent of one physical server."""
    parser = argparse.ArgumentParser(prog="virtyard agent", description=main.__doc__)
    add_flags(parser, ("agent",))
    settings = configuration_of("agent", parser.parse_args(argv), parser.prog)
    return run_process(f"agent {settings[AGENT_NAME]}", settings, lambda stop: _run(settings, stop))


async def _run(settings: Configuration, stop: asyncio.Event) -> None:
    name, metrics, shown_at = settings[AGENT_NAME], Metrics(), settings[METRICS["agent"]]
    credentials = Credentials.load(settings[CREDENTIALS])
    if credentials.identity != f"agent/{name}":
        raise InvalidRequest.of(AGENT_NAME.name, f"the certificate is for {credentials.identity}, not for {name}")
    told, clock = _settings(settings), process_clock()
    async with AsyncExitStack() as stack:
        link = InventoryLink(
            lambda: settings[INVENTORY_ADDRESS] or read_context(settings[CONTEXT]).services.get("inventory", ""),
            lambda address: open_channel(address, credentials, _INVENTORY),
        )
        stack.push_async_callback(link.close)
        agent = await stack.enter_async_context(
            open_agent(
                told,
                clock,
                failing(logging_makes(load())),
                read_upload=link.read_upload,
                transition_hook=kill_hook(),
                patience=settings[STOP_PATIENCE],
                metrics=metrics,
            )
        )
        services = served(agent.services, metrics, shown_at)
        server = await stack.enter_async_context(_served(agent, services, told.state, settings, credentials))
        agent.facts.address = settings[ADVERTISE] or server.address
        host_clock = HostClock(clock)
        answered = (host_clock.take, agent.watch.expect, agent.spent.take)
        reporter = Reporter(agent.facts.look, link.send, metrics, answered, host_clock.stamp)
        agent.host.hypervisor.on_change(reporter.change)
        agent.watch.on_change(reporter.change)
        await reporter.open()
        stack.push_async_callback(reporter.close)
        contact = Contact(link.keep_contact, reporter.change)
        contact.open()
        stack.push_async_callback(contact.close)
        await stack.enter_async_context(
            watched(
                lambda: [settings[CREDENTIALS]],
                lambda identity, end: link.report_certificate(certificate_request(identity, end)),
            )
        )
        facts = await agent.facts.look()
        await stack.enter_async_context(measured(metrics, shown_at, f"agent {name}"))
        say(f"virtyard agent {name} drives {facts.hypervisor}: {facts.hypervisor_reason}")
        say(f"virtyard agent {name} serves on {server.address}")
        await stop.wait()
        say(f"virtyard agent {name} stops; its guests run on")


def _settings(settings: Configuration) -> Settings:
    folders = Folders(state=settings[AGENT_STATE].absolute(), runtime=settings[RUNTIME].absolute()).make()
    present = resources_of_host()
    return Settings(
        server=f"servers/{settings[AGENT_NAME]}",
        state=folders.state,
        sockets=folders.runtime,
        storage_roots=tuple(path.absolute() for path in settings[STORAGE_ROOTS]),
        driver=settings[DRIVER],
        resources=Resources(memory_bytes=settings[MEMORY] or present.memory_bytes, cpus=settings[CPUS] or present.cpus),
        watchdog=settings[WATCHDOG],
        lanes={Lane.STORAGE: settings[STORAGE_ACTIONS], Lane.HYPERVISOR: settings[HYPERVISOR_ACTIONS]},
    )


@asynccontextmanager
async def _served(
    agent: Agent, services: Sequence[Service], state: Path, settings: Configuration, credentials: Credentials
) -> AsyncIterator[Server]:
    """Serve where it was asked; with port 0 on the port of the last time, so that those who knew it find it again."""
    listen, remembered = settings[AGENT_LISTEN], state / "port"
    host, _, port = listen.rpartition(":")
    last = remembered.read_text().strip() if port == "0" and remembered.exists() else ""
    async with AsyncExitStack() as stack:
        server = None
        for address in [f"{host}:{last}", listen] if last else [listen]:
            try:
                serving = serve(
                    services, address, credentials, on_closing=[agent.end_streams], grace=settings[STOP_GRACE]
                )
                server = await stack.enter_async_context(serving)
            except WrongState:
                if address == listen:
                    raise
            else:
                break
        assert server is not None, "the last address either serves or raises"
        remembered.write_text(server.address.rpartition(":")[2])
        yield server
