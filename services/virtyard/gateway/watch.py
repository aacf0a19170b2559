"""The multiplexed watch: many sources on one stream, at the pace of whoever reads it.

Between the sources and the reader there is room for a few responses; a source that finds it full waits, and so does
what its owner sends. Each response carries where all subscriptions stand once it was handled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.gateway.composite_token import join_tokens, split_token
from virtyard.gateway.forward import Forward
from virtyard.gateway.public import PublicMethod
from virtyard.gateway.source import Piece, Source
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.permissions import Principal
from virtyard.runtime.scope import TaskScope

__all__ = ["MOST_SUBSCRIPTIONS", "MultiplexedWatch"]

MOST_SUBSCRIPTIONS: Final = 32
_ROOM: Final = 8
_ID: Final = re.compile(r"[a-zA-Z0-9._-]{1,64}")


class MultiplexedWatch:
    """One call of Watch."""

    def __init__(
        self,
        request: pb.WatchRequest,
        watches: Mapping[str, PublicMethod],
        forward: Forward,
        principal: Principal,
        *,
        keepalive: float,
    ) -> None:
        """Prepare what was asked for.

        Args:
            request: the call's request.
            watches: the methods that can be subscribed to, by the full names of their requests.
            forward: calls them.
            principal: for whom.
            keepalive: seconds of silence after which the reader is shown that the stream is alive.

        Raises:
            InvalidRequest: the request cannot be carried out; nothing is watched.
        """
        _check(request.subscriptions)
        known = split_token(request.resume_token)
        self._sources = [Source(one, watches, forward, principal) for one in request.subscriptions]
        self._starts = {source: known.get((source.id, source.digest), "") for source in self._sources}
        self._places = {(one.id, one.digest): self._starts[one] or one.token for one in self._sources}
        self._keepalive = keepalive
        self._queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(_ROOM)

    async def responses(self, closing: asyncio.Event) -> AsyncGenerator[bytes, None]:
        """Yield the serialised responses until the reader leaves, or until `closing`: then Goodbye is the last."""
        async with TaskScope("watch") as scope:
            for source in self._sources:
                _ = scope.start(self._bring(source), name=f"watch {source.id}")
            _ = scope.start(self._end(closing), name="watch end")
            while True:
                try:
                    async with asyncio.timeout(self._keepalive):
                        piece = await self._queue.get()
                except TimeoutError:
                    yield self._about_stream(pb.WatchResponse(keepalive=pb.Keepalive()))
                    continue
                if isinstance(piece, Exception):
                    raise piece
                if piece is None:
                    yield self._about_stream(pb.WatchResponse(goodbye=pb.Goodbye()))
                    return
                self._places[piece.source.id, piece.source.digest] = piece.token
                if piece.frames or piece.status is not None:
                    yield self._response(piece)

    async def _bring(self, source: Source) -> None:
        try:
            async with aclosing(source.pieces(self._starts[source])) as pieces:
                async for piece in pieces:
                    await self._queue.put(piece)
        except Exception as error:  # noqa: BLE001 - a source that fails by a bug of ours ends the watch by name
            await self._queue.put(error)

    async def _end(self, closing: asyncio.Event) -> None:
        await closing.wait()
        await self._queue.put(None)

    def _response(self, piece: Piece) -> bytes:
        """Return a response around the bytes of its owner's, which are not made again."""
        head = pb.WatchResponse(subscription=piece.source.id, resume_token=join_tokens(self._places))
        if piece.status is not None:
            head.status.CopyFrom(piece.status)
            return head.SerializeToString()
        number = pb.WatchResponse.DESCRIPTOR.fields_by_name[piece.source.field].number
        return b"".join((head.SerializeToString(), _tag(number), _varint(len(piece.frames)), piece.frames))

    def _about_stream(self, response: pb.WatchResponse) -> bytes:
        response.resume_token = join_tokens(self._places)
        return response.SerializeToString()


def _check(subscriptions: Sequence[pb.Subscription]) -> None:
    if not 1 <= len(subscriptions) <= MOST_SUBSCRIPTIONS:
        raise InvalidRequest.of("subscriptions", f"must be 1 to {MOST_SUBSCRIPTIONS}; {len(subscriptions)} were given")
    seen: set[str] = set()
    for one in subscriptions:
        if not _ID.fullmatch(one.id):
            raise InvalidRequest.of("subscriptions.id", "must be 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'")
        if one.id in seen:
            raise InvalidRequest.of("subscriptions.id", f"must differ; {one.id} is there twice")
        seen.add(one.id)


def _tag(number: int) -> bytes:
    """Return the tag of a field that holds a message, as protobuf writes it."""
    return _varint(number << 3 | 2)


def _varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
