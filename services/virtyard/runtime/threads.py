"""A bounded set of threads for the blocking calls of one driver or one service.

A cancelled caller waits for the call that it started, so whoever cleans up afterwards finds nothing still moving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """Runs blocking functions of one owner, at most `workers` at a time."""

    def __init__(self, name: str, workers: int) -> None:
        """Name the threads after who owns them."""
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in a thread and return what it gives; a cancellation is raised once it has ended."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            future.exception()
            raise cancelled
        return future.result()

    async def leave(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in a thread; a cancelled caller leaves at once and the call ends on its own."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Let running calls end and start no others."""
        self._pool.shutdown(wait=False, cancel_futures=True)
