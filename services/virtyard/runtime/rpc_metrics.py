"""The metrics of calls: methods that count how they ended, over the wire and within a process alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from typing_extensions import override

from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.call import Call
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.rpc import Method, Service
from virtyard.runtime.status import code_of

__all__ = ["metered"]


def metered(services: Iterable[Service], metrics: Metrics) -> list[Service]:
    """Return the services with methods that count their calls; do it before they are served."""
    found = list(services)
    for service in found:
        service.methods = tuple(
            _MeteredMethod(method.descriptor, service.implementation, metrics) for method in service.methods
        )
    return found


class _MeteredMethod(Method):
    """A method that counts its calls."""

    def __init__(self, descriptor: MethodDescriptor, implementation: object, metrics: Metrics) -> None:
        super().__init__(descriptor, implementation)
        self._metrics = metrics
        self._label = self.path.removeprefix("/")
        self._streams = 0

    @override
    async def unary(self, raw: bytes, call: Call) -> bytes:
        """See `Method.unary`."""
        began, code = time.perf_counter(), "CANCELLED"
        try:
            answer = await super().unary(raw, call)
            code = "OK"
        except VirtyardError as error:
            code = code_of(error).name
            raise
        finally:
            self._metrics.rpc_handled.add(self._label, code)
            self._metrics.rpc_duration.observe(time.perf_counter() - began, self._label)
        return answer

    @override
    def open(self, raw: bytes | AsyncIterable[bytes], call: Call) -> AsyncGenerator[Message | bytes, None]:
        """See `Method.open`."""
        return self._counted(raw, call)

    async def _counted(self, raw: bytes | AsyncIterable[bytes], call: Call) -> AsyncGenerator[Message | bytes, None]:
        code = "OK"
        self._count_streams(1)
        try:
            async with aclosing(super().open(raw, call)) as answers:
                async for answer in answers:
                    yield answer
        except (GeneratorExit, asyncio.CancelledError):
            code = "CANCELLED"
            raise
        except Exception as error:
            code = code_of(error).name if isinstance(error, VirtyardError) else "INTERNAL"
            raise
        finally:
            self._metrics.rpc_handled.add(self._label, code)
            self._count_streams(-1)

    def _count_streams(self, more: int) -> None:
        self._streams += more
        self._metrics.rpc_streams.set(self._streams, self._label)
