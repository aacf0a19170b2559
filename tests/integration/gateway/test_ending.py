"""The end of a grant, taken back or by time: everything that runs under it ends, and what a store has by then stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.fakes.clock import FakeClock
from tests.integration.gateway.browser import Browser
from tests.integration.gateway.conftest import GATEWAY, INVENTORY
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import (
    event_pb2,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    server_pb2,
    virtual_machine_pb2,
)
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.gateway.main import Gateway, open_gateway
from virtyard.gateway.sessions import Ending
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import Call
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve

JO = Principal(kind="user", name="jo", roles=frozenset({int(Role.ROLE_OPERATOR)}))
LIFETIME = timedelta(hours=1)
HELD = inventory_service_pb2.GetServerRequest(name="servers/held")
WATCH = inventory_service_pb2.WatchObjectsRequest()
WORDS = {"revoked": "has been taken back", "expired": "has reached its end"}


class Site:
    """Stands for the inventory and for an agent, and answers when it is let go on."""

    def __init__(self) -> None:
        """Hold every answer."""
        self.agent = ""
        self.go_on = asyncio.Event()
        self.under_way = 0
        self.acknowledged = False

    async def GetServer(self, request: Any, call: Call) -> server_pb2.Server:  # noqa: N802 - an rpc
        """Say where the agent is; hold what is asked of another server."""
        if request.name == HELD.name:
            await self._held()
        return server_pb2.Server(name=request.name, agent_address=self.agent)

    async def GetVirtualMachine(self, request: Any, call: Call) -> virtual_machine_pb2.VirtualMachine:  # noqa: N802
        """Say where the machine runs."""
        return virtual_machine_pb2.VirtualMachine(name=request.name, uid="uid-web", server="servers/s1")

    async def AcknowledgeEvent(self, request: Any, call: Call) -> event_pb2.Event:  # noqa: N802 - an rpc
        """Change something, a while after the call has come."""
        await self._held()
        self.acknowledged = True
        return event_pb2.Event()

    async def WatchObjects(self, request: Any, call: Call) -> AsyncIterator[Any]:  # noqa: N802 - an rpc
        """Send one frame, and another one later."""
        for token in ("first", "second"):
            kind = FrameKind.FRAME_KIND_BOOKMARK
            yield inventory_service_pb2.WatchObjectsResponse(kind=kind, resume_token=token)
            await self._held()

    async def OpenDisplay(self, requests: Any, call: Call) -> AsyncIterator[Any]:  # noqa: N802 - an rpc
        """Show a screen that speaks twice."""
        for word in (b"first", b"second"):
            yield agent_service_pb2.OpenDisplayResponse(data=word)
            await self._held()

    async def _held(self) -> None:
        self.under_way += 1
        try:
            await self.go_on.wait()
        finally:
            self.under_way -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A gateway before the site, with a clock that tests move."""

    site: Site
    gateway: Gateway
    clock: FakeClock
    program: Browser
    channel: grpc.aio.Channel
    bearer: tuple[tuple[str, str], ...]

    async def end(self, how: str) -> None:
        """Have the program's API token end; one that takes back its own is told so all the same."""
        if how == "expired":
            self.clock.advance(LIFETIME.total_seconds())
            return
        (mine,) = (grant.id for grant in self.gateway.sessions.grants_for(JO) if grant.kind == "api")
        assert (await self.program.call(f"/{GATEWAY}/RevokeGrant", {"id": mine})).status == 200


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """The real gateway on a real port, with an API token; an agent under mutual TLS."""
    site, clock = Site(), FakeClock()
    authority = Authority.create(tmp_path / "pki", "virtyard.test")
    credentials = Credentials.load(authority.issue("service/gateway", tmp_path / "gateway"))
    of_agent = Credentials.load(authority.issue("agent/s1", tmp_path / "agent"))
    inventory = Service(inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"], site)
    agent = Service(agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"], site)
    async with AsyncExitStack() as stack:
        site.agent = (await stack.enter_async_context(serve([agent], credentials=of_agent, grace=0.2))).address
        near = await stack.enter_async_context(LocalChannel([inventory], Principal.of("service/gateway")))
        opened = open_gateway(tmp_path / "state", clock, {"inventory": near}, credentials)
        gateway = await stack.enter_async_context(opened)
        address = await stack.enter_async_context(gateway.front_door("127.0.0.1:0", grace=1.0))
        secret, _ = gateway.sessions.make_api_token(JO, "tests", LIFETIME)
        bearer = (("authorization", f"Bearer {secret}"),)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        program = Browser(address=address, headers=dict(bearer))
        yield Front(site=site, gateway=gateway, clock=clock, program=program, channel=channel, bearer=bearer)
        site.go_on.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a program has under way through the gateway, by HTTP and by native gRPC."""

    read: asyncio.Task[Any]
    change: asyncio.Task[Any]
    native_read: Any
    stream: AsyncIterator[tuple[int, bytes]]
    native_stream: Any
    screen: Any


async def start(front: Front, stack: AsyncExitStack) -> Running:
    """Start one of everything, and return when the site has each in hand."""
    stub = inventory_service_pb2_grpc.InventoryServiceStub(front.channel)
    url = f"ws://{front.program.address}/console/web/vnc"
    running = Running(
        read=asyncio.create_task(front.program.call(f"/{INVENTORY}/GetServer", {"name": HELD.name})),
        change=asyncio.create_task(front.program.call(f"/{INVENTORY}/AcknowledgeEvent", {"name": "events/1"})),
        native_read=stub.GetServer(HELD, metadata=front.bearer),
        stream=await stack.enter_async_context(front.program.stream(f"/{INVENTORY}/WatchObjects", WATCH)),
        native_stream=stub.WatchObjects(WATCH, metadata=front.bearer),
        screen=await stack.enter_async_context(connect(url, additional_headers=dict(front.bearer))),
    )
    assert b"first" in (await anext(running.stream))[1]
    assert cast(Any, await running.native_stream.read()).resume_token == "first"
    assert await running.screen.recv() == b"first"
    await until(front.site, 6)
    return running


async def until(site: Site, under_way: int) -> None:
    """Return when the site has so many calls in hand."""
    while site.under_way != under_way:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_everything_under_a_grant_ends_with_it(front: Front, how: str) -> None:
    """Calls and streams are answered UNAUTHENTICATED, a screen is closed; a change that has come to a store is made."""
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        running = await start(front, stack)
        await front.end(how)
        for call in (running.read, running.change):
            answer = await call
            assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
            assert WORDS[how] in answer.json()["message"]
            assert "may have been done" in answer.json()["message"]
        for native in (running.native_read, running.native_stream.read()):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await native
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert WORDS[how] in str(refused.value.details())
        *_, (_, end) = [envelope async for envelope in running.stream]
        assert json.loads(end)["error"]["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed) as closed:
            await running.screen.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, WORDS[how] in closed.value.rcvd.reason) == (1008, True)
        # Everything behind was abandoned but the change, which goes on.
        await until(front.site, 1)
        assert not front.site.acknowledged
        front.site.go_on.set()
        await until(front.site, 0)
        assert front.site.acknowledged


async def test_nothing_else_would_end_it(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the telling of ends switched off all of it goes on, so the test above sees nothing else's work."""
    monkeypatch.setattr(Ending, "end", lambda *_: None)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        running = await start(front, stack)
        await front.end("revoked")
        front.site.go_on.set()
        assert [(await call).status for call in (running.read, running.change)] == [200, 200]
        assert (await running.native_read).name == HELD.name
        assert b"second" in (await anext(running.stream))[1]
        assert cast(Any, await running.native_stream.read()).resume_token == "second"
        assert await running.screen.recv() == b"second"


def test_a_grant_that_ended_while_a_call_came_in_lets_nothing_through() -> None:
    """Between the door and the call a body is read; what asks to be told of the end after it is told at once."""
    ending, heard = Ending(), list[str]()
    ending.end("over")
    with ending.telling(lambda: heard.append("cut")):
        assert heard == ["cut"]
    assert (heard, ending.error.message) == (["cut"], "over")
