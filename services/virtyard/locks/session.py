"""The session: what one Acquire stream asked for and has not been told yet.

What it must be told is bounded by what it asked for: news of one owner replaces older news of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from virtyard.kernel.errors import VirtyardError
from virtyard.locks.model import QueuePlace, Report

__all__ = ["Session"]

_MOST_OPEN = 4096


class Session:
    """Takes reports from the service, in commit order, and hands them to the stream."""

    def __init__(self) -> None:
        """Start with nothing asked for."""
        self._open: set[str] = set()
        self._outbox: dict[str, Report] = {}
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._error: VirtyardError | None = None

    @property
    def open_owners(self) -> frozenset[str]:
        """Return the owners whose last word has not come."""
        return frozenset(self._open)

    async def expect(self, owner: str) -> None:
        """Note that the owner was asked for; waits while too much is unanswered, which holds the sender back."""
        await self._room.wait()
        self._open.add(owner)
        self._look()

    def tell(self, report: Report) -> None:
        """Pass news of an owner on; a place may be followed by more, anything else is the last word."""
        self._outbox.pop(report.owner, None)
        self._outbox[report.owner] = report
        if not isinstance(report, QueuePlace):
            self._open.discard(report.owner)
        self._look()
        self._news.set()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Take what is asked for; at the end the reports end too, once all is answered.

        An error breaks the session off instead, as the stream's own.
        """
        try:
            yield
        except VirtyardError as error:
            self.fail(error)
        else:
            self._ended = True
            self._news.set()

    def fail(self, error: VirtyardError) -> None:
        """Break the stream off; whoever asked asks again, and loses nothing by it."""
        self._error = error
        self._news.set()

    async def reports(self) -> AsyncGenerator[list[Report], None]:
        """Yield whatever has come up since the last time, until all that was asked for is answered.

        Raises:
            VirtyardError: the session was broken off.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            if self._outbox:
                reports = list(self._outbox.values())
                self._outbox.clear()
                self._look()
                yield reports
            if self._error is not None:
                raise self._error
            if self._ended and not self._open and not self._outbox:
                return

    def _look(self) -> None:
        if len(self._open) + len(self._outbox) < _MOST_OPEN:
            self._room.set()
        else:
            self._room.clear()
