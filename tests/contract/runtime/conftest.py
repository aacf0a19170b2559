"""Two ways to call one implementation: in process, and over mutual TLS on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.kernel.permissions import Principal, role_from
from virtyard.runtime.channel import open_channel
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve

Connect = Callable[..., Awaitable[grpc.aio.Channel]]
"""`await connect(implementation, identity, *roles)` returns a channel of that caller to the implementation."""

LOCK_SERVICE = lock_service_pb2.DESCRIPTOR.services_by_name["LockService"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority of the tests."""
    return Authority.create(tmp_path_factory.mktemp("ca"), "virtyard.test")


@pytest.fixture(params=["in process", "over the wire"])
async def connect(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> AsyncIterator[Connect]:
    """Return what connects callers to an implementation of LockService."""
    async with AsyncExitStack() as stack:

        async def local(implementation: object, identity: str, *roles: str) -> grpc.aio.Channel:
            known = frozenset(number for number in map(role_from, roles) if number is not None)
            service = Service(LOCK_SERVICE, implementation)
            return await stack.enter_async_context(LocalChannel([service], Principal.of(identity, known)))

        async def wire(implementation: object, identity: str, *roles: str) -> grpc.aio.Channel:
            own = authority.issue("service/locks", tmp_path / "server")
            server = await stack.enter_async_context(
                serve([Service(LOCK_SERVICE, implementation)], credentials=Credentials.load(own), grace=0.2)
            )
            theirs = authority.issue(identity, tmp_path / identity, roles=roles)
            channel = open_channel(server.address, Credentials.load(theirs), "service/locks")
            return await stack.enter_async_context(channel)

        yield local if request.param == "in process" else wire
