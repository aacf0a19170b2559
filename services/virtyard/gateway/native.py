"""The native side: gRPC for every public method, from bytes to bytes, for whoever shows an API token.

Metadata, deadlines, cancellation, streams in both directions and the details of errors are those of the service behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from typing_extensions import override

from virtyard.gateway.forward import Forward, Metadata, forwarded, grant_said
from virtyard.gateway.public import PublicMethod
from virtyard.gateway.sessions import Ending, Grant
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.runtime.status import code_of, named, to_status
from virtyard.runtime.wire import break_off

__all__ = ["NativeHandler"]

Context = grpc.aio.ServicerContext[Any, Any]


class NativeHandler(grpc.GenericRpcHandler):
    """Serves the methods on a gRPC server."""

    def __init__(
        self,
        methods: Mapping[str, PublicMethod],
        forward: Forward,
        grant_of: Callable[[Mapping[str, str | bytes]], Grant],
    ) -> None:
        """Forward these methods.

        Args:
            methods: by path.
            forward: calls them.
            grant_of: from a call's metadata to what it is granted; raises Unauthenticated.
        """
        self._handlers = {path: _handler(_Native(method, forward, grant_of)) for path, method in methods.items()}

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return what serves a method; None for one that is not public."""
        return self._handlers.get(handler_call_details.method)


class _Native:
    """What answers one method."""

    def __init__(
        self,
        method: PublicMethod,
        forward: Forward,
        grant_of: Callable[[Mapping[str, str | bytes]], Grant],
    ) -> None:
        self.method = method
        self._forward = forward
        self._grant_of = grant_of

    async def unary(self, request: Any, context: Context) -> bytes:
        """Answer with one message."""
        try:
            along, ending = self._along(context)
            answer = await self._forward.unary(self.method, request, *along, ending=ending)
        except Exception as error:  # noqa: BLE001 - every end is told to the caller
            await _abort(context, error)
        except asyncio.CancelledError:
            await break_off(context)
            raise
        return answer

    async def stream(self, request: bytes | AsyncIterable[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer with a stream of messages."""
        try:
            along, ending = self._along(context)
            async with aclosing(self._forward.stream(self.method, request, *along, ending=ending)) as answers:
                async for answer in answers:
                    yield answer
        except Exception as error:  # noqa: BLE001 - every end is told to the caller
            await _abort(context, error)
        except asyncio.CancelledError:
            await break_off(context)
            raise

    def _along(self, context: Context) -> tuple[tuple[Principal, Metadata, float | None], Ending]:
        """Return who calls, the metadata and the timeout, in seconds, that go on with a call; and what ends it."""
        metadata = tuple(context.invocation_metadata() or ())
        remaining: float | None = context.time_remaining()
        grant = self._grant_of(dict(metadata))
        said = forwarded(metadata) + grant_said(grant, self.method)
        return (grant.principal, said, remaining), grant.ending


def _handler(native: _Native) -> grpc.RpcMethodHandler[Any, Any]:
    method = native.method
    if method.client_streaming and method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(native.stream)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(native.unary)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(native.stream)
    return grpc.unary_unary_rpc_method_handler(native.unary)


async def _abort(context: Context, error: Exception) -> NoReturn:
    """End the call as the service ended it, with all details."""
    if isinstance(error, grpc.RpcError):
        error = named(error)
    if not isinstance(error, VirtyardError):
        raise error
    details = (("grpc-status-details-bin", to_status(error).SerializeToString()),)
    await context.abort(code_of(error), error.message, details)
