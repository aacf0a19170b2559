"""The source: one subscription of a multiplexed watch, watched at its owner again and again until it is over.

What its owner sends passes as it is; KEEPALIVE and GOODBYE end here. When the owner cannot be reached, that is told
once, and it is tried again with the last token, so that nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import random
from asyncio import sleep
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc

from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.gateway.composite_token import digest_of
from virtyard.gateway.forward import Forward
from virtyard.gateway.public import PublicMethod
from virtyard.kernel.errors import (
    Cancelled,
    CapacityExhausted,
    Contended,
    DeadlineExceeded,
    InvalidRequest,
    Unavailable,
    VirtyardError,
)
from virtyard.kernel.permissions import Principal
from virtyard.runtime.status import named, peer_cancels_named, to_status

__all__ = ["Piece", "Source", "watches_by_request"]

_PASSING: Final = (Unavailable, DeadlineExceeded, Cancelled, CapacityExhausted, Contended)
"""Errors that may be gone when the owner is asked again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Piece:
    """What a source brings: frames as they came, or news of the source itself, or nothing but a later token."""

    source: Source
    token: str
    """Where the subscription stands after it."""
    frames: bytes = b""
    """The serialised response of the owner."""
    status: pb.SourceStatus | None = None


def watches_by_request(methods: Mapping[str, PublicMethod]) -> Mapping[str, PublicMethod]:
    """Return the methods that can be subscribed to, by the full names of their requests."""
    return {
        method.request.DESCRIPTOR.full_name: method
        for method in methods.values()
        if method.server_streaming and not method.client_streaming
    }


class Source:
    """One subscription with where it stands."""

    def __init__(
        self, subscription: pb.Subscription, watches: Mapping[str, PublicMethod], forward: Forward, principal: Principal
    ) -> None:
        """Prepare to watch for a principal.

        Raises:
            InvalidRequest: the subscription says nothing that can be watched.
        """
        self.id = subscription.id
        self.digest = digest_of(subscription)
        self.field = subscription.WhichOneof("source") or ""
        if not self.field:
            raise InvalidRequest.of(f"subscriptions[{self.id}].source", "must say what is to be watched")
        self._request = cast(Any, getattr(subscription, self.field))
        self._method = watches[self._request.DESCRIPTOR.full_name]
        self._forward = forward
        self._principal = principal
        self._live: bool | None = None
        self._closing = False
        self.token: str = self._request.options.resume_token

    async def pieces(self, token: str) -> AsyncGenerator[Piece, None]:
        """Yield what comes, from a token on; from where the request itself starts if that is empty."""
        self.token = token or self.token
        pause = _FIRST_PAUSE
        while True:
            error: VirtyardError | None = None
            try:
                async with aclosing(self._once()) as pieces:
                    async for piece in pieces:
                        if piece.frames:
                            pause = _FIRST_PAUSE
                        yield piece
            except grpc.RpcError as failure:
                error = named(failure)
            except VirtyardError as failure:
                error = failure
            if error is None and not self._closing:
                yield self._told(pb.SOURCE_STATE_ENDED)
                return
            if error is not None and not isinstance(error, _PASSING):
                yield self._told(pb.SOURCE_STATE_REFUSED, error)
                return
            if self._live is not False:
                self._live = False
                yield self._told(pb.SOURCE_STATE_NOT_LIVE, error or Unavailable("its service stops", retry_after=1.0))
            await sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads those who come back
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _once(self) -> AsyncGenerator[Piece, None]:
        """Yield what one call at the owner brings."""
        self._closing = False
        self._request.options.resume_token = self.token
        call = self._forward.start(self._method, self._request.SerializeToString(), self._principal)
        try:
            with peer_cancels_named():
                # The owner answers with these as soon as it watches, however long there is no news.
                _ = await call.initial_metadata()
                if call.done():
                    # Refused before it began.
                    async for _ in call:
                        pass
                if self._live is not True:
                    self._live = True
                    yield self._told(pb.SOURCE_STATE_LIVE)
                async for raw in call:
                    piece = self._taken(raw)
                    if piece is not None:
                        yield piece
        finally:
            call.cancel()

    def _taken(self, raw: bytes) -> Piece | None:
        """Take note of where a response leads, and return what of it is passed on."""
        frame = cast(Any, self._method.response).FromString(raw)
        further = getattr(frame, "further", None)
        self.token = further[-1].resume_token if further else frame.resume_token
        # Neither ever comes together with other frames.
        if frame.kind == FrameKind.FRAME_KIND_GOODBYE:
            self._closing = True
            return None
        if frame.kind == FrameKind.FRAME_KIND_KEEPALIVE:
            return Piece(source=self, token=self.token)
        return Piece(source=self, token=self.token, frames=raw)

    def _told(self, state: pb.SourceState.ValueType, error: VirtyardError | None = None) -> Piece:
        status = pb.SourceStatus(state=state, error=None if error is None else to_status(error))
        return Piece(source=self, token=self.token, status=status)
