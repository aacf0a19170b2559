"""Native gRPC through the gateway: what a client meets is what it meets at the service itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from tests.integration.gateway.conftest import House
from virtyard.api.inventory.v1 import (
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    upload_service_pb2,
    upload_service_pb2_grpc,
)
from virtyard.api.jobs.v1 import job_service_pb2, job_service_pb2_grpc
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.gateway import native
from virtyard.gateway.forward import Forward, forwarded
from virtyard.gateway.public import public_methods, public_services
from virtyard.gateway.sessions import Grant
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import Call
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Credentials, dns_name
from virtyard.runtime.rpc import Service

INVENTORY = inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"]
OPERATOR = frozenset({int(Role.ROLE_OPERATOR)})


def direct(house: House) -> grpc.aio.Channel:
    """Return a channel to the services themselves."""
    credentials = Credentials.load(house.folder / "state" / "pki" / "user" / "admin")
    address = house.client._context.address("inventory")
    options = [("grpc.ssl_target_name_override", dns_name("service/inventory"))]
    return grpc.aio.secure_channel(address, credentials.for_channel(), options=options)


async def ending(call: Any) -> tuple[grpc.StatusCode, str, list[tuple[str, Any]]]:
    """Return how a call that fails has ended: code, words and details."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error = failure.value
    kept = [(key, value) for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]
    return error.code(), str(error.details()), kept


async def test_errors_are_those_of_the_service(house: House) -> None:
    """Code, words and every byte of the details are the same by both ways."""
    requests = [
        ("GetServer", inventory_service_pb2.GetServerRequest(name="servers/none")),
        ("GetServer", inventory_service_pb2.GetServerRequest(name="nonsense")),
        ("ListServers", inventory_service_pb2.ListServersRequest(page_size=-1)),
        ("ListServers", inventory_service_pb2.ListServersRequest(filter="state =")),
        ("ListServers", inventory_service_pb2.ListServersRequest(page_token="nonsense")),
    ]
    async with house.channel() as through, direct(house) as straight:
        for name, request in requests:
            here = getattr(inventory_service_pb2_grpc.InventoryServiceStub(through), name)
            there = getattr(inventory_service_pb2_grpc.InventoryServiceStub(straight), name)
            expected = await ending(there(request))
            assert await ending(here(request, metadata=house.bearer)) == expected
            assert expected[2], "a refusal has details"


async def test_a_stream_of_requests_passes(house: House) -> None:
    """A file is sent in parts, and comes whole."""
    content = bytes(range(256)) * 4096

    async def parts() -> AsyncIterator[upload_service_pb2.UploadRequest]:
        yield upload_service_pb2.UploadRequest(header=upload_service_pb2.UploadHeader(size_bytes=len(content)))
        for place in range(0, len(content), 100_000):
            yield upload_service_pb2.UploadRequest(data=content[place : place + 100_000])

    async with house.channel() as channel:
        stub = upload_service_pb2_grpc.UploadServiceStub(channel)
        answer = await stub.Upload(parts(), metadata=house.bearer)
    assert (answer.size_bytes, answer.sha256) == (len(content), hashlib.sha256(content).hexdigest())


async def test_a_stream_of_answers_passes_and_ends_with_goodbye(house: House) -> None:
    """When the gateway closes, a watch ends with GOODBYE, and its token goes on where it stood."""
    async with house.channel() as channel:
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        frames = []
        async for frame in stub.WatchObjects(inventory_service_pb2.WatchObjectsRequest(), metadata=house.bearer):
            frames.append(frame)
            if frame.kind == FrameKind.FRAME_KIND_BOOKMARK:
                house.gateway.end_streams()
    assert [frame.kind for frame in frames[-2:]] == [FrameKind.FRAME_KIND_BOOKMARK, FrameKind.FRAME_KIND_GOODBYE]
    assert frames[-1].resume_token == frames[-2].resume_token


async def test_a_deadline_goes_on_to_the_service(house: House) -> None:
    """A call that takes longer ends in time, by its code."""
    async with house.channel() as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        call = stub.WatchJobs(job_service_pb2.WatchJobsRequest(), metadata=house.bearer, timeout=0.5)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            async for _ in call:
                pass
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


class Echo:
    """Stands for a service, and says what it was told."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.calls: list[Call] = []
        self.left = asyncio.Event()
        self.handlers: list[asyncio.Task[Any]] = []
        """What answers at the front, a task for each call."""

    async def GetServer(self, request: Any, call: Call) -> bytes:  # noqa: N802 - an rpc
        """Note who calls."""
        self.calls.append(call)
        return b""

    async def GetVnic(self, request: Any, call: Call) -> bytes:  # noqa: N802 - an rpc
        """Answer nobody."""
        self.calls.append(call)
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def WatchObjects(self, request: Any, call: Call) -> AsyncIterator[bytes]:  # noqa: N802 - an rpc
        """Send one frame, and then nothing for as long as anybody listens."""
        self.calls.append(call)
        try:
            yield inventory_service_pb2.WatchObjectsResponse(resume_token="first").SerializeToString()
            await asyncio.get_running_loop().create_future()
        finally:
            self.left.set()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, grpc.aio.Channel]]:
    """A service that says what it was told, behind a native front of its own."""
    service, methods = Echo(), public_methods(public_services())
    person = Principal(kind="user", name="jo", roles=OPERATOR)
    grant = Grant(kind="api", principal=person, expire_time=datetime.max.replace(tzinfo=UTC))

    def granted(_: Any) -> Grant:
        task = asyncio.current_task()
        assert task is not None
        service.handlers.append(task)
        return grant

    server = grpc.aio.server()
    async with LocalChannel([Service(INVENTORY, service)], Principal.of("service/gateway")) as near:
        server.add_generic_rpc_handlers([native.NativeHandler(methods, Forward({"inventory": near}), granted)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield service, channel
        await server.stop(0)


async def test_the_service_is_told_who_asks_and_nothing_else_of_it(echo: tuple[Echo, grpc.aio.Channel]) -> None:
    """The person of the session speaks; metadata goes on, but for secrets and for what would name somebody else."""
    service, channel = echo
    sent = (
        *(("authorization", "Bearer secret"), ("virtyard-user", "mallory"), ("virtyard-roles", "administrator")),
        *(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("mine-bin", b"\0\1")),
    )
    stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
    _ = await stub.GetServer(inventory_service_pb2.GetServerRequest(), metadata=sent, timeout=5)
    (call,) = service.calls
    assert (call.principal.identity, call.principal.roles) == ("user/jo", OPERATOR)
    assert call.metadata["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")  # type: ignore[arg-type]
    assert call.metadata["mine-bin"] == b"\0\1"
    assert "authorization" not in call.metadata
    assert 0 < (call.remaining() or 0) <= 5


async def test_whoever_leaves_is_left(echo: tuple[Echo, grpc.aio.Channel]) -> None:
    """A cancelled watch is cancelled at the service within a second."""
    service, channel = echo
    stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
    call = stub.WatchObjects(inventory_service_pb2.WatchObjectsRequest())
    frame: Any = await call.read()
    assert frame.resume_token == "first"
    call.cancel()
    async with asyncio.timeout(20):
        await service.left.wait()


@pytest.mark.parametrize("kind", ["answer", "stream"])
async def test_a_handler_that_is_cancelled_alone_leaves_nobody_waiting(
    echo: tuple[Echo, grpc.aio.Channel], kind: str
) -> None:
    """A cancellation inside the gateway, of which its caller knows nothing, is told as UNAVAILABLE."""
    service, channel = echo
    stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
    call: Any
    if kind == "answer":
        call = stub.GetVnic(inventory_service_pb2.GetVnicRequest())
    else:
        call = stub.WatchObjects(inventory_service_pb2.WatchObjectsRequest())
        assert (await call.read()).resume_token == "first"
    async with asyncio.timeout(20):
        while not service.calls:
            await asyncio.sleep(0.01)
        service.handlers[0].cancel()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


def test_headers_of_the_hop_do_not_go_on() -> None:
    """What a browser sends for the connection stays; a value that gRPC cannot send does not break the call."""
    browser = [
        *(("Host", "127.0.0.1"), ("Cookie", "x=y"), ("Origin", "http://a"), ("Sec-Fetch-Site", "same-origin")),
        *(("Accept-Encoding", "gzip"), ("Connect-Timeout-Ms", "5"), ("X-Forwarded-For", "1"), ("Content-Type", "a/b")),
        *(("Grpc-Timeout", "5S"), ("Virtyard-User", "root"), ("Te", "trailers"), ("bad name", "x"), ("odd", "é")),
        *(("Tracestate", "a=b"), ("note-bin", "AAE"), ("broken-bin", "%")),
    ]
    assert forwarded(browser) == (("tracestate", "a=b"), ("note-bin", b"\0\1"))
