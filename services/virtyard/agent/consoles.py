"""The consoles of guests: their displays, carried as they are, and their serial logs, read as they grow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from virtyard.agent.drivers.hypervisor.contract import GuestInfo, Hypervisor
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.kernel.errors import InvalidRequest, NotFound, Unavailable, Unsupported, WrongState
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.threads import Threads

__all__ = ["Consoles", "Piece"]

_log = logging.getLogger(__name__)
_PIECE_BYTES = 64 << 10
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a serial log."""

    data: bytes
    next_offset: int
    """The place behind it, in bytes."""


class Consoles:
    """The consoles of one host's guests."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        """Show the guests of this driver."""
        self._hypervisor = hypervisor
        self._threads = Threads("consoles", workers=2)
        self._scope = TaskScope("agent.consoles")
        self._ending = asyncio.Event()

    def end(self) -> None:
        """End every stream: viewers come again when there is an agent again."""
        self._ending.set()

    async def close(self) -> None:
        """Wait until nothing is carried any more."""
        self.end()
        await self._scope.close()
        self._threads.close()

    async def display(
        self, requests: AsyncIterator[agent_service_pb2.OpenDisplayRequest], viewer: str
    ) -> AsyncGenerator[bytes, None]:
        """Yield what a guest's display sends, and send it what comes; the first request names the guest.

        Raises:
            InvalidRequest: the first request names none.
            NotFound, WrongState, Unsupported: the guest is not here, does not run, or has no display.
            Unavailable: it does not answer, or the agent stops.
        """
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "uid":
            raise InvalidRequest.of("uid", "must be in the first message, and name a guest")
        guest = await self._guest(first.uid)
        if not guest.running:
            raise WrongState(f"{guest.name} does not run", resource=guest.name)
        if guest.display is None:
            text = f"{guest.name} has no display: it is simulated, or was started before there were displays"
            raise Unsupported(text, resource=guest.name)
        try:
            reader, writer = await asyncio.open_unix_connection(str(guest.display), limit=_PIECE_BYTES)
        except OSError as error:
            raise Unavailable(
                f"the display of {guest.name} does not answer: {error}", resource=guest.name, retry_after=1.0
            ) from error
        _log.info("%s opens the display of %s", viewer, guest.name)
        sending = self._scope.start(_send(requests, writer), name="display input")
        ending = self._scope.start(self._hang_up(writer), name="display end")
        try:
            with suppress(OSError):
                while data := await reader.read(_PIECE_BYTES):
                    yield data
        finally:
            sending.cancel()
            ending.cancel()
            writer.transport.abort()
        if self._ending.is_set():
            raise Unavailable("this agent stops", retry_after=1.0)

    async def serial_log(self, uid: str, offset: int, *, follow: bool) -> AsyncGenerator[Piece, None]:
        """Yield the serial log from a place on; a negative one counts from the end.

        Raises:
            NotFound, Unsupported: the guest is not here, or writes no log.
            Unavailable: the agent stops.
        """
        guest = await self._guest(uid)
        log = guest.serial_log
        if log is None:
            raise Unsupported(f"{guest.name} has no serial log: it is simulated", resource=guest.name)
        size = await self._threads.run(_size, log)
        place = max(0, size + offset) if offset < 0 else offset
        while True:
            data, size = await self._threads.run(_read, log, place)
            if size < place:
                # Begun anew with the guest.
                place = 0
                continue
            if data:
                place += len(data)
                yield Piece(data=data, next_offset=place)
                continue
            if not follow:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._ending.wait()
            if self._ending.is_set():
                raise Unavailable("this agent stops", retry_after=1.0)

    async def _guest(self, uid: str) -> GuestInfo:
        guest = await self._hypervisor.find(uid)
        if guest is None:
            raise NotFound(f"this host has no guest {uid}", resource=uid)
        return guest

    async def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        await self._ending.wait()
        writer.transport.abort()


async def _send(requests: AsyncIterator[agent_service_pb2.OpenDisplayRequest], writer: asyncio.StreamWriter) -> None:
    """Send on what a viewer sends, as fast as the display takes it; hang up when the viewer has ended."""
    try:
        with suppress(OSError):
            async for request in requests:
                writer.write(request.data)
                await writer.drain()
    finally:
        writer.transport.abort()


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _read(log: Path, place: int) -> tuple[bytes, int]:
    """Return what a log has from a place on, at most one piece, and how long it is."""
    try:
        with log.open("rb") as file:
            file.seek(place)
            return file.read(_PIECE_BYTES), _size(log)
    except FileNotFoundError:
        return b"", 0
