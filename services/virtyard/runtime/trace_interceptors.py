"""Interceptors that send the caller's trace context along with every call; used only where traces are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from typing_extensions import override

from virtyard.runtime import telemetry

__all__ = ["trace_interceptors"]


def trace_interceptors() -> list[grpc.aio.ClientInterceptor]:
    """Return one interceptor for each shape of call."""
    return [_Unary(), _Watching(), _Talking()]


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """Calls with one request and one answer."""

    @override
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Add the trace."""
        return await continuation(_traced(client_call_details), request)


class _Watching(grpc.aio.UnaryStreamClientInterceptor):
    """Calls with one request and a stream of answers."""

    @override
    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Add the trace."""
        return await continuation(_traced(client_call_details), request)


class _Talking(grpc.aio.StreamStreamClientInterceptor):
    """Calls with a stream of requests and a stream of answers."""

    @override
    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        """Add the trace."""
        return await continuation(_traced(client_call_details), request_iterator)


def _traced(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    for key, value in telemetry.inject().items():
        metadata[key] = value
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=details.timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )
