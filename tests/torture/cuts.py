"""A wire that can be cut: a TCP relay to an address, which drops all that goes through it when it is told to."""

from __future__ import annotations

import asyncio
import contextlib


class Wire:
    """Relays connections to an address."""

    def __init__(self, target: str) -> None:
        """Relay to host:port, once it is opened."""
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_until = 0.0
        self.address = ""
        """Where it listens, as host:port."""

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"

    def cut(self, seconds: float) -> int:
        """Drop every connection, and refuse new ones for so long; return how many ends were dropped."""
        self._closed_until = asyncio.get_running_loop().time() + seconds
        dropped = len(self._writers)
        for writer in list(self._writers):
            writer.transport.abort()
        return dropped

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
        self.cut(0)
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asyncio.get_running_loop().time() < self._closed_until:
            writer.transport.abort()
            return
        try:
            other_reader, other_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, other_writer}
        for source, sink in ((reader, other_writer), (other_reader, writer)):
            task = asyncio.create_task(self._relay(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        self._writers.discard(sink)
        with contextlib.suppress(OSError, RuntimeError):
            sink.close()
