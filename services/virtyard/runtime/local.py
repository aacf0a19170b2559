"""The local channel: generated stubs call services of the same process, under the rules of the wire (P30).

What the wire does is done here too: messages travel as bytes, so nothing is shared; the callee runs in tasks of its own
with a context of its own; deadline, principal and permission apply; errors are taken apart and put together again;
streams have a bounded window; and who leaves a mutation only stops waiting for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from virtyard.kernel.errors import CapacityExhausted, Unsupported, VirtyardError
from virtyard.runtime import telemetry
from virtyard.runtime.call import MAX_MESSAGE_BYTES, Call, Principal
from virtyard.runtime.local_call import LocalCollectingCall, LocalStreamCall, LocalUnaryCall, Requests
from virtyard.runtime.rpc import Method, Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.window import Window

__all__ = ["LocalChannel"]

Q = TypeVar("Q")
R = TypeVar("R")

Encode = Callable[[Q], bytes]
Decode = Callable[[bytes], R]
Metadata = Iterable[tuple[str, str | bytes]] | None


class LocalChannel(grpc.aio.Channel):
    """The surface of `grpc.aio.Channel` that generated stubs use, over services of this process."""

    def __init__(self, services: Iterable[Service], principal: Principal, *, window: int = 64) -> None:
        """Serve the methods of the services to one principal.

        Args:
            services: what can be called.
            principal: who calls; the gateway may speak for the person it has signed in, as over the wire.
            window: as many messages of a stream may wait for a slow reader.
        """
        self.methods = {method.path: method for service in services for method in service.methods}
        self.principal = principal
        self.window = window
        self.scope = TaskScope(f"local.{principal.identity}")

    @override
    async def __aenter__(self) -> Self:
        """Return the channel."""
        return self

    @override
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Close the channel."""
        await self.close()

    @override
    async def close(self, grace: float | None = None) -> None:
        """Let calls end for `grace` seconds, then cancel what still runs."""
        await self.scope.close(patience=grace or 0.0)

    @override
    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return that the callee is there: it is this process."""
        return grpc.ChannelConnectivity.READY

    @override
    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait for ever, or not at all: the state is always READY."""
        if last_observed_state is grpc.ChannelConnectivity.READY:
            await asyncio.get_running_loop().create_future()

    @override
    async def channel_ready(self) -> None:
        """Return at once."""

    @override
    def unary_unary(
        self,
        method: str,
        request_serializer: Encode[Q] | None = None,
        response_deserializer: Decode[R] | None = None,
        _registered_method: bool = False,
    ) -> grpc.aio.UnaryUnaryMultiCallable[Q, R]:
        """Return what calls a method with one request and one answer."""
        return _Unary(self, method, request_serializer, response_deserializer)

    @override
    def unary_stream(
        self,
        method: str,
        request_serializer: Encode[Q] | None = None,
        response_deserializer: Decode[R] | None = None,
        _registered_method: bool = False,
    ) -> grpc.aio.UnaryStreamMultiCallable[Q, R]:
        """Return what calls a method with one request and a stream of answers."""
        return _Watching(self, method, request_serializer, response_deserializer)

    @override
    def stream_unary(
        self,
        method: str,
        request_serializer: Encode[Q] | None = None,
        response_deserializer: Decode[R] | None = None,
        _registered_method: bool = False,
    ) -> grpc.aio.StreamUnaryMultiCallable[Q, R]:
        """Return what calls a method with a stream of requests and one answer."""
        return _Collecting(self, method, request_serializer, response_deserializer)

    @override
    def stream_stream(
        self,
        method: str,
        request_serializer: Encode[Q] | None = None,
        response_deserializer: Decode[R] | None = None,
        _registered_method: bool = False,
    ) -> grpc.aio.StreamStreamMultiCallable[Q, R]:
        """Return what calls a method with a stream of requests and a stream of answers."""
        return _Talking(self, method, request_serializer, response_deserializer)


class _Dialled(Generic[Q, R]):
    """A method as one stub sees it."""

    def __init__(self, channel: LocalChannel, path: str, encode: Encode[Q] | None, decode: Decode[R] | None) -> None:
        self._channel = channel
        self._path = path
        self._method = channel.methods.get(path)
        self._encode: Encode[Q] = encode or _as_it_is
        self._decode: Decode[R] = decode or _as_it_is

    def _served(self) -> Method:
        if self._method is None:
            raise Unsupported(f"{self._path} is not served here")
        return self._method

    def _named(self, error: Exception) -> VirtyardError:
        if self._method is not None:
            return self._method.named(error)
        return error if isinstance(error, VirtyardError) else Unsupported(f"{self._path} is not served here")

    def _call(self, deadline: float | None, metadata: Metadata) -> Callable[[], Call]:
        """Return what makes the call, in the callee; the trace is that of the caller."""
        facts: dict[str, str | bytes] = dict(metadata or ())
        facts.update(telemetry.inject())
        principal = self._channel.principal
        return lambda: Call.made(principal, deadline, facts)


class _Unary(_Dialled[Q, R], grpc.aio.UnaryUnaryMultiCallable[Q, R]):
    """Calls with one request and one answer."""

    @override
    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: Metadata = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> LocalUnaryCall[Q, R]:
        """Start the call."""
        raw, deadline = self._encode(request), _deadline(timeout)
        made = self._call(deadline, metadata)

        async def work() -> bytes:
            _refuse_large(raw)
            answer = await self._served().unary(raw, made())
            _refuse_large(answer)
            return answer

        stoppable = self._method is None or self._method.reads_only
        return LocalUnaryCall(self._channel.scope, self._path, deadline, work, self._decode, stoppable=stoppable)


class _Watching(_Dialled[Q, R], grpc.aio.UnaryStreamMultiCallable[Q, R]):
    """Calls with one request and a stream of answers."""

    @override
    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: Metadata = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> LocalStreamCall[Q, R]:
        """Start the call."""
        raw, deadline = self._encode(request), _deadline(timeout)
        made = self._call(deadline, metadata)

        def open_stream() -> AsyncGenerator[Message | bytes, None]:
            _refuse_large(raw)
            return self._served().open(raw, made())

        window = Window(self._channel.window)
        return LocalStreamCall(
            self._channel.scope, self._path, deadline, open_stream, self._named, self._decode, window
        )


class _Talking(_Dialled[Q, R], grpc.aio.StreamStreamMultiCallable[Q, R]):
    """Calls with a stream of requests and a stream of answers."""

    @override
    def __call__(
        self,
        request_iterator: Requests[Q] = None,
        timeout: float | None = None,
        metadata: Metadata = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> LocalStreamCall[Q, R]:
        """Start the call."""
        deadline, channel = _deadline(timeout), self._channel
        made = self._call(deadline, metadata)
        requests = Window(channel.window)

        def open_stream() -> AsyncGenerator[Message | bytes, None]:
            return self._served().open(requests.items(), made())

        call = LocalStreamCall[Q, R](
            channel.scope, self._path, deadline, open_stream, self._named, self._decode, Window(channel.window)
        )
        call.feed(channel.scope, request_iterator, requests, self._encode)
        return call


class _Collecting(_Dialled[Q, R], grpc.aio.StreamUnaryMultiCallable[Q, R]):
    """Calls with a stream of requests and one answer."""

    @override
    def __call__(
        self,
        request_iterator: Requests[Q] = None,
        timeout: float | None = None,
        metadata: Metadata = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> LocalCollectingCall[Q, R]:
        """Start the call."""
        deadline, channel = _deadline(timeout), self._channel
        made = self._call(deadline, metadata)
        requests = Window(channel.window)

        async def work() -> bytes:
            try:
                return await self._served().collect(requests.items(), made())
            finally:
                requests.finish()

        call = LocalCollectingCall[Q, R](channel.scope, self._path, deadline, work, self._decode, stoppable=True)
        call.feed(channel.scope, request_iterator, requests, self._encode)
        return call


def _as_it_is(value: Any) -> Any:
    """Return the value: a stub without a serialiser exchanges bytes."""
    return value


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _refuse_large(raw: bytes) -> None:
    if len(raw) > MAX_MESSAGE_BYTES:
        raise CapacityExhausted(f"a message of {len(raw)} bytes is larger than {MAX_MESSAGE_BYTES}")
