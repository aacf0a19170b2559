"""The wire: handlers by which a gRPC server serves a service, from bytes to bytes.

A mutation runs in a task of its own: a client that leaves, or whose deadline passes, stops waiting for it and no more.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, NoReturn

import grpc

from virtyard.kernel.errors import Unavailable, VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import Call
from virtyard.runtime.local_call import answer_into
from virtyard.runtime.rpc import Method, Service, serialised
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import code_of, to_status

__all__ = ["ACCEPTED", "Wire", "break_off"]

Context = grpc.aio.ServicerContext[Any, Any]

ACCEPTED = "virtyard-accepted"
"""The initial metadata of a talk that may go on: grpcio loses a refusal that comes while its client sends a message, so
whoever must be told why waits for this before the first one."""


class Wire:
    """Serves services on a gRPC server and counts what is going on."""

    def __init__(self, scope: TaskScope, principal_of: Callable[[Mapping[str, Any]], Principal]) -> None:
        """Make a wire without services.

        Args:
            scope: owns the tasks of mutations.
            principal_of: from a connection's authentication to who calls.
        """
        self._scope = scope
        self._principal_of = principal_of
        self.watches = 0
        self.unary_calls = 0
        self._quiet: asyncio.Event = asyncio.Event()

    def handler(self, service: Service) -> grpc.GenericRpcHandler:
        """Return what serves every rpc of the service."""
        return grpc.method_handlers_generic_handler(
            service.name, {method.name: self._serve(method) for method in service.methods}
        )

    async def wait_quiet(self) -> None:
        """Wait until no watch and no unary call is open."""
        while self.watches or self.unary_calls:
            self._quiet.clear()
            await self._quiet.wait()

    def _serve(self, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
        if method.client_streaming and method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(self._talking(method))
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._watching(method))
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(self._collecting(method))
        return grpc.unary_unary_rpc_method_handler(
            self._answering(method) if method.reads_only else self._changing(method)
        )

    def _answering(self, method: Method) -> Callable[[bytes, Context], Any]:
        async def answer(raw: bytes, context: Context) -> bytes:
            self.unary_calls += 1
            try:
                return await method.unary(raw, self._call(context))
            except VirtyardError as error:
                await _abort(context, error)
            except asyncio.CancelledError:
                await break_off(context)
                raise
            finally:
                self.unary_calls -= 1
                self._note()

        return answer

    def _changing(self, method: Method) -> Callable[[bytes, Context], Any]:
        async def change(raw: bytes, context: Context) -> bytes:
            try:
                call = self._call(context)
                answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                answer.add_done_callback(_seen)
                work = answer_into(answer, lambda: method.unary(raw, call))
                task = self._scope.start(work, name=method.path, context=contextvars.Context())
                self.unary_calls += 1
                task.add_done_callback(self._changed)
                return await answer
            except VirtyardError as error:
                await _abort(context, error)
            except asyncio.CancelledError:
                await break_off(context)
                raise

        return change

    def _watching(self, method: Method) -> Callable[[bytes, Context], Any]:
        async def watch(raw: bytes, context: Context) -> AsyncIterator[bytes]:
            self.watches += 1
            try:
                async with aclosing(method.open(raw, self._call(context))) as answers:
                    # At once, so that a client knows that it is heard though there is no news for it yet.
                    await context.send_initial_metadata(())
                    async for one in answers:
                        yield serialised(one)
            except Exception as error:  # noqa: BLE001 - every end of a stream is told to the client
                await _abort(context, method.named(error))
            except asyncio.CancelledError:
                await break_off(context)
                raise
            finally:
                self.watches -= 1
                self._note()

        return watch

    def _talking(self, method: Method) -> Callable[[AsyncIterable[bytes], Context], Any]:
        async def talk(raws: AsyncIterable[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                async with aclosing(method.open(raws, self._call(context))) as answers:
                    await context.send_initial_metadata(((ACCEPTED, "1"),))
                    async for one in answers:
                        yield serialised(one)
            except Exception as error:  # noqa: BLE001 - every end of a stream is told to the client
                await _abort(context, method.named(error))
            except asyncio.CancelledError:
                await break_off(context)
                raise

        return talk

    def _collecting(self, method: Method) -> Callable[[AsyncIterable[bytes], Context], Any]:
        async def collect(raws: AsyncIterable[bytes], context: Context) -> bytes:
            try:
                return await method.collect(raws, self._call(context))
            except VirtyardError as error:
                await _abort(context, error)
            except asyncio.CancelledError:
                await break_off(context)
                raise

        return collect

    def _call(self, context: Context) -> Call:
        remaining: float | None = context.time_remaining()
        deadline = None if remaining is None else time.monotonic() + remaining
        principal = self._principal_of(context.auth_context())
        return Call.made(principal, deadline, dict(context.invocation_metadata() or ()))

    def _changed(self, _: object) -> None:
        self.unary_calls -= 1
        self._note()

    def _note(self) -> None:
        if not self.watches and not self.unary_calls:
            self._quiet.set()


async def _abort(context: Context, error: VirtyardError) -> NoReturn:
    """End the call with the error and all its details."""
    details = (("grpc-status-details-bin", to_status(error).SerializeToString()),)
    await context.abort(code_of(error), error.message, details)


async def break_off(context: Context) -> None:
    """End a call whose handler is cancelled: grpcio then sends nothing, and the client would wait for ever.

    Mostly it is cancelled because the client has left, who cannot be told; that is no error.
    """
    with suppress(Exception):
        await _abort(context, Unavailable("the service stopped in the middle of the call", retry_after=1.0))


def _seen(answer: asyncio.Future[bytes]) -> None:
    """Take note of an error that nobody waits for any more, so that it is not reported as lost."""
    if not answer.cancelled():
        answer.exception()
