"""The channel to another process: mutual TLS, and the peer must be whom it is dialled for."""

from __future__ import annotations

import grpc

from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime import telemetry
from virtyard.runtime.channel_options import CHANNEL_OPTIONS
from virtyard.runtime.pki import Credentials, dns_name
from virtyard.runtime.trace_interceptors import trace_interceptors

__all__ = ["open_channel", "open_insecure_channel"]


def open_channel(address: str, credentials: Credentials, server_identity: str) -> grpc.aio.Channel:
    """Return a channel; it connects when it is first used, and again whenever it must.

    Args:
        address: as `127.0.0.1:7000` or `unix:/run/virtyard/jobs.sock`.
        credentials: of this side.
        server_identity: the identity that the server's certificate must carry, as `service/jobs`.
    """
    if not address:
        raise InvalidRequest.of("address", f"of {server_identity} is not known")
    options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", dns_name(server_identity)))
    return grpc.aio.secure_channel(address, credentials.for_channel(), options=options, interceptors=_interceptors())


def open_insecure_channel(address: str) -> grpc.aio.Channel:
    """Return a channel without TLS; for measurements and tests on loopback."""
    return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS, interceptors=_interceptors())


def _interceptors() -> list[grpc.aio.ClientInterceptor]:
    return trace_interceptors() if telemetry.is_on() else []
