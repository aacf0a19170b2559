# ruff: noqa: N802 - an implementation's methods are named like the rpcs
"""The server: who is let in, health, reflection, and a stop that tells watchers first."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # has no stubs
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]  # has no stubs

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.locks.v1.lock_service_pb2 import (
    ListLocksRequest,
    ListLocksResponse,
    ReleaseRequest,
    ReleaseResponse,
    WatchLocksRequest,
    WatchLocksResponse,
)
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.kernel.errors import InvalidRequest, Unavailable, WrongState
from virtyard.kernel.permissions import Principal
from virtyard.runtime.channel import open_channel, open_insecure_channel
from virtyard.runtime.database import Database
from virtyard.runtime.entry import Frame
from virtyard.runtime.feed import Feed
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Call, Service
from virtyard.runtime.server import serve
from virtyard.runtime.status import errors_named

LOCK_SERVICE = lock_service_pb2.DESCRIPTOR.services_by_name["LockService"]


def nothing(connection: sqlite3.Connection, topic: str, after: str, sequence: int) -> Iterator[tuple[str, bytes]]:
    """Read an empty snapshot."""
    yield from ()


def build(frame: Frame) -> bytes:
    """Build a frame's message."""
    return WatchLocksResponse(kind=frame.kind, resume_token=frame.token, name=frame.key).SerializeToString()


class Locks:
    """Watches a feed, answers, and changes things slowly."""

    def __init__(self, feed: Feed) -> None:
        """Serve the feed."""
        self.feed = feed
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.done = 0

    async def ListLocks(self, request: ListLocksRequest, call: Call) -> ListLocksResponse:
        """Say who calls."""
        return ListLocksResponse(next_page_token=call.principal.identity)

    async def Release(self, request: ReleaseRequest, call: Call) -> ReleaseResponse:
        """Change something once the gate is open."""
        self.entered.set()
        await self.gate.wait()
        self.done += 1
        return ReleaseResponse()

    async def WatchLocks(self, request: WatchLocksRequest, call: Call) -> AsyncIterator[bytes]:
        """Watch the feed."""
        async for frame in self.feed.watch(("locks",), request.options, nothing):
            yield frame.encoded(build)


class Site:
    """An authority with a running server."""

    def __init__(self, folder: Path, authority: Authority, locks: Locks, database: Database) -> None:
        """Keep what the tests need."""
        self.folder = folder
        self.authority = authority
        self.locks = locks
        self.database = database
        self.credentials = Credentials.load(authority.issue("service/locks", folder / "locks"))
        self.service = Service(LOCK_SERVICE, locks)

    def credentials_of(self, identity: str, authority: Authority | None = None) -> Credentials:
        """Return new credentials of an identity."""
        folder = (authority or self.authority).issue(identity, self.folder / "issued" / identity)
        return Credentials.load(folder)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Return a site with a database and a feed."""
    feed = Feed("locks")
    authority = Authority.create(tmp_path / "ca", "virtyard.test")
    async with await Database.open(tmp_path / "locks.db", None, feed) as database:
        yield Site(tmp_path, authority, Locks(feed), database)


async def test_stop_tells_watchers_and_lets_mutations_end(site: Site) -> None:
    """On stop watchers get GOODBYE and their streams end, a mutation in flight is answered, then the port is closed."""
    feed = site.locks.feed
    async with (
        serve([site.service], credentials=site.credentials, feeds=[feed]) as server,
        open_channel(server.address, site.credentials, "service/locks") as channel,
    ):
        stub = LockServiceStub(channel)
        frames = aiter(stub.WatchLocks(WatchLocksRequest()))
        assert (await anext(frames)).kind == FrameKind.FRAME_KIND_BOOKMARK
        await site.database.write(lambda t: t.append("locks", "servers/a", b""))
        assert (await anext(frames)).name == "servers/a"
        mutation = asyncio.ensure_future(_release(stub))
        await asyncio.wait_for(site.locks.entered.wait(), 5)
        stopping = asyncio.ensure_future(server.stop(grace=5))
        goodbye = await asyncio.wait_for(anext(frames), 5)
        assert goodbye.kind == FrameKind.FRAME_KIND_GOODBYE
        assert goodbye.resume_token == feed.token()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(frames), 5)
        assert not stopping.done()
        site.locks.gate.set()
        await asyncio.wait_for(mutation, 5)
        await asyncio.wait_for(stopping, 5)
        with pytest.raises(Unavailable), errors_named():
            await stub.ListLocks(ListLocksRequest(), timeout=5)
    assert site.locks.done == 1


async def _release(stub: LockServiceStub) -> None:
    await stub.Release(ReleaseRequest(), timeout=10)


async def test_stop_does_not_wait_for_ever(site: Site) -> None:
    """A mutation that hangs is cut after the grace, and its caller is told that the outcome is unknown."""
    async with (
        serve([site.service], credentials=site.credentials) as server,
        open_channel(server.address, site.credentials, "service/locks") as channel,
    ):
        mutation = asyncio.ensure_future(_release(LockServiceStub(channel)))
        await asyncio.wait_for(site.locks.entered.wait(), 5)
        await asyncio.wait_for(server.stop(grace=0.1), 5)
        with pytest.raises(Unavailable), errors_named():
            await mutation
    assert site.locks.done == 0


async def test_callbacks_run_when_the_server_closes(site: Site) -> None:
    """Plain and asynchronous callbacks are called at the stop, in their order."""
    heard: list[str] = []

    async def later() -> None:
        heard.append("asynchronous")

    callbacks = [lambda: heard.append("plain"), later]
    async with serve([site.service], credentials=site.credentials, on_closing=callbacks) as server:
        assert not server.closing.is_set()
    assert heard == ["plain", "asynchronous"]
    assert server.closing.is_set()


async def test_peer_without_a_certificate_is_not_let_in(site: Site) -> None:
    """A client that shows no certificate, or one of another authority, does not reach any method."""
    stranger = Authority.create(site.folder / "other", "virtyard.test")
    foreign = site.credentials_of("user/eve", stranger)
    async with serve([site.service], credentials=site.credentials, grace=0.1) as server:
        naked = grpc.ssl_channel_credentials(site.credentials.authority)
        override = (("grpc.ssl_target_name_override", "virtyard-service-locks"),)
        for credentials in (naked, foreign.for_channel()):
            async with grpc.aio.secure_channel(server.address, credentials, options=override) as channel:
                with pytest.raises(Unavailable), errors_named():
                    await LockServiceStub(channel).ListLocks(ListLocksRequest(), timeout=5)
        async with open_insecure_channel(server.address) as channel:
            with pytest.raises(Unavailable), errors_named():
                await LockServiceStub(channel).ListLocks(ListLocksRequest(), timeout=5)


async def test_client_refuses_a_server_of_another_identity(site: Site) -> None:
    """Who dials the jobs service does not talk to the lock service, although the authority is the same."""
    async with (
        serve([site.service], credentials=site.credentials, grace=0.1) as server,
        open_channel(server.address, site.credentials, "service/jobs") as channel,
    ):
        with pytest.raises(Unavailable), errors_named():
            await LockServiceStub(channel).ListLocks(ListLocksRequest(), timeout=5)


async def test_renewed_certificate_is_served_without_a_restart(site: Site) -> None:
    """A server shows new clients the certificate that was written last."""
    async with serve([site.service], credentials=site.credentials, grace=0.1) as server:
        site.authority.issue("service/locks", site.folder / "locks", hosts=["locks.example"])
        renewed = grpc.ssl_channel_credentials(
            site.credentials.authority, site.credentials.key, site.credentials.certificate
        )
        options = (("grpc.ssl_target_name_override", "locks.example"), ("grpc.use_local_subchannel_pool", 1))
        async with grpc.aio.secure_channel(server.address, renewed, options=options) as channel:
            answer = await LockServiceStub(channel).ListLocks(ListLocksRequest(), timeout=5)
            assert answer.next_page_token == "service/locks"


async def test_health_and_reflection(site: Site) -> None:
    """Health tells whether the process takes work, and reflection lists the services."""
    async with (
        serve([site.service], credentials=site.credentials, serving=False, grace=0.1) as server,
        open_channel(server.address, site.credentials, "service/locks") as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=site.service.name)
        assert (await health.Check(request, timeout=5)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.set_serving(True)
        assert (await health.Check(request, timeout=5)).status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = [answer async for answer in reflection.ServerReflectionInfo(iter([ask]), timeout=5)]
        names = {service.name for service in answers[0].list_services_response.service}
        assert site.service.name in names


async def test_port_is_not_shared(site: Site) -> None:
    """A second server on the same port is refused."""
    async with serve([site.service], credentials=site.credentials, grace=0.1) as server:
        with pytest.raises(WrongState, match="taken"):
            async with serve([site.service], server.address, site.credentials, grace=0.1):
                pass


async def test_port_without_tls_is_for_loopback_only(site: Site) -> None:
    """Without credentials nothing is served that others could reach, and nobody is anybody unless it is said."""
    anybody = Principal.of("service/jobs")
    for address, principal in (("0.0.0.0:0", anybody), ("127.0.0.1:0", None)):
        with pytest.raises(InvalidRequest):
            async with serve([site.service], address, insecure_principal=principal):
                pass
    async with (
        serve([site.service], insecure_principal=anybody, grace=0.1) as server,
        open_insecure_channel(server.address) as channel,
    ):
        answer = await LockServiceStub(channel).ListLocks(ListLocksRequest(), timeout=5)
        assert answer.next_page_token == "service/jobs"


async def test_unix_socket_is_served(site: Site, tmp_path: Path) -> None:
    """A server may listen on a Unix socket, under the same mutual TLS."""
    address = f"unix:{tmp_path}/s"
    async with (
        serve([site.service], address, site.credentials, grace=0.1) as server,
        open_channel(server.address, site.credentials, "service/locks") as channel,
    ):
        assert server.address == address
        await LockServiceStub(channel).ListLocks(ListLocksRequest(), timeout=5)
