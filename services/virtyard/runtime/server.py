"""The server of a process: services on one port, under mutual TLS, with health and reflection.

It stops in this order: watchers are told GOODBYE and leave, calls in flight end, and only then is the port closed.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # has no stubs
from grpc_health.v1.health import SERVICE_NAME, aio  # type: ignore[import-untyped]  # has no stubs
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # has no stubs

from virtyard.kernel.errors import InvalidRequest, WrongState
from virtyard.kernel.permissions import Principal
from virtyard.runtime.channel_options import SERVER_OPTIONS
from virtyard.runtime.feed import Feed
from virtyard.runtime.peer import principal_of_peer
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.wire import Wire

__all__ = ["Server", "serve"]

_log = logging.getLogger(__name__)
_LAST_WORDS = 0.2

OnClosing = Callable[[], Awaitable[None] | None]


class Server:
    """A running server; made by `serve`."""

    def __init__(
        self,
        services: Sequence[Service],
        wire: Wire,
        server: grpc.aio.Server,
        *,
        feeds: Collection[Feed],
        on_closing: Sequence[OnClosing],
        scope: TaskScope,
    ) -> None:
        """Use `serve`."""
        self.closing = asyncio.Event()
        self.address = ""
        self._names = ["", *(service.name for service in services)]
        self._wire = wire
        self._server = server
        self._feeds = feeds
        self._on_closing = on_closing
        self._scope = scope
        self._health = aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [service.name for service in services]
        reflection.enable_server_reflection([*names, SERVICE_NAME, reflection.SERVICE_NAME], server)

    @property
    def watches(self) -> int:
        """Return how many watches are open."""
        return self._wire.watches

    async def set_serving(self, serving: bool) -> None:
        """Tell health checks whether this process takes work; one that has just started may still be recalling."""
        for name in self._names:
            await self.show_health(name, serving)

    async def show_health(self, name: str, good: bool) -> None:
        """Tell health checks of one name how it is, as of `database/jobs`; the others stay as they are."""
        state = health_pb2.HealthCheckResponse.SERVING if good else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(name, state)

    async def stop(self, grace: float = 5.0) -> None:
        """Tell watchers first, let calls in flight end, and close the port within `grace` seconds."""
        if self.closing.is_set():
            return
        self.closing.set()
        until = time.monotonic() + grace
        await self._health.enter_graceful_shutdown()
        for feed in self._feeds:
            feed.close()
        for callback in self._on_closing:
            waiting = callback()
            if inspect.isawaitable(waiting):
                await waiting
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._wire.wait_quiet()
        await self._server.stop(min(_LAST_WORDS, grace))
        await self._scope.close(patience=max(0.0, until - time.monotonic()))


@asynccontextmanager
async def serve(
    services: Sequence[Service],
    address: str = "127.0.0.1:0",
    credentials: Credentials | None = None,
    *,
    feeds: Collection[Feed] = (),
    on_closing: Sequence[OnClosing] = (),
    insecure_principal: Principal | None = None,
    serving: bool = True,
    grace: float = 5.0,
) -> AsyncIterator[Server]:
    """Serve the services until the block ends.

    Args:
        services: what is served.
        address: where; port 0 lets the kernel choose, and `server.address` says which.
        credentials: of this side; every client must show a certificate of the same domain.
        feeds: are closed first when the server stops, so that watchers are told GOODBYE.
        on_closing: are called after that; streams that are no watches should end by them.
        insecure_principal: who everybody is on a port without TLS, which takes loopback only; for measurements, tests.
        serving: whether health checks pass from the start.
        grace: seconds to stop in at the end of the block.

    Raises:
        InvalidRequest: neither credentials nor a principal was given, or a port without TLS would be reachable.
        WrongState: the address is taken.
    """
    scope = TaskScope("server")
    if credentials is not None:
        wire = Wire(scope, functools.partial(principal_of_peer, credentials.domain))
    elif insecure_principal is not None and address.startswith(("127.", "[::1]", "localhost:", "unix:")):
        wire = Wire(scope, lambda _: insecure_principal)
    else:
        raise InvalidRequest.of("credentials", "are needed: every port that others reach has mutual TLS")
    grpc_server = grpc.aio.server(options=SERVER_OPTIONS)
    grpc_server.add_generic_rpc_handlers([wire.handler(service) for service in services])
    server = Server(services, wire, grpc_server, feeds=feeds, on_closing=on_closing, scope=scope)
    server.address = _bind(grpc_server, address, credentials)
    await grpc_server.start()
    await server.set_serving(serving)
    _log.info("serving %s on %s", ", ".join(service.name for service in services), server.address)
    try:
        yield server
    finally:
        await server.stop(grace)


def _bind(server: grpc.aio.Server, address: str, credentials: Credentials | None) -> str:
    """Take the port and return the address with it."""
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials.for_server())
    except RuntimeError as error:
        raise WrongState(f"{address} is taken or cannot be used: {error}") from error
    if address.startswith("unix:"):
        return address
    host, _, _ = address.rpartition(":")
    return f"{host}:{port}"
