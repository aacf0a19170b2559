"""The splice: two connections joined, byte for byte, each only as fast as the other one reads."""

from __future__ import annotations

import asyncio
from typing import cast

from typing_extensions import override

__all__ = ["Splice", "join"]


class Splice(asyncio.Protocol):
    """One end: what comes in here goes out at the other end."""

    def __init__(self, open_ends: set[Splice]) -> None:
        """Count the end among those that are open, for as long as it is."""
        self._open_ends = open_ends
        self._transport: asyncio.Transport | None = None
        self._other: Splice | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._open_ends.add(self)

    def tie(self, other: Splice) -> None:
        """Send everything to the other end."""
        self._other = other

    def write(self, data: bytes) -> None:
        """Send something out here."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close this end behind what is still being sent."""
        if self._transport is not None:
            self._transport.close()

    @override
    def data_received(self, data: bytes) -> None:
        """Hand it over."""
        if self._other is not None:
            self._other.write(data)

    def pause_reading(self) -> None:
        """Have nothing more read here."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Have more read here."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    @override
    def pause_writing(self) -> None:
        """Have nothing more read at the other end: here it does not get away."""
        if self._other is not None:
            self._other.pause_reading()

    @override
    def resume_writing(self) -> None:
        """Read at the other end again."""
        if self._other is not None:
            self._other.resume_reading()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end, too."""
        self._open_ends.discard(self)
        if self._other is not None:
            self._other.close()


async def join(near: asyncio.Transport, path: str, first: bytes, open_ends: set[Splice]) -> None:
    """Join a connection, of which something was read already, to whoever listens at a Unix socket.

    Args:
        near: the connection, of which nothing more is being read; that begins again when the other one is there.
        path: of the socket.
        first: what was read from it.
        open_ends: has both ends while they are open.

    Raises:
        OSError: nobody listens there.
    """
    end, far = Splice(open_ends), Splice(open_ends)
    end.tie(far)
    # Before the other side is there: it may speak first.
    far.tie(end)
    near.set_protocol(end)
    end.connection_made(near)
    _ = await asyncio.get_running_loop().create_unix_connection(lambda: far, path)
    far.write(first)
    if near.is_closing():
        far.close()
    else:
        near.resume_reading()
