"""A channel to one service: mutual TLS by the caller's certificate, and errors as `ClientError`.

Certificates name a service, not a host: `virtyard-service-jobs` is what is checked, whatever address was dialled.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from typing_extensions import override

from virtyard_client.context import ContextError
from virtyard_client.errors import ClientError

UNARY_TIMEOUT = 30.0
"""Seconds that a call without a deadline of its own may take."""


def load_credentials(folder: Path) -> grpc.ChannelCredentials:
    """Read ca.pem, cert.pem and key.pem.

    Raises:
        ContextError: one of them cannot be read.
    """
    try:
        ca, certificate, key = ((folder / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem"))
    except OSError as error:
        raise ContextError(
            f"the credentials in {folder} cannot be read ({error.strerror}: {error.filename}); "
            "`virtyard pki issue` makes some"
        ) from error
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)


def open_channel(address: str, service: str, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    """A channel to `host:port`, whose certificate must name the service."""
    return grpc.aio.secure_channel(
        address,
        credentials,
        options=[
            ("grpc.ssl_target_name_override", f"virtyard-service-{service}"),
            ("grpc.enable_http_proxy", 0),
            # A reader that stops must not make the server buffer megabytes on the way to it.
            ("grpc.http2.bdp_probe", 0),
            # A list of a thousand objects, or a refusal that names every server, must fit.
            ("grpc.max_receive_message_length", 16 << 20),
            ("grpc.max_metadata_size", 64 << 10),
            ("grpc.absolute_max_metadata_size", 128 << 10),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ],
        interceptors=[_Unary(), _Stream()],
    )


def _with_trace(details: Any) -> Any:
    """The call's details with the caller's trace: OpenTelemetry's if the program uses it, else TRACEPARENT."""
    carrier: dict[str, str] = {}
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is not None:
        propagate.inject(carrier)
    elif "TRACEPARENT" in os.environ:
        carrier["traceparent"] = os.environ["TRACEPARENT"]
    if not carrier:
        return details
    metadata = grpc.aio.Metadata(*(details.metadata or ()), *carrier.items())
    return details._replace(metadata=metadata)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives a call its deadline and its caller `ClientError`."""

    @override
    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], client_call_details: Any, request: Any
    ) -> Any:
        details = _with_trace(client_call_details)
        if details.timeout is None:
            details = details._replace(timeout=UNARY_TIMEOUT)
        call = await continuation(details, request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise ClientError.from_rpc(error) from None
        return call


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    """Gives the reader of a stream `ClientError`."""

    @override
    async def intercept_unary_stream(
        self, continuation: Callable[[Any, Any], Any], client_call_details: Any, request: Any
    ) -> AsyncIterator[Any]:
        call = await continuation(_with_trace(client_call_details), request)
        return _read(call)


async def _read(call: Any) -> AsyncIterator[Any]:
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise ClientError.from_rpc(error) from None
    except asyncio.CancelledError:
        # grpc.aio raises this also for a stream that the other side ended so; that is no cancellation of ours.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ClientError("the service cancelled the stream", code="CANCELLED") from None
    finally:
        call.cancel()
