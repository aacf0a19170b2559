"""The keeper of the history: ended operations go to the archive, and leave it for good, by age and by count (P26).

It works in the background, a small batch with each commit, and writes nothing while there is nothing to do. What a
batch moves is read and compressed beside the writer, as ended operations never change.

It keeps pace with what ends: a database's file is as large as its fullest moment was, and looks by time alone would let
that moment grow with the rate of jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from virtyard.jobs.archive import (
    archive,
    forget_archived,
    forget_request_ids,
    read_leaving,
    read_outdated,
)
from virtyard.jobs.lock_requests import forget_lock_requests, has_outdated
from virtyard.jobs.store import JobStore
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError

__all__ = ["JOB_HISTORY", "History", "HistoryRetention", "Keep"]

_BATCH = 100
_FORGET_BATCH = 500
_SURPLUS = 20
"""It looks as soon as one in so many of those that are kept live has ended since the last time."""
_PAUSE = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much is kept; what exceeds either goes, the oldest first."""

    age: timedelta
    """The time since its end up to which an operation is kept."""
    count: int
    """How many ended operations are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRetention:
    """How long operations are kept with their jobs."""

    live: Keep
    """In the live tables, where lists and watches see them."""
    archive: Keep
    """In the archive."""
    request_ids: timedelta
    """The time since its end for which an operation or a person's lock answers to its request id, wherever it is."""
    interval: float
    """Seconds between two looks for what is to go, where not much ends."""


JOB_HISTORY = HistoryRetention(
    live=Keep(age=timedelta(days=30), count=20_000),
    archive=Keep(age=timedelta(days=365), count=500_000),
    request_ids=timedelta(days=30),
    interval=10.0,
)
"""What a site keeps."""


class History:
    """Moves and forgets what is not kept any more."""

    def __init__(self, store: JobStore, clock: Clock, retention: HistoryRetention) -> None:
        """Keep the history of this store."""
        self._store = store
        self._clock = clock
        self._retention = retention
        self._ended = 0
        self._often = max(_BATCH, retention.live.count // _SURPLUS)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled: after a while, or as soon as many have ended."""
        self._store.settled.on_ended = self._note_end
        while True:
            self._ended = 0
            self._wake.clear()
            try:
                await self.tidy()
            except VirtyardError as error:
                _log.warning("the history could not be tidied: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retention.interval):
                    await self._wake.wait()

    def _note_end(self) -> None:
        self._ended += 1
        if self._ended >= self._often:
            self._wake.set()

    async def tidy(self) -> None:
        """Move and forget everything that is not kept now.

        Raises:
            Unavailable: a commit failed; the rest is left for the next time.
        """
        if self._store.settled.in_doubt:
            await self._store.recall_open()
        for some in (self._archive_some, self._forget_ids, self._forget_lock_ids, self._forget_some):
            more = await some()
            while more:
                await asyncio.sleep(_PAUSE)
                more = await some()

    async def _archive_some(self) -> bool:
        """Move a batch to the archive; return whether there may be more."""
        keep = self._retention.live
        since = self._ago(keep.age)
        read = partial(read_leaving, since=since, count=keep.count, limit=_BATCH)
        leaving = await self._store.database.read(read)
        if leaving:
            await self._store.database.write(lambda transaction: archive(transaction, leaving))
        return len(leaving) == _BATCH

    async def _forget_ids(self) -> bool:
        """Let a batch of request ids be used anew; return whether there may be more."""
        since = self._ago(self._retention.request_ids)
        due = await self._store.database.read(
            lambda connection: connection.execute(
                "SELECT 1 FROM archived_operation WHERE request_id IS NOT NULL AND end_time < ? LIMIT 1", (since,)
            ).fetchone()
        )
        if due is None:
            return False
        done = await self._store.database.write(
            lambda transaction: forget_request_ids(transaction, since, _FORGET_BATCH)
        )
        return done == _FORGET_BATCH

    async def _forget_lock_ids(self) -> bool:
        """Let a batch of request ids of people's locks be used anew; return whether there may be more."""
        since = self._ago(self._retention.request_ids)
        if not await self._store.database.read(lambda connection: has_outdated(connection, since)):
            return False
        done = await self._store.database.write(
            lambda transaction: forget_lock_requests(transaction, since, _FORGET_BATCH)
        )
        return done == _FORGET_BATCH

    async def _forget_some(self) -> bool:
        """Forget a batch of the archive for good; return whether there may be more."""
        keep, ids = self._retention.archive, self._ago(self._retention.request_ids)
        read = partial(read_outdated, since=self._ago(keep.age), count=keep.count, ids_since=ids, limit=_FORGET_BATCH)
        numbers = await self._store.database.read(read)
        if numbers:
            await self._store.database.write(lambda transaction: forget_archived(transaction, numbers))
        return len(numbers) == _FORGET_BATCH

    def _ago(self, age: timedelta) -> float:
        return (self._clock.now() - age).timestamp()
