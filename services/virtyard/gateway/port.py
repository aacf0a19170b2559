"""The port: one address for HTTP and for native gRPC; the first bytes of a connection say which it is.

A connection that begins as HTTP/2 does is joined to a gRPC server of this process behind a socket that only its user
can reach; every other one is HTTP/1.1, with WebSockets.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import grpc
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from virtyard.gateway.splice import Splice, join
from virtyard.kernel.errors import InvalidRequest, WrongState
from virtyard.runtime.channel_options import SERVER_OPTIONS
from virtyard.runtime.scope import TaskScope

__all__ = ["App", "Port", "bind", "open_port"]

App = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger(__name__)
_PREFACE: Final = b"PRI * HTTP/2.0\r\n"
_PATIENCE: Final = 10.0
"""Seconds within which a new connection must say something."""
_LOOPBACK: Final = re.compile(r"127(\.\d{1,3}){3}|\[::1\]|localhost")


def bind(listen: str, remembered: Path) -> socket.socket:
    """Return a listening socket; with port 0 at the port of the last time, so that open tabs find it again.

    Args:
        listen: host:port, of loopback.
        remembered: the file that has the port of the last time.

    Raises:
        InvalidRequest: the address can be reached from other machines.
        WrongState: it is taken.
    """
    host, _, port = listen.rpartition(":")
    if not _LOOPBACK.fullmatch(host):
        raise InvalidRequest.of(
            "gateway.web",
            f"{listen} is not allowed: until people sign in by themselves it must be loopback, as 127.0.0.1:7480;"
            " from another machine use a tunnel, as `ssh -L 7480:127.0.0.1:7480 HOST`",
        )
    last = remembered.read_text().strip() if port == "0" and remembered.exists() else ""
    made = _listen(host, last) if last.isdigit() else None
    made = made or _listen(host, port)
    if made is None:
        raise WrongState(f"{listen} is taken or cannot be used", resource=listen)
    remembered.write_text(str(made.getsockname()[1]))
    return made


def _listen(host: str, port: str) -> socket.socket | None:
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
        made.listen(512)
    except OSError:
        made.close()
        return None
    made.setblocking(False)
    return made


class Port:
    """The open port; made by `open_port`."""

    def __init__(self, address: str) -> None:
        """Use `open_port`."""
        self.address = address
        self.spliced: set[Splice] = set()


class _First(asyncio.Protocol):
    """A connection of which nothing is known yet."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        splice: Callable[[asyncio.Transport, bytes], None],
    ) -> None:
        self._http = functools.partial(H11Protocol, config, server_state, app_state, _loop)
        self._splice = splice
        self._first = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, transport.close)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        self._first += data
        assert self._transport is not None, "asyncio gives the transport first"
        if _PREFACE.startswith(self._first[: len(_PREFACE)]) and len(self._first) < len(_PREFACE):
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._first.startswith(_PREFACE):
            self._transport.pause_reading()
            self._splice(self._transport, self._first)
            return
        protocol = self._http()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._first)


class _Http(uvicorn.Server):
    """The HTTP server of the port; signals are the process's business."""

    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@asynccontextmanager
async def open_port(
    listening: socket.socket,
    app: App,
    native: grpc.GenericRpcHandler,
    on_closing: Callable[[], None],
    *,
    grace: float = 5.0,
) -> AsyncIterator[Port]:
    """Serve both sides on a listening socket until the block ends.

    Args:
        listening: as `bind` made it.
        app: answers HTTP and WebSockets, as ASGI has it.
        native: answers native gRPC.
        on_closing: is called first at the end, so that streams end by themselves.
        grace: seconds in which calls in flight may end after that.
    """
    # They say paths with what is behind their question mark, where one-time links have their secret.
    logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    host, port = listening.getsockname()[:2]
    made = Port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    async with TaskScope("gateway port") as scope:
        with tempfile.TemporaryDirectory(prefix="virtyard-gateway-") as folder:
            path = f"{folder}/grpc"
            server = grpc.aio.server(options=SERVER_OPTIONS)
            server.add_generic_rpc_handlers([native])
            server.add_insecure_port(f"unix:{path}")
            await server.start()

            def splice(transport: asyncio.Transport, first: bytes) -> None:
                _ = scope.start(_join(transport, path, first, made.spliced), name="splice")

            http = _Http(_config(app, splice, grace))
            serving = scope.start(http.serve(sockets=[listening]), name="http")
            try:
                yield made
            finally:
                on_closing()
                http.should_exit = True
                await asyncio.gather(server.stop(grace), asyncio.wait([serving], timeout=grace + 1.0))
                for end in tuple(made.spliced):
                    end.close()


async def _join(transport: asyncio.Transport, path: str, first: bytes, spliced: set[Splice]) -> None:
    try:
        await join(transport, path, first, spliced)
    except OSError as error:
        _log.warning("a connection could not be joined to the gRPC server: %s", error)
        transport.close()


def _config(app: App, splice: Callable[[asyncio.Transport, bytes], None], grace: float) -> uvicorn.Config:
    return uvicorn.Config(
        cast(Any, app),
        http=cast(Any, functools.partial(_First, splice=splice)),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
