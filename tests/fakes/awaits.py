"""A driver that interrupts coroutines at one of their awaits, so that a test can go through all of them.

Whatever is driven waits as often as it really does; what is ready at once is no await.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Place:
    """An await that is to be interrupted: the n-th of all that are driven for it."""

    def __init__(self) -> None:
        """Interrupt nothing until it is armed."""
        self.count = 0
        """How many awaits there were since then."""
        self._wanted = 0
        self._interrupt: Callable[[], object] = lambda: None

    def arm(self, wanted: int, interrupt: Callable[[], object]) -> None:
        """Have `interrupt` called at the await of this number, counted from now on; 1 is the next one."""
        self.count, self._wanted, self._interrupt = 0, wanted, interrupt

    @property
    def reached(self) -> bool:
        """Whether there was such an await."""
        return 0 < self._wanted <= self.count

    def meet(self) -> None:
        """Count an await, before whatever it waits for can come."""
        self.count += 1
        if self.count == self._wanted:
            self._interrupt()

    async def drive_all(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Drive an asynchronous generator."""
        async with aclosing(items):
            while True:
                try:
                    item = await Driven(anext(items), self)
                except StopAsyncIteration:
                    return
                yield item


class Driven(Generic[T]):
    """An awaitable that runs another one, and tells a place of each of its awaits."""

    def __init__(self, inner: Awaitable[T], place: Place) -> None:
        """Run `inner` when this is awaited."""
        self._inner = inner
        self._place = place

    def __await__(self) -> Generator[Any, Any, T]:
        """Run it to its end, and return what it returned."""
        inner, failure = self._inner.__await__(), None
        while True:
            try:
                waited_for = next(inner) if failure is None else inner.throw(failure)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self._place.meet()
            try:
                yield waited_for
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to what is driven
                failure = error
            else:
                failure = None
