"""The link to the inventory: a channel to wherever it is now, opened again when it has moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import grpc.aio

from virtyard.internal.inventory.v1 import certificate_pb2, host_service_pb2, host_service_pb2_grpc
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.status import errors_named, peer_cancels_named

_TIMEOUT = 5.0


class InventoryLink:
    """Sends reports to the inventory, and reads uploads from it."""

    def __init__(self, find: Callable[[], str], connect: Callable[[str], grpc.aio.Channel]) -> None:
        """Dial what `find` gives as host:port, "" while nobody knows, by `connect`."""
        self._find = find
        self._connect = connect
        self._address = ""
        self._channel: grpc.aio.Channel | None = None

    async def send(self, request: host_service_pb2.ReportHostRequest) -> host_service_pb2.ReportHostResponse:
        """Send one report.

        Raises:
            Unavailable: nobody knows where the inventory is, or it does not answer.
            VirtyardError: it refused.
        """
        stub = host_service_pb2_grpc.HostServiceStub(await self._present_channel())
        with errors_named():
            answer = await cast(Any, stub.ReportHost)(request, timeout=_TIMEOUT)
        return cast(host_service_pb2.ReportHostResponse, answer)

    async def report_certificate(self, request: certificate_pb2.ReportCertificateRequest) -> None:
        """Report when the own certificate ends.

        Raises:
            Unavailable: nobody knows where the inventory is, or it does not answer.
            VirtyardError: it refused.
        """
        stub = host_service_pb2_grpc.HostServiceStub(await self._present_channel())
        with errors_named():
            await cast(Any, stub.ReportCertificate)(request, timeout=_TIMEOUT)

    async def keep_contact(self, goodbye: asyncio.Event) -> AsyncGenerator[host_service_pb2.KeepContactResponse, None]:
        """Stream what the inventory says for as long as there is contact; `goodbye` ends it in good order.

        Raises:
            Unavailable: nobody knows where the inventory is, or it does not answer, or the connection broke.
            Unsupported: the inventory is of an older release.
        """

        async def requests() -> AsyncGenerator[host_service_pb2.KeepContactRequest, None]:
            yield host_service_pb2.KeepContactRequest()
            await goodbye.wait()
            yield host_service_pb2.KeepContactRequest(goodbye=True)

        stub = host_service_pb2_grpc.HostServiceStub(await self._present_channel())
        call = cast(Any, stub.KeepContact)(requests())
        try:
            with errors_named(), peer_cancels_named():
                async for answer in call:
                    yield answer
        finally:
            call.cancel()

    async def read_upload(self, upload: str, offset: int) -> AsyncGenerator[host_service_pb2.ReadUploadResponse, None]:
        """Stream an upload that the inventory keeps, from an offset in bytes on.

        Raises:
            Unavailable: nobody knows where the inventory is, or it broke off.
            NotFound: there is no such upload.
        """
        stub = host_service_pb2_grpc.HostServiceStub(await self._present_channel())
        call = cast(Any, stub.ReadUpload)(host_service_pb2.ReadUploadRequest(upload=upload, offset_bytes=offset))
        try:
            with errors_named():
                async for answer in call:
                    yield answer
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _present_channel(self) -> grpc.aio.Channel:
        address = self._find()
        if not address:
            raise Unavailable("nobody knows where the inventory is yet", retry_after=1.0)
        if self._channel is None or address != self._address:
            await self.close()
            self._address, self._channel = address, self._connect(address)
        return self._channel
