"""The browsers' side: Connect, gRPC-Web and JSON for every public method, forwarded to its owner.

Messages in binary form pass as the bytes that they are; only JSON is read and written here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as _known_to_json  # noqa: F401 - details in an Any are named by it
from protobuf.wkt import Any as WireAny
from typing_extensions import override

from virtyard.gateway.forward import Forward, Metadata, forwarded, grant_said
from virtyard.gateway.public import PublicMethod
from virtyard.gateway.sessions import Grant
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import MAX_MESSAGE_BYTES
from virtyard.runtime.status import named, to_status

__all__ = ["CALLER", "ConnectApp", "error_json"]

CALLER: ContextVar[Grant] = ContextVar("caller")
"""What the request at hand is granted, and with it for whom it is made; the door sets it."""

_CODES: Final[Mapping[int, Code]] = {
    code.value[0]: Code("canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower())
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """A serialised message, with what JSON needs to know of it."""

    raw: bytes
    kind: type[Message]


class _Binary:
    """The binary form: bytes as they are."""

    def name(self) -> str:
        """Return the name in content types."""
        return "proto"

    def encode(self, message: _Answer) -> bytes:
        """Return what is sent."""
        return message.raw

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> bytes:  # noqa: ARG002 - the owner reads it
        """Return what goes on to the service."""
        return bytes(data)


class _Json:
    """Protobuf's JSON form."""

    def name(self) -> str:
        """Return the name in content types."""
        return "json"

    def encode(self, message: _Answer) -> bytes:
        """Return what is sent."""
        text = json_format.MessageToJson(message.kind.FromString(message.raw), indent=None, ensure_ascii=False)
        return text.encode()

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> bytes:
        """Return what goes on to the service; nothing at all is an empty message, as curl sends it without a body."""
        message: Message = message_class()
        if data:
            json_format.Parse(bytes(data).decode(), message)
        return message.SerializeToString()


class ConnectApp(ConnectASGIApplication[None]):
    """Serves the methods; a request has its caller in `CALLER`."""

    def __init__(self, methods: Mapping[str, PublicMethod], forward: Forward) -> None:
        """Forward these methods."""
        endpoints: Any = {path: _endpoint(method, forward) for path, method in methods.items()}
        super().__init__(
            service=None,
            endpoints=lambda _: endpoints,
            read_max_bytes=MAX_MESSAGE_BYTES,
            # On loopback bytes are cheaper than the time to squeeze them.
            compressions=(),
            codecs=(_Binary(), _Json()),
        )

    @property
    @override
    def path(self) -> str:
        """Return where it is: at the root, each service under its own name."""
        return "/"


def error_json(error: VirtyardError) -> bytes:
    """Return an error as the body of an answer to a unary call, with all its details."""
    told = _connect_error(error)
    details = [{"type": one.type_name, "value": _text(one.message_bytes)} for one in told.details]
    return json.dumps({"code": told.code.value, "message": told.message, "details": details}).encode()


def _text(value: bytes) -> str:
    return base64.b64encode(value).rstrip(b"=").decode()


def _connect_error(error: VirtyardError) -> ConnectError:
    status = to_status(error)
    details = [ErrorDetail(WireAny(type_url=one.type_url, value=one.value)) for one in status.details]
    return ConnectError(_CODES.get(status.code, Code.UNKNOWN), status.message, details)


def _named(error: Exception) -> ConnectError:
    if isinstance(error, grpc.RpcError):
        error = named(error)
    if isinstance(error, VirtyardError):
        return _connect_error(error)
    raise error


def _endpoint(method: PublicMethod, forward: Forward) -> Endpoint[Any, Any]:
    forwarding = _Forwarding(method, forward)
    if method.client_streaming and method.server_streaming:
        return Endpoint.bidi_stream(_info(method, StreamType.BIDI_STREAM), forwarding.stream)
    if method.client_streaming:
        return Endpoint.client_stream(_info(method, StreamType.CLIENT_STREAM), forwarding.unary)
    if method.server_streaming:
        return Endpoint.server_stream(_info(method, StreamType.SERVER_STREAM), forwarding.stream)
    return Endpoint.unary(_info(method, StreamType.UNARY), forwarding.unary)


def _info(method: PublicMethod, kind: StreamType) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=method.name,
        service_name=method.service,
        input=method.request,
        output=method.response,
        # UNKNOWN, so that nothing can be asked for by a GET, which other sites' pages can cause.
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=kind,
    )


class _Forwarding:
    """What answers one method."""

    def __init__(self, method: PublicMethod, forward: Forward) -> None:
        self._method = method
        self._forward = forward

    async def unary(self, request: Any, context: RequestContext[Any, Any]) -> _Answer:
        """Answer with one message."""
        try:
            along = _along(self._method, context)
            raw = await self._forward.unary(self._method, request, *along, ending=CALLER.get().ending)
        except Exception as error:
            raise _named(error) from error
        return _Answer(raw, self._method.response)

    async def stream(self, request: Any, context: RequestContext[Any, Any]) -> AsyncIterator[_Answer]:
        """Answer with a stream of messages."""
        along = _along(self._method, context)
        stream = self._forward.stream(self._method, request, *along, ending=CALLER.get().ending)
        try:
            async with aclosing(stream) as answers:
                async for raw in answers:
                    yield _Answer(raw, self._method.response)
        except Exception as error:
            raise _named(error) from error


def _along(method: PublicMethod, context: RequestContext[Any, Any]) -> tuple[Principal, Metadata, float | None]:
    """Return who calls, the metadata and the timeout, in seconds, that go on with a call."""
    grant, left = CALLER.get(), context.timeout_ms
    metadata = forwarded(context.request_headers.allitems()) + grant_said(grant, method)
    return grant.principal, metadata, None if left is None else max(0.0, left / 1000)
