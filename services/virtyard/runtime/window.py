"""The window of a stream within a process: a bounded number of serialised messages between two tasks.

It stands for the wire's flow control: a writer waits for a slow reader, and neither memory nor order suffers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from virtyard.kernel.errors import VirtyardError

__all__ = ["Window"]


class Window:
    """A queue with one writer, one reader, and an end that may be an error."""

    __slots__ = ("_error", "_items", "_limit", "_reader", "_writer", "ended")

    def __init__(self, limit: int) -> None:
        """Let at most `limit` messages wait."""
        self._limit = limit
        self._items: deque[bytes] = deque()
        self._error: VirtyardError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.ended = False

    @property
    def waiting(self) -> int:
        """Return how many messages wait for the reader."""
        return len(self._items)

    async def put(self, item: bytes) -> None:
        """Hand over a message; waits while the window is full, and drops it once the stream has ended."""
        while len(self._items) >= self._limit and not self.ended:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if not self.ended:
            self._items.append(item)
            _wake(self._reader)

    async def get(self) -> bytes | None:
        """Return the next message, None at the end.

        Raises:
            VirtyardError: the stream ended so.
        """
        while not self._items:
            if self.ended:
                if self._error is not None:
                    raise self._error
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        item = self._items.popleft()
        _wake(self._writer)
        return item

    async def items(self) -> AsyncIterator[bytes]:
        """Yield the messages to the end."""
        while (item := await self.get()) is not None:
            yield item

    def finish(self, error: VirtyardError | None = None) -> None:
        """End the stream behind the messages that wait."""
        if self.ended:
            return
        self.ended, self._error = True, error
        _wake(self._reader)
        _wake(self._writer)

    def fail(self, error: VirtyardError) -> None:
        """End the stream at once; the messages that wait are dropped."""
        if not self.ended:
            self._items.clear()
        self.finish(error)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
