"""Calls within a process, with the surface of gRPC's calls: what generated stubs return over a `LocalChannel`."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import aclosing, suppress
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from virtyard.kernel.errors import Cancelled, DeadlineExceeded, Unavailable, VirtyardError
from virtyard.runtime.rpc import serialised
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import code_of, to_rpc_error
from virtyard.runtime.window import Window

__all__ = ["LocalCollectingCall", "LocalStreamCall", "LocalUnaryCall", "answer_into", "stream_into"]

Q = TypeVar("Q")
R = TypeVar("R")
_log = logging.getLogger(__name__)

OpenStream = Callable[[], AsyncGenerator[Message | bytes, None]]
Requests = AsyncIterable[Q] | Iterable[Q] | None


async def answer_into(answer: asyncio.Future[bytes], work: Callable[[], Awaitable[bytes]]) -> None:
    """Do the work of a unary call in a task of the callee; the answer may have been abandoned by then."""
    try:
        result = await work()
    except VirtyardError as error:
        if not answer.done():
            answer.set_exception(error)
    except asyncio.CancelledError:
        if not answer.done():
            answer.set_exception(
                Unavailable("the service stopped before it had answered; the outcome is unknown", retry_after=1.0)
            )
        raise
    else:
        if not answer.done():
            answer.set_result(result)


async def stream_into(window: Window, open_stream: OpenStream, named: Callable[[Exception], VirtyardError]) -> None:
    """Do the work of a streaming call in a task of the callee."""
    try:
        async with aclosing(open_stream()) as answers:
            async for one in answers:
                await window.put(serialised(one))
                if window.ended:
                    return
    except Exception as error:  # noqa: BLE001 - every end of a stream is told to the caller
        window.finish(named(error))
    except asyncio.CancelledError:
        window.finish(Unavailable("the service stopped while it streamed", retry_after=1.0))
        raise
    window.finish()


class _LocalCall(grpc.aio.Call):
    """What every call within a process has: a deadline, an end, and how it ended."""

    def __init__(self, path: str, deadline: float | None) -> None:
        self._path = path
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._error: VirtyardError | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._callbacks: list[Callable[[Any], None]] = []
        self._was_cancelled = False
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = self._loop.call_later(deadline - time.monotonic(), self._expire)

    @override
    def done(self) -> bool:
        """Return whether the call has ended."""
        return self._ended.done()

    @override
    def cancelled(self) -> bool:
        """Return whether this side cancelled the call."""
        return self._was_cancelled

    @override
    def cancel(self) -> bool:
        """Abandon the call; return False if it had ended."""
        if self._ended.done():
            return False
        self._was_cancelled = True
        self._abandon(Cancelled(f"{self._path} was cancelled by its caller"))
        return True

    @override
    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    @override
    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback` called with this call at its end."""
        if self._ended.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    @override
    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Return no metadata: nothing sends any."""
        return grpc.aio.Metadata()

    @override
    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Return the metadata of the end, with the details of an error."""
        await asyncio.shield(self._ended)
        if self._error is None:
            return grpc.aio.Metadata()
        return to_rpc_error(self._error).trailing_metadata() or grpc.aio.Metadata()

    @override
    async def code(self) -> grpc.StatusCode:
        """Return how the call ended, once it has."""
        await asyncio.shield(self._ended)
        return grpc.StatusCode.OK if self._error is None else code_of(self._error)

    @override
    async def details(self) -> str:
        """Return the message of the error, once the call has ended."""
        await asyncio.shield(self._ended)
        return "" if self._error is None else self._error.message

    @override
    async def wait_for_connection(self) -> None:
        """Return at once: there is no connection to wait for."""

    def _abandon(self, error: VirtyardError) -> None:
        """End the call for the caller."""
        raise NotImplementedError

    def _expire(self) -> None:
        if not self._ended.done():
            self._abandon(DeadlineExceeded(f"{self._path} did not answer within its deadline"))

    def _end(self, error: VirtyardError | None) -> None:
        """Note how the call ended, once."""
        if self._ended.done():
            return
        self._error = error
        self._ended.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        for callback in self._callbacks:
            callback(self)


class _FedCall(_LocalCall):
    """A call whose caller sends a stream of requests."""

    _requests: Window | None = None
    _encode: Callable[[Any], bytes] | None = None
    _feeder: asyncio.Task[None] | None = None
    _task: asyncio.Task[None]

    def feed(self, scope: TaskScope, requests: Requests[Any], window: Window, encode: Callable[[Any], bytes]) -> None:
        """Send the requests to the callee; None leaves that to `write`."""
        self._requests, self._encode = window, encode
        if requests is not None:
            self._feeder = scope.start(_feed(requests, window, encode), name=self._path)
            self._task.add_done_callback(_cancelling(self._feeder))

    async def write(self, request: Any) -> None:
        """Send one request."""
        if self._requests is None or self._encode is None or self._feeder is not None:
            raise grpc.aio.UsageError("the call was given its requests")
        if self._ended.done():
            raise asyncio.InvalidStateError("the call has ended")
        await self._requests.put(self._encode(request))

    async def done_writing(self) -> None:
        """Send no more requests."""
        if self._requests is not None:
            self._requests.finish()


class LocalUnaryCall(_LocalCall, grpc.aio.UnaryUnaryCall[Q, R], Generic[Q, R]):
    """A call with one answer; a mutation in flight goes on when its caller leaves."""

    def __init__(
        self,
        scope: TaskScope,
        path: str,
        deadline: float | None,
        work: Callable[[], Awaitable[bytes]],
        decode: Callable[[bytes], R],
        *,
        stoppable: bool,
    ) -> None:
        """Start the work in a task of the callee; a stoppable one is cancelled when the caller leaves."""
        super().__init__(path, deadline)
        self._decode = decode
        self._stoppable = stoppable
        self._answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answer.add_done_callback(self._answered)
        # A context of its own: nothing of the caller's leaks into the callee, as over the wire.
        self._task = scope.start(answer_into(self._answer, work), name=path, context=contextvars.Context())

    @override
    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the answer."""
        return self._result().__await__()

    async def _result(self) -> R:
        try:
            return self._decode(await self._answer)
        except VirtyardError as error:
            if self._was_cancelled:
                raise asyncio.CancelledError from None
            raise to_rpc_error(error) from None

    def _answered(self, answer: asyncio.Future[bytes]) -> None:
        if answer.cancelled():
            self._was_cancelled = True
            self._leave()
            self._end(Cancelled(f"{self._path} was cancelled by its caller"))
            return
        error = answer.exception()
        self._end(error if isinstance(error, VirtyardError) else None)

    @override
    def _abandon(self, error: VirtyardError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
        self._leave()

    def _leave(self) -> None:
        if self._stoppable:
            self._task.cancel()


class LocalCollectingCall(_FedCall, LocalUnaryCall[Q, R], grpc.aio.StreamUnaryCall[Q, R], Generic[Q, R]):
    """A call with a stream of requests and one answer; the callee is cancelled when the caller leaves."""


class LocalStreamCall(_FedCall, grpc.aio.StreamStreamCall[Q, R], grpc.aio.UnaryStreamCall[Q, R], Generic[Q, R]):
    """A call with a stream of answers, and maybe of requests; the callee is cancelled when the caller leaves."""

    def __init__(
        self,
        scope: TaskScope,
        path: str,
        deadline: float | None,
        open_stream: OpenStream,
        named: Callable[[Exception], VirtyardError],
        decode: Callable[[bytes], R],
        window: Window,
    ) -> None:
        """Start the work in a task of the callee."""
        super().__init__(path, deadline)
        self._decode = decode
        self._window = window
        self._task = scope.start(stream_into(window, open_stream, named), name=path, context=contextvars.Context())

    def __del__(self) -> None:
        """Cancel a call that its caller has dropped, as gRPC does."""
        task = getattr(self, "_task", None)
        if task is not None and not task.done():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(task.cancel)

    @override
    def __aiter__(self) -> AsyncIterator[R]:
        """Yield the answers."""
        return self._answers()

    @override
    async def read(self) -> Any:
        """Return the next answer, `grpc.aio.EOF` at the end."""
        raw = await self._next()
        return grpc.aio.EOF if raw is None else self._decode(raw)

    async def _answers(self) -> AsyncIterator[R]:
        while (raw := await self._next()) is not None:
            yield self._decode(raw)

    async def _next(self) -> bytes | None:
        try:
            raw = await self._window.get()
        except VirtyardError as error:
            self._end(error)
            if self._was_cancelled:
                raise asyncio.CancelledError from None
            raise to_rpc_error(error) from None
        except asyncio.CancelledError:
            self.cancel()
            raise
        if raw is None:
            self._end(None)
        return raw

    @override
    def _abandon(self, error: VirtyardError) -> None:
        self._window.fail(error)
        self._task.cancel()
        self._end(error)


async def _feed(requests: AsyncIterable[Q] | Iterable[Q], window: Window, encode: Callable[[Q], bytes]) -> None:
    """Serialise the caller's requests into the window."""
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                await window.put(encode(request))
        else:
            for request in requests:
                await window.put(encode(request))
    except Exception as error:  # noqa: BLE001 - the iterator is the caller's, and may fail in any way
        _log.exception("the requests of a stream failed")
        window.fail(Cancelled(f"the requests of the stream failed: {error}"))
    else:
        window.finish()


def _cancelling(task: asyncio.Task[None]) -> Callable[[object], None]:
    """Return a callback that cancels a task."""

    def cancel(_: object) -> None:
        task.cancel()

    return cancel
