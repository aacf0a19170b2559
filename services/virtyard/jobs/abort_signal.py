"""The abort signal of one operation: ends whatever its runner waits for between effects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class AbortSignal:
    """Is given once, and then stays given."""

    def __init__(self) -> None:
        """Make a signal that is not given."""
        self._given = False
        self._waits: set[asyncio.Timeout] = set()

    def give(self) -> None:
        """End all waits, now and from now on; again, it changes nothing."""
        if self._given:
            return  # a wait that is ending already refuses to be ended again
        self._given = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            wait.reschedule(now)

    async def wait_for(self, waiting: Awaitable[T]) -> T | None:
        """Return what is waited for; None, and stop waiting, if the signal is given first."""
        limit = asyncio.timeout(0 if self._given else None)
        try:
            async with limit:
                self._waits.add(limit)
                return await waiting
        except TimeoutError:
            if limit.expired():
                return None
            raise
        finally:
            self._waits.discard(limit)
