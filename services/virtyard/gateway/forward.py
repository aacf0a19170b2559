"""The forward: public methods as the gateway calls them for a person, from bytes to bytes.

What the caller sent along goes with it, but for what belongs to the hop and for who speaks: that the gateway says
itself, from the session, and services believe it of the gateway alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Final, cast

import grpc
from google.protobuf.message import Message

from virtyard.api.type.v1.watch_pb2 import FrameKind
from virtyard.gateway.public import PublicMethod
from virtyard.gateway.sessions import Ending, Grant
from virtyard.kernel.errors import Unauthenticated, Unavailable, Unsupported
from virtyard.kernel.permissions import Principal, role_name
from virtyard.runtime.status import peer_cancels_named

__all__ = ["EXPIRES", "GRANT", "Forward", "Metadata", "forwarded", "grant_said", "speaking_for"]

Metadata = tuple[tuple[str, str | bytes], ...]

EXPIRES: Final = "virtyard-expires"
"""Tells the gateway's own service until when the caller is let in, in seconds since 1970."""
GRANT: Final = "virtyard-grant"
"""Tells the gateway's own service the id of the grant by which the caller is let in."""

_REVOKE: Final = "/virtyard.api.gateway.v1.GatewayService/RevokeGrant"
_MAY_BE_DONE: Final = "what this call asked for may have been done all the same"
_OF_THE_HOP: Final = re.compile(
    r":.*|(accept|access-control|connect|grpc|if|proxy|sec|upgrade|virtyard|x)(-.*)?|authorization|cache-control"
    r"|connection|content-(encoding|length|type)|cookie|date|dnt|expect|forwarded|host|keep-alive|origin|pragma|priority"
    r"|range|referer|te|trailer|transfer-encoding|user-agent|via"
)
_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_TEXT: Final = re.compile(r"[ -~]*")


def forwarded(headers: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Return what of a caller's headers or metadata goes on to the service; nothing that could say who speaks."""
    kept = []
    for given, value in headers:
        name = given.lower()
        if _OF_THE_HOP.fullmatch(name) or not _NAME.fullmatch(name):
            continue
        known = _value_of(name, value)
        if known is not None:
            kept.append((name, known))
    return tuple(kept)


def _value_of(name: str, value: str | bytes) -> str | bytes | None:
    """Return a value as gRPC sends it on, None for one that it cannot send."""
    if isinstance(value, bytes):
        return value
    if not name.endswith("-bin"):
        return value if _TEXT.fullmatch(value) else None
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return None


def speaking_for(principal: Principal) -> Metadata:
    """Return the metadata by which the gateway says for whom it speaks; of another service it says nothing."""
    if principal.kind != "user":
        return ()
    roles = ",".join(sorted(role_name(role) for role in principal.roles))
    return (("virtyard-user", principal.name), ("virtyard-roles", roles))


def grant_said(grant: Grant, method: PublicMethod) -> Metadata:
    """Return what the gateway's own service is told of a grant; others are told nothing of it."""
    if method.owner != "gateway":
        return ()
    return ((EXPIRES, str(grant.expire_time.timestamp())), (GRANT, grant.id))


class Forward:
    """Calls public methods on the channels of their owners; requests and answers are serialised messages."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """Call by these channels, one for each owner."""
        self._channels = channels
        self._callables: dict[str, Any] = {}
        self._watches: set[Any] = set()
        self._closing = False

    def start(
        self,
        method: PublicMethod,
        request: bytes | AsyncIterable[bytes],
        principal: Principal,
        metadata: Metadata = (),
        timeout: float | None = None,
    ) -> Any:
        """Start a call and return it, as gRPC does: it is awaited or iterated over, and can be cancelled.

        Args:
            method: what is called.
            request: the request, or a stream of them, as the method takes it.
            principal: for whom.
            metadata: what goes along, made by `forwarded`.
            timeout: seconds; None for ever.

        Raises:
            Unsupported: nobody serves the method here.
        """
        found = self._callables.get(method.path)
        if found is None:
            channel = self._channels.get(method.owner)
            if channel is None:
                raise Unsupported(f"{method.path} is not served here")
            found = self._callables[method.path] = _callable(channel, method)
        return found(request, timeout=timeout, metadata=(*speaking_for(principal), *metadata))

    async def unary(
        self,
        method: PublicMethod,
        request: bytes | AsyncIterable[bytes],
        principal: Principal,
        metadata: Metadata = (),
        timeout: float | None = None,
        *,
        ending: Ending,
    ) -> bytes:
        """Return the answer of a call that has one.

        Args:
            method: what is called.
            request: the request, or a stream of them, as the method takes it.
            principal: for whom.
            metadata: what goes along, made by `forwarded`.
            timeout: seconds; None for ever.
            ending: of the caller's grant; the call is abandoned with it, but not what a store has of it by then.

        Raises:
            Unauthenticated: the caller's grant has ended; whether the service did what was asked is not known.
        """
        call = self.start(method, request, principal, metadata, timeout)
        # Whoever takes back what lets in themselves is told that it is done.
        told = nullcontext() if method.path == _REVOKE else ending.telling(call.cancel)
        try:
            with peer_cancels_named(), told:
                return cast(bytes, await call)
        except Unavailable:
            if ending.is_over:
                raise Unauthenticated(f"{ending.error.message}; {_MAY_BE_DONE}") from None
            raise

    async def stream(
        self,
        method: PublicMethod,
        request: bytes | AsyncIterable[bytes],
        principal: Principal,
        metadata: Metadata = (),
        timeout: float | None = None,
        *,
        ending: Ending | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answers of a call, one at a time as they are taken; a watch ends with GOODBYE when this closes.

        Args:
            method: what is called.
            request: the request, or a stream of them, as the method takes it.
            principal: for whom.
            metadata: what goes along, made by `forwarded`.
            timeout: seconds; None for ever.
            ending: of the caller's grant; the stream ends with it.

        Raises:
            Unauthenticated: the caller's grant has ended.
        """
        ending = ending or Ending()
        farewell = _Farewell(method, request)
        if farewell.is_watch and self._closing:
            yield farewell.frame()
            return
        call = self.start(method, request, principal, metadata, timeout)
        if farewell.is_watch:
            self._watches.add(call)
        try:
            with peer_cancels_named(), ending.telling(call.cancel):
                async for answer in call:
                    farewell.last = answer
                    yield answer
        except Unavailable:
            if ending.is_over:
                raise ending.error from None
            if not (self._closing and farewell.is_watch):
                raise
            yield farewell.frame()
        finally:
            self._watches.discard(call)
            call.cancel()

    def close(self) -> None:
        """Have every watch end with GOODBYE, those too that begin later."""
        self._closing = True
        for call in tuple(self._watches):
            call.cancel()


class _Farewell:
    """The last frame of a watch that the gateway ends: a GOODBYE from which the watcher goes on elsewhere."""

    def __init__(self, method: PublicMethod, request: bytes | AsyncIterable[bytes]) -> None:
        self._method = method
        self._request = request
        self.last: bytes | None = None
        fields = method.response.DESCRIPTOR.fields_by_name
        kind = fields.get("kind")
        self.is_watch = (
            isinstance(request, bytes)
            and "resume_token" in fields
            and kind is not None
            and kind.enum_type is not None
            and kind.enum_type.full_name == FrameKind.DESCRIPTOR.full_name
        )

    def frame(self) -> bytes:
        made = cast(Any, self._method.response)(kind=FrameKind.FRAME_KIND_GOODBYE, resume_token=self._token())
        return cast(Message, made).SerializeToString()

    def _token(self) -> str:
        """Return the token of the last frame; where nothing was sent yet that with which the watcher came."""
        if self.last is None:
            assert isinstance(self._request, bytes), "a watch has one request"
            return str(cast(Any, self._method.request).FromString(self._request).options.resume_token)
        frame = cast(Any, self._method.response).FromString(self.last)
        further = getattr(frame, "further", None)
        return str(further[-1].resume_token if further else frame.resume_token)


def _callable(channel: grpc.aio.Channel, method: PublicMethod) -> Any:
    if method.client_streaming:
        make: Any = channel.stream_stream if method.server_streaming else channel.stream_unary
    else:
        make = channel.unary_stream if method.server_streaming else channel.unary_unary
    return make(method.path)
