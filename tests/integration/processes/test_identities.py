"""Who calls whom: in the embedded shape every service speaks under its own identity, as it does split (P30)."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from virtyard.api.inventory.v1 import server_pb2, server_pool_pb2
from virtyard.api.operations.v1 import create_server_pool_pb2, discover_server_pb2
from virtyard.kernel import permissions
from virtyard.kernel.permissions import Principal
from virtyard.processes import agent, serve, up
from virtyard.processes.command_line import add_flags, configuration_of
from virtyard.processes.site import SERVICES, prepare_authority, read_context
from virtyard.runtime import rpc
from virtyard.runtime.configuration import Configuration
from virtyard_client.client import Client

Said = set[tuple[str, str]]
AT_LEISURE = {
    (f"service/{name}", "/virtyard.api.inventory.v1.InventoryService/ListEvents")
    for name in ("inventory", "jobs", "locks")
}
"""What each service asks once it has begun, for itself: whether it has told of its database before."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="vyi-", dir="/tmp") as place:
        yield Path(place)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Every (identity, rpc) that anything in this process was asked by, on the wire or beside it."""
    heard: Said = set()
    check = permissions.permit

    def permit(principal: Principal, needed: int, method: str) -> None:
        heard.add((principal.identity, method))
        check(principal, needed, method)

    monkeypatch.setattr(rpc, "permit", permit)
    return heard


def configured(process: str, **flags: object) -> Configuration:
    """Return the configuration of a process from its flags, as its command line makes it."""
    parser = argparse.ArgumentParser()
    add_flags(parser, (process,))
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return configuration_of(process, parser.parse_args(words), "virtyard")


def shared(folder: Path) -> dict[str, object]:
    """Return the flags that every process of a control plane has."""
    places = {"state": folder / "state", "context": folder / "context.json", "pki": folder / "pki"}
    return {**places, "listen": "127.0.0.1:0"}


def embedded(folder: Path) -> list[Callable[[asyncio.Event], Coroutine[Any, Any, None]]]:
    """Return what runs a control plane as one process."""
    settings = configured("up", **shared(folder))
    return [lambda stop: up._up(settings, stop)]


def split(folder: Path) -> list[Callable[[asyncio.Event], Coroutine[Any, Any, None]]]:
    """Return what runs each service of a control plane, as processes of their own would."""
    return [serve._Process(service, configured(service, **shared(folder))).run for service in SERVICES]


async def play(folder: Path, parts: Sequence[Callable[[asyncio.Event], Coroutine[Any, Any, None]]], said: Said) -> None:
    """Run a control plane with an agent, discover that, make a pool, and wait until the agent has reported."""
    stop = asyncio.Event()
    settings = configured(
        "agent",
        name="s1",
        state=folder / "s1",
        credentials=folder / "agent",
        context=folder / "context.json",
        listen="127.0.0.1:0",
        storage_root=folder,
        driver="sim",
        memory_bytes=1 << 30,
        cpus=1,
    )
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part(stop))
        group.create_task(agent._run(settings, stop))
        try:
            while set(read_context(folder / "context.json").services) != set(SERVICES):
                await asyncio.sleep(0.01)
            while not (folder / "s1" / "port").exists():
                await asyncio.sleep(0.01)
            address = f"127.0.0.1:{(folder / 's1' / 'port').read_text()}"
            async with Client.connect(folder / "context.json") as client:
                discover = discover_server_pb2.DiscoverServerRequest(
                    server_id="s1", server=server_pb2.Server(agent_address=address)
                )
                await client.wait(await client.operations.DiscoverServer(discover), timeout=30)
                create = create_server_pool_pb2.CreateServerPoolRequest(
                    server_pool_id="pool", server_pool=server_pool_pb2.ServerPool(), servers=["servers/s1"]
                )
                story = await client.wait(await client.operations.CreateServerPool(create), timeout=30)
                assert story.error is None
            while not (said >= AT_LEISURE and any(method.endswith("/ReportHost") for _, method in said)):
                await asyncio.sleep(0.01)
        finally:
            stop.set()


ONE_FOR_ALL = {
    ("service/jobs", "/virtyard.internal.inventory.v1.ControlService/ReportCertificate"),
    ("service/gateway", "/virtyard.api.inventory.v1.InventoryService/ListEvents"),
}
"""What one process does once: it has one certificate and one clock, and speaks of them as the inventory."""


@pytest.mark.slow
async def test_the_embedded_shape_has_the_identities_of_the_split_one(
    folder: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that each rpc between services, and to the agent, is called by the same identity in both shapes."""
    heard = {}
    for name, parts in (("embedded", embedded), ("split", split)):
        place = folder / name
        monkeypatch.setenv("VIRTYARD_RUNTIME", str(place / "run"))
        monkeypatch.setenv("VIRTYARD_CONFIG", os.devnull)
        prepare_authority(place / "pki").issue("agent/s1", place / "agent", hosts=["127.0.0.1"])
        said.clear()
        await play(place, parts(place), said)
        heard[name] = {(identity, method) for identity, method in said if not identity.startswith("user/")}
    assert heard["embedded"] == heard["split"] - ONE_FOR_ALL
    # They are the same, and they are what each service is expected to say.
    callers: dict[str, set[str]] = {}
    for identity, method in heard["embedded"]:
        callers.setdefault(method.rpartition("/")[2], set()).add(identity)
    # The inventory shows who holds what; the scheduler follows the lock service, too.
    assert "service/inventory" in callers["WatchLocks"]
    assert callers["Acquire"] == callers["View"] == callers["Execute"] == {"service/jobs"}
