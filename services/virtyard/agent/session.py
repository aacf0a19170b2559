"""The session: the news that one Execute stream has still to send.

It is bounded by the effects that are open on it: of each only the latest progress and the result are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from virtyard.agent.model import Key
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import VirtyardError

_MOST_OPEN = 4096


class Session:
    """Takes reports from the runner, in the order in which they became durable, and hands them to the stream."""

    def __init__(self) -> None:
        """Begin with nothing asked for."""
        self._open: set[Key] = set()
        self._outbox: dict[tuple[Key, str], participant.EffectReport] = {}
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._error: VirtyardError | None = None

    async def expect(self, keys: list[Key]) -> None:
        """Note what was asked for; waits while too much is open, which holds the sender back."""
        await self._room.wait()
        self._open.update(keys)
        self._look()

    def tell(self, report: participant.EffectReport) -> None:
        """Take the news of one effect."""
        key = Key(report.step_key, int(report.phase), report.attempt)
        kind = report.WhichOneof("report") or ""
        if kind == "result":
            self._open.discard(key)
            for earlier in ("accepted_time", "progress"):
                self._outbox.pop((key, earlier), None)
            self._look()
        self._outbox[key, kind] = report
        self._news.set()

    def end(self) -> None:
        """Note that nothing more is asked for: the stream ends when everything has been answered."""
        self._ended = True
        self._news.set()

    def fail(self, error: VirtyardError) -> None:
        """Break the stream off; whoever asked asks again, and nothing is done twice."""
        self._error = error
        self._news.set()

    async def batches(self) -> AsyncIterator[list[participant.EffectReport]]:
        """Yield whatever has come up since the last time, until everything is answered.

        Raises:
            VirtyardError: the session was broken off.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            if self._outbox:
                reports = list(self._outbox.values())
                self._outbox.clear()
                yield reports
            if self._error is not None:
                raise self._error
            if self._ended and not self._open and not self._outbox:
                return

    def _look(self) -> None:
        if len(self._open) < _MOST_OPEN:
            self._room.set()
        else:
            self._room.clear()
