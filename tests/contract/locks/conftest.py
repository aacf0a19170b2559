"""A lock service that is called in process and over mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from tests.fakes.clock import FakeClock
from virtyard.kernel.permissions import Principal, role_from
from virtyard.locks.main import open_locks
from virtyard.locks.proxy import LocksProxy
from virtyard.runtime.channel import open_channel
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.server import serve


class Site:
    """A running lock service and the ways to reach it."""

    def __init__(self, folder: Path, stack: AsyncExitStack, authority: Authority | None) -> None:
        """Serve from a folder; over the wire if there is an authority."""
        self._folder = folder
        self._stack = stack
        self._authority = authority
        self.address = ""

    async def start(self) -> None:
        """Start the service."""
        self.locks = await self._stack.enter_async_context(
            open_locks(self._folder / "state", FakeClock(), place_interval=0.0)
        )
        if self._authority is not None:
            own = self._authority.issue("service/locks", self._folder / "server")
            server = await self._stack.enter_async_context(
                serve(self.locks.services, credentials=Credentials.load(own), feeds=[self.locks.feed], grace=0.2)
            )
            self.address = server.address

    async def dial(self, identity: str = "service/jobs", *roles: str) -> grpc.aio.Channel:
        """Return a channel of this caller."""
        if self._authority is None:
            known = frozenset(number for number in map(role_from, roles) if number is not None)
            local = LocalChannel(self.locks.services, Principal.of(identity, known))
            return await self._stack.enter_async_context(local)
        theirs = self._authority.issue(identity, self._folder / identity, roles=roles)
        channel = open_channel(self.address, Credentials.load(theirs), "service/locks")
        return await self._stack.enter_async_context(channel)

    async def proxy(self) -> LocksProxy:
        """Return another proxy of the job scheduler."""
        return await self._stack.enter_async_context(LocksProxy(await self.dial(), first_pause=0.01))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority of the tests."""
    return Authority.create(tmp_path_factory.mktemp("ca"), "virtyard.test")


@pytest.fixture(params=["in process", "over the wire"])
async def site(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> AsyncIterator[Site]:
    """Run a lock service."""
    async with AsyncExitStack() as stack:
        site = Site(tmp_path, stack, authority if request.param == "over the wire" else None)
        await site.start()
        yield site


@pytest.fixture
async def proxy(site: Site) -> LocksProxy:
    """Return a proxy of the job scheduler."""
    return await site.proxy()
