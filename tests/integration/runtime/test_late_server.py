# ruff: noqa: N802 - an implementation's methods are named like the rpcs
"""A server whose event loop is late: what waits for it is answered late, and not given up as if nobody wanted it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import grpc
import pytest

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.locks.v1.lock_service_pb2 import (
    ListLocksRequest,
    ListLocksResponse,
    WatchLocksRequest,
    WatchLocksResponse,
)
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.kernel.permissions import Principal
from virtyard.runtime.channel import open_insecure_channel
from virtyard.runtime.channel_options import SERVER_OPTIONS
from virtyard.runtime.rpc import Call, Service
from virtyard.runtime.server import serve

PATIENCE = "grpc.server_max_unrequested_time_in_server"
ADMINISTRATOR = Principal(kind="user", name="admin", roles=frozenset({3}))
LATE_SECONDS = 2.0
LIMIT = 30.0


class Locks:
    """Answers at once."""

    async def ListLocks(self, request: ListLocksRequest, call: Call) -> ListLocksResponse:
        """Say something."""
        return ListLocksResponse(next_page_token="more")

    async def WatchLocks(self, request: WatchLocksRequest, call: Call) -> AsyncIterator[WatchLocksResponse]:
        """Show something, and end."""
        yield WatchLocksResponse(name="locks/1")


class LateServer:
    """A server with an event loop of its own, which can be kept from turning."""

    def __init__(self) -> None:
        """Serve nothing yet."""
        self.address = ""
        self._serves = threading.Event()
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Serve until told to end."""
        self._loop = asyncio.get_running_loop()
        service = Service(lock_service_pb2.DESCRIPTOR.services_by_name["LockService"], Locks())
        async with serve([service], insecure_principal=ADMINISTRATOR, grace=0.1) as running:
            self.address = running.address
            self._serves.set()
            await self._over.wait()

    def wait_serving(self) -> None:
        """Wait until it serves."""
        assert self._serves.wait(LIMIT)

    def stand_still(self, seconds: float) -> None:
        """Keep the loop from turning for so long, from now on."""
        assert self._loop is not None
        began = threading.Event()

        def stall() -> None:
            began.set()
            threading.Event().wait(seconds)

        self._loop.call_soon_threadsafe(stall)
        assert began.wait(LIMIT)

    def end(self) -> None:
        """Have it end."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)


@contextmanager
def late_server() -> Iterator[LateServer]:
    """Run a server in a thread."""
    late = LateServer()
    thread = threading.Thread(target=lambda: asyncio.run(late.run()))
    thread.start()
    try:
        late.wait_serving()
        yield late
    finally:
        late.end()
        thread.join(LIMIT)


async def ask_while_it_is_late(late: LateServer) -> list[str]:
    """Make calls and watches while the server stands still, and return what came of each."""
    async with open_insecure_channel(late.address) as channel:
        stub = LockServiceStub(channel)
        await stub.ListLocks(ListLocksRequest())

        async def call() -> str:
            try:
                return str((await stub.ListLocks(ListLocksRequest())).next_page_token)
            except grpc.aio.AioRpcError as error:
                return error.code().name

        async def watch() -> str:
            try:
                return " ".join([frame.name async for frame in stub.WatchLocks(WatchLocksRequest())])
            except grpc.aio.AioRpcError as error:
                return error.code().name

        late.stand_still(LATE_SECONDS)
        async with asyncio.timeout(LIMIT):
            return list(await asyncio.gather(*(each() for each in (call, watch) * 4)))


@pytest.mark.parametrize("patience", [1, None])
async def test_a_late_server_answers_late(patience: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our options every call is served; with a patience that is shorter than the delay gRPC cancels what waits."""
    options = dict(SERVER_OPTIONS)
    assert options[PATIENCE] >= 3600, "longer than any event loop is late"
    if patience is not None:
        shorter = tuple({**options, PATIENCE: patience}.items())
        monkeypatch.setattr("virtyard.runtime.server.SERVER_OPTIONS", shorter)
    with late_server() as late:
        came = await ask_while_it_is_late(late)
    if patience is None:
        assert sorted(came) == ["locks/1"] * 4 + ["more"] * 4
    else:
        assert "CANCELLED" in came, "this is what a server did whose loop was late"
