"""A client of the gateway's HTTP side that keeps to nothing by itself: every header is the test's own."""

from __future__ import annotations

import asyncio
import http.client
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

END = 0b10
"""The flag of Connect's last envelope."""
TRAILERS = 0x80
"""The flag of gRPC-Web's last envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """Somebody who sends HTTP to one port."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request and return its answer; `_` in a header's name stands for `-`, an empty one is left out."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**self.headers, **given}.items() if value}

        def ask() -> Answer:
            connection = http.client.HTTPConnection(self.address, timeout=20)
            try:
                connection.request(method, path, body or None, sent)
                answer = connection.getresponse()
                known = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(status=answer.status, headers=known, body=answer.read())
            finally:
                connection.close()

        return await asyncio.to_thread(ask)

    async def call(self, path: str, body: Any = None, **headers: str) -> Answer:
        """Call a unary method as curl does, with JSON."""
        text = json.dumps(body if body is not None else {}).encode()
        return await self.send("POST", path, text, **{"content_type": "application/json", **headers})

    @asynccontextmanager
    async def stream(
        self, path: str, request: Message, kind: str = "application/connect+proto", **headers: str
    ) -> AsyncIterator[AsyncIterator[tuple[int, bytes]]]:
        """Call a streaming method; gives the envelopes, flags and body each, and hangs up at the end of the block."""
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        raw = request.SerializeToString()
        body = struct.pack(">BI", 0, len(raw)) + raw
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"host": self.address, "content-type": kind, "content-length": str(len(body)), **self.headers, **given}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200"), head
            yield _envelopes(_unchunked(reader))
        finally:
            writer.transport.abort()


async def _unchunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        chunk = await reader.readexactly(size + 2)
        yield chunk[:-2]


async def _envelopes(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    buffer = b""
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= 5 and len(buffer) >= 5 + (size := int.from_bytes(buffer[1:5], "big")):
            yield buffer[0], buffer[5 : 5 + size]
            buffer = buffer[5 + size :]
