"""The task scope: the tasks of one lifecycle object, none of which outlives it and none of which fails silently.

An `asyncio.TaskGroup` must be left by the task that entered it and cannot be entered by plain code; the owners here
(a database, a server, a channel) are made in one task and closed in another.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["TaskScope", "end_process_by"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_end_process: ContextVar[Callable[[], None] | None] = ContextVar("end_process", default=None)


def end_process_by(end: Callable[[], None]) -> None:
    """Have `end` called when a vital task fails, in whatever is started from here on."""
    _end_process.set(end)


class TaskScope:
    """The tasks of one lifecycle object; closing it cancels and awaits what still runs."""

    def __init__(self, name: str) -> None:
        """Name the scope after its owner, as its tasks and logs will show it."""
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures: list[BaseException] = []
        self._closed = False
        self._end_process = _end_process.get()

    async def __aenter__(self) -> Self:
        """Return the scope."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the scope."""
        await self.close()

    @property
    def running(self) -> int:
        """Return how many tasks are running."""
        return len(self._tasks)

    def start(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        name: str = "",
        context: contextvars.Context | None = None,
        vital: bool = False,
    ) -> asyncio.Task[T]:
        """Start a task of this scope.

        An exception that leaves it is logged at once and raised again by `close`.

        Args:
            coroutine: what to run.
            name: is added to the scope's name.
            context: the context variables that it sees; a copy of the caller's if not given.
            vital: without it the process would serve on and keep no promise, as one whose queue nobody empties. If it
                fails, the process ends; started again, it takes up what was under way.
        """
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"the task scope {self.name} is closed")
        task = asyncio.get_running_loop().create_task(coroutine, name=name or self.name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended_vital if vital else self._ended)
        return task

    async def close(self, *, patience: float = 0.0) -> None:
        """Cancel what still runs after `patience` seconds, wait for it, and raise what failed."""
        self._closed = True
        if self._tasks and patience > 0:
            await asyncio.wait(tuple(self._tasks), timeout=patience)
        while self._tasks:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.wait(tuple(self._tasks))
        failures, self._failures = self._failures, []
        if failures:
            raise BaseExceptionGroup(f"tasks of {self.name} failed", failures)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failures.append(error)
            _log.critical("a task of %s failed", self.name, exc_info=error)

    def _ended_vital(self, task: asyncio.Task[Any]) -> None:
        self._ended(task)
        if self._end_process is None or task.cancelled() or task.exception() is None:
            return
        _log.critical("the process ends, as it cannot go on without that task")
        self._end_process()
