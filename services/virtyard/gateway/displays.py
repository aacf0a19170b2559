"""The displays: WebSockets that carry a machine's screen, keys and pointer between a browser and the host's agent.

The bytes are RFB, as QEMU speaks it; a WebSocket is accepted once the display has said its first word, so that whoever
may not see it, or asks for a machine that has none, is told so in the answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from typing import Any, Final

import grpc

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.gateway.connect import CALLER
from virtyard.gateway.machines import Machines
from virtyard.gateway.refusals import refuse_socket
from virtyard.gateway.sessions import Ending
from virtyard.kernel.errors import NotFound, Unavailable, VirtyardError
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import named, peer_cancels_named
from virtyard.runtime.wire import ACCEPTED

__all__ = ["Displays"]

_log = logging.getLogger(__name__)
_PATH: Final = re.compile(r"/console/(?:virtualMachines/)?(?P<id>[a-z0-9][a-z0-9.-]*)/vnc")
_SUBPROTOCOL: Final = "binary"
_FIRST_WORD_SECONDS = 10.0
_TRY_AGAIN, _BROKEN, _MAY_NOT, _DONE = 1013, 1011, 1008, 1000


class Displays:
    """An ASGI application for `/console/{virtualMachine}/vnc`."""

    def __init__(self, machines: Machines) -> None:
        """Show the displays of these machines."""
        self._machines = machines

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Carry one display until either side ends."""
        match = _PATH.fullmatch(scope["path"])
        if match is None:
            await refuse_socket(NotFound(f"there is no console at {scope['path']}"))(scope, receive, send)
            return
        _ = await receive()
        name, call, ending = f"virtualMachines/{match['id']}", None, CALLER.get().ending
        try:
            call, first = await self._open(name)
            if ending.is_over:
                raise ending.error
            offered = scope.get("subprotocols") or ()
            chosen = _SUBPROTOCOL if _SUBPROTOCOL in offered else None
            await send({"type": "websocket.accept", "subprotocol": chosen})
            with ending.telling(call.cancel):
                await _carry(call, first, receive, send, ending)
        except VirtyardError as error:
            await refuse_socket(error)(scope, receive, send)
        finally:
            if call is not None:
                call.cancel()

    async def _open(self, name: str) -> tuple[Any, bytes]:
        """Return an open call, and the first word of the display.

        Raises:
            VirtyardError: there is none for this caller.
        """
        call = None
        try:
            async with asyncio.timeout(_FIRST_WORD_SECONDS):
                with peer_cancels_named():
                    call, uid = await self._machines.open_display(name, CALLER.get().principal)
                    if ACCEPTED not in dict(await call.initial_metadata()):
                        raise await _ended(call, name)
                    await call.write(agent_service_pb2.OpenDisplayRequest(uid=uid))
                    first = await call.read()
        except grpc.RpcError as error:
            raise named(error) from error
        except TimeoutError:
            if call is not None:
                call.cancel()
            raise Unavailable(f"the display of {name} does not answer", resource=name, retry_after=1.0) from None
        if first is grpc.aio.EOF:
            raise await _ended(call, name)
        return call, first.data


async def _ended(call: Any, name: str) -> VirtyardError:
    """Return why a call has ended before it began."""
    if await call.code() is grpc.StatusCode.OK:
        return Unavailable(f"the display of {name} hung up", resource=name, retry_after=1.0)
    metadata, details = await call.trailing_metadata(), await call.details()
    return named(grpc.aio.AioRpcError(await call.code(), grpc.aio.Metadata(), metadata, details=details))


async def _carry(call: Any, first: bytes, receive: Any, send: Any, ending: Ending) -> None:
    """Carry both directions, each as fast as its reader; whoever ends, ends both, and so does the caller's grant."""
    async with TaskScope("display") as scope:
        sending = scope.start(_send(call, receive), name="display input")
        # What waits for news of the display is woken when the browser has left.
        sending.add_done_callback(lambda _: call.cancel())
        code, reason = _DONE, ""
        try:
            with peer_cancels_named():
                data = first
                while data:
                    await send({"type": "websocket.send", "bytes": data})
                    answer = await call.read()
                    data = b"" if answer is grpc.aio.EOF else answer.data
        except grpc.RpcError as error:
            told = named(error)
            code, reason = (_TRY_AGAIN if isinstance(told, Unavailable) else _BROKEN), told.message
        except Unavailable:
            if ending.is_over:
                code, reason = _MAY_NOT, ending.error.message
            elif sending.done():
                return
            else:
                code, reason = _TRY_AGAIN, "the server of the machine has hung up"
        with suppress(Exception):
            await send({"type": "websocket.close", "code": code, "reason": reason[:120]})


async def _send(call: Any, receive: Any) -> None:
    """Send on what the browser sends; ends when it has left."""
    with suppress(grpc.RpcError, asyncio.InvalidStateError):
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            data = message.get("bytes") or (message.get("text") or "").encode()
            if data:
                await call.write(agent_service_pb2.OpenDisplayRequest(data=data))
