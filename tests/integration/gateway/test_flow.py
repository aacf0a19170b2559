"""Readers that leave or never read: nothing goes on for them, nothing grows, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.browser import Browser
from tests.integration.gateway.conftest import GATEWAY, INVENTORY
from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.gateway.main import open_gateway
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import Call
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service

SERVICE = inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"]
FRAME_BYTES = 10_000
WATCH_ALL = pb.WatchRequest(
    subscriptions=[pb.Subscription(id=name, objects=inventory_service_pb2.WatchObjectsRequest()) for name in "abc"]
)
WATCHES = [
    (f"/{INVENTORY}/WatchObjects", inventory_service_pb2.WatchObjectsRequest()),
    (f"/{GATEWAY}/Watch", WATCH_ALL),
]


class Flood:
    """Stands for the inventory: it never lacks news, and never waits for anything before it has the next."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.told = 0
        self.open = 0

    async def WatchObjects(self, request: Any, call: Call) -> AsyncIterator[bytes]:  # noqa: N802 - an rpc
        """Tell without end."""
        self.open += 1
        try:
            while True:
                self.told += 1
                kind = FrameKind.FRAME_KIND_CHANGED
                frame = inventory_service_pb2.WatchObjectsResponse(kind=kind, resume_token=str(self.told))
                frame.name = "x" * FRAME_BYTES
                yield frame.SerializeToString()
        finally:
            self.open -= 1

    async def ListServers(self, request: Any, call: Call) -> bytes:  # noqa: N802 - an rpc
        """Answer at once."""
        return b""


@pytest.fixture
async def flooded(tmp_path: Path) -> AsyncIterator[tuple[Flood, Browser]]:
    """A gateway before it, and a program that may read."""
    flood = Flood()
    authority = Authority.create(tmp_path / "pki", "virtyard.test")
    credentials = Credentials.load(authority.issue("service/gateway", tmp_path / "gateway"))
    async with AsyncExitStack() as stack:
        near = LocalChannel([Service(SERVICE, flood)], Principal.of("service/gateway"))
        await stack.enter_async_context(near)
        opened = open_gateway(tmp_path / "state", SystemClock(), {"inventory": near}, credentials)
        gateway = await stack.enter_async_context(opened)
        address = await stack.enter_async_context(gateway.front_door("127.0.0.1:0", grace=1.0))
        reader = Principal(kind="user", name="jo", roles=frozenset({int(Role.ROLE_VIEWER)}))
        secret, _ = gateway.sessions.make_link(reader)
        opening = await Browser(address=address).send("GET", f"/?token={secret}")
        cookie = opening.headers["set-cookie"].partition(";")[0]
        yield flood, Browser(address=address, headers={"cookie": cookie, "origin": f"http://{address}"})


@pytest.mark.parametrize(("path", "request_"), WATCHES, ids=["one watch", "many"])
@pytest.mark.parametrize("kind", ["application/connect+proto", "application/grpc-web+proto"])
async def test_what_a_browser_asked_for_ends_when_it_leaves(
    flooded: tuple[Flood, Browser], path: str, request_: Any, kind: str
) -> None:
    """Once it has left the services are not asked any more, though they never paused."""
    flood, page = flooded
    async with asyncio.timeout(60), page.stream(path, request_, kind) as envelopes:
        for _ in range(20):
            _ = await anext(envelopes)
        assert flood.open > 0
    left = time.monotonic()
    while flood.open:
        await asyncio.sleep(0.005)
        assert time.monotonic() - left < 15, "it went on for nobody"


@pytest.mark.parametrize(("path", "request_"), WATCHES, ids=["one watch", "many"])
async def test_a_browser_that_never_reads_holds_nothing_up(
    flooded: tuple[Flood, Browser], path: str, request_: Any
) -> None:
    """What is told to it stops at what sockets hold and a few windows, and others are answered meanwhile."""
    flood, page = flooded
    async with asyncio.timeout(60), page.stream(path, request_) as envelopes:
        _ = await anext(envelopes)
        before = -1
        while before != flood.told:
            before = flood.told
            asked = time.monotonic()
            assert (await page.call(f"/{INVENTORY}/ListServers")).status == 200
            assert time.monotonic() - asked < 15
            await asyncio.sleep(0.3)
        assert flood.told * FRAME_BYTES < 16 << 20, "the kernel's buffers for one connection, and the windows"
