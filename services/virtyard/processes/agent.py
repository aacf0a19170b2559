"""`virtyard agent`: the agent of one physical server, in a process of its own.

It stops on SIGTERM without touching guests; what it was doing is resolved by the next agent on the same state folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from virtyard.agent.actions.catalogue import load
from virtyard.agent.drivers.hypervisor.choice import KINDS
from virtyard.agent.facts import Resources, resources_of_host
from virtyard.agent.inventory_link import InventoryLink
from virtyard.agent.main import Agent, Settings, open_agent
from virtyard.agent.reports import Reporter
from virtyard.kernel.errors import InvalidRequest, WrongState
from virtyard.processes.effect_log import logging_makes
from virtyard.processes.faults import failing, kill_hook
from virtyard.processes.hosting import run_process, say
from virtyard.processes.site import default_context, read_context, state_folder
from virtyard.runtime.channel import open_channel
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.folders import Folders
from virtyard.runtime.pki import Credentials
from virtyard.runtime.server import Server, serve

_INVENTORY = "service/inventory"
_PATIENCE = 2.0


def main(argv: Sequence[str]) -> int:
    """Run the agent of one physical server."""
    parser = argparse.ArgumentParser(prog="virtyard agent", description=main.__doc__)
    parser.add_argument("--name", required=True, help="id of the server, as in the certificate agent/NAME")
    parser.add_argument("--state", type=Path, help="folder of the ledger and of the drivers' records")
    parser.add_argument("--credentials", type=Path, required=True, help="folder of cert.pem, key.pem and ca.pem")
    parser.add_argument("--inventory", default="", help="host:port of the inventory; from the context if not given")
    parser.add_argument("--context", type=Path, default=default_context(), help="context file to read")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port; port 0 takes the last one, or any")
    parser.add_argument("--advertise", default="", help="host:port under which others dial; where it listens if empty")
    parser.add_argument(
        "--storage-root", type=Path, action="append", default=[], help="folder that the agent may use; may be repeated"
    )
    parser.add_argument("--driver", choices=KINDS, default="auto", help="hypervisor driver")
    parser.add_argument("--memory-bytes", type=int, default=0, help="memory for machines; all that there is if 0")
    parser.add_argument("--cpus", type=int, default=0, help="processors for machines; all that there are if 0")
    arguments = parser.parse_args(argv)
    return run_process(f"agent {arguments.name}", lambda stop: _run(arguments, stop))


async def _run(arguments: argparse.Namespace, stop: asyncio.Event) -> None:
    credentials = Credentials.load(arguments.credentials)
    if credentials.identity != f"agent/{arguments.name}":
        raise InvalidRequest.of("--name", f"the certificate is for {credentials.identity}, not for {arguments.name}")
    settings = _settings(arguments)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(
            open_agent(settings, clock, failing(logging_makes(load())), transition_hook=kill_hook(), patience=_PATIENCE)
        )
        server = await stack.enter_async_context(_served(agent, settings.state, arguments.listen, credentials))
        agent.facts.address = arguments.advertise or server.address
        link = InventoryLink(
            lambda: arguments.inventory or read_context(arguments.context).services.get("inventory", ""),
            lambda address: open_channel(address, credentials, _INVENTORY),
        )
        stack.push_async_callback(link.close)
        reporter = Reporter(agent.facts.look, link.send)
        agent.host.hypervisor.on_change(reporter.change)
        await reporter.open()
        stack.push_async_callback(reporter.close)
        facts = await agent.facts.look()
        say(f"virtyard agent {arguments.name} drives {facts.hypervisor}: {facts.hypervisor_reason}")
        say(f"virtyard agent {arguments.name} serves on {server.address}")
        await stop.wait()
        say(f"virtyard agent {arguments.name} stops; its guests run on")


def _settings(arguments: argparse.Namespace) -> Settings:
    state = arguments.state or state_folder() / "agents" / arguments.name
    folders = Folders.find(os.environ, state=state).make()
    present = resources_of_host()
    return Settings(
        server=f"servers/{arguments.name}",
        state=folders.state,
        sockets=folders.runtime,
        storage_roots=tuple(path.absolute() for path in arguments.storage_root),
        driver=arguments.driver,
        resources=Resources(
            memory_bytes=arguments.memory_bytes or present.memory_bytes, cpus=arguments.cpus or present.cpus
        ),
    )


@asynccontextmanager
async def _served(agent: Agent, state: Path, listen: str, credentials: Credentials) -> AsyncIterator[Server]:
    """Serve where it was asked; with port 0 on the port of the last time, so that those who knew it find it again."""
    remembered = state / "port"
    host, _, port = listen.rpartition(":")
    last = remembered.read_text().strip() if port == "0" and remembered.exists() else ""
    async with AsyncExitStack() as stack:
        server = None
        for address in [f"{host}:{last}", listen] if last else [listen]:
            try:
                serving = serve(agent.services, address, credentials, on_closing=[agent.end_streams])
                server = await stack.enter_async_context(serving)
            except WrongState:
                if address == listen:
                    raise
            else:
                break
        assert server is not None, "the last address either serves or raises"
        remembered.write_text(server.address.rpartition(":")[2])
        yield server
