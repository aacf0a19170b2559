"""The contact of an agent with the inventory: a stream that is open while the agent lives.

The inventory learns from its end that the server was disconnected, sooner than from missing reports; so an agent that
stops because it was told to says goodbye.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from virtyard.kernel.errors import Unsupported, VirtyardError
from virtyard.runtime.scope import TaskScope

__all__ = ["Contact", "Keep"]

_PAUSE = 1.0
_PAUSE_UNSUPPORTED = 60.0
_LAST_WORDS = 1.0
_log = logging.getLogger(__name__)


Keep = Callable[[asyncio.Event], AsyncGenerator[object, None]]
"""Opens a stream that says goodbye once the event is set and ends when the inventory does; raises a VirtyardError."""


class Contact:
    """Keeps contact; use `open` and `close`."""

    def __init__(self, keep: Keep, made: Callable[[], None]) -> None:
        """Keep contact by `keep`; `made` is called each time that there is contact."""
        self._keep = keep
        self._made = made
        self._goodbye = asyncio.Event()
        self._there = False
        self._scope = TaskScope("agent.contact")

    def open(self) -> None:
        """Make contact, again and again where it must be."""
        self._task = self._scope.start(self._run(), vital=True)

    async def close(self) -> None:
        """Say goodbye if there is contact, and leave."""
        self._goodbye.set()
        if self._there:
            await asyncio.wait([self._task], timeout=_LAST_WORDS)
        await self._scope.close()

    async def _run(self) -> None:
        while not self._goodbye.is_set():
            pause = _PAUSE
            try:
                async with aclosing(self._keep(self._goodbye)) as stream:
                    async for _ in stream:
                        self._there = True
                        self._made()
            except VirtyardError as error:
                _log.debug("there is no contact with the inventory: %s", error)
                if isinstance(error, Unsupported):
                    pause = _PAUSE_UNSUPPORTED
            self._there = False
            if not self._goodbye.is_set():
                await asyncio.sleep(pause)
