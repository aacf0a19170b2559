"""The task scope: a task group that a lifecycle object opens in one task and closes in another.

Every task of the runtime is started in one of these, so that none outlives its owner and a failure is never silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["TaskScope"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class TaskScope:
    """The tasks of one lifecycle object; closing it cancels and awaits what still runs."""

    def __init__(self, name: str) -> None:
        """Name the scope after its owner, as its tasks and logs will show it."""
        self._name = name
        self._closing = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._host: asyncio.Task[None] | None = None
        self._children: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        """Open the scope."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the scope."""
        await self.close()

    async def open(self) -> None:
        """Make the scope ready to start tasks."""
        ready: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()
        # The one bare task: the group must be left by the task that entered it, and owners are closed by others.
        self._host = asyncio.create_task(self._hold(ready), name=self._name)
        self._group = await ready

    @property
    def running(self) -> int:
        """Return how many tasks are running."""
        return len(self._children)

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str = "") -> asyncio.Task[T]:
        """Start a task of this scope.

        An exception that leaves it ends the whole scope and is raised again by `close`.
        """
        if self._group is None or self._closing.is_set():
            coroutine.close()
            raise RuntimeError(f"the task scope {self._name} is not open")
        task = self._group.create_task(coroutine, name=f"{self._name}.{name}" if name else self._name)
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    async def close(self) -> None:
        """Cancel what still runs, wait for it, and raise what failed."""
        if self._host is None:
            return
        self._closing.set()
        for task in tuple(self._children):
            task.cancel()
        host, self._host = self._host, None
        await host

    async def _hold(self, ready: asyncio.Future[asyncio.TaskGroup]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                ready.set_result(group)
                await self._closing.wait()
        except BaseExceptionGroup:
            _log.critical("task scope %s failed", self._name, exc_info=True)
            raise
