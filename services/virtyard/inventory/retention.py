"""Retention: how long events are live and archived, and the slow task that moves and forgets them, a little a commit.

Warnings and worse are kept apart from the others, so that no flood of small news drives them out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.event_archive import archive_events, forget_archived_events
from virtyard.inventory.events import fill_columns, microseconds, unfilled
from virtyard.inventory.flood import forget_folds
from virtyard.inventory.model import Reader
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.database import Database, Transaction

__all__ = ["EVENT_RETENTION", "Keep", "Retention", "archive_some", "forget_some", "keep_events"]

_log = logging.getLogger(__name__)
_BATCH = 500
_PAUSE = 0.2
_GRAVE = int(event_pb2.SEVERITY_WARNING)
_COUNT = {
    False: "SELECT coalesce(sum(severity < {grave}), 0) FROM {table}",
    True: "SELECT count(*) FROM {table} WHERE severity >= {grave}",
}
_OLDEST = {
    False: "SELECT number, time FROM {table} NOT INDEXED WHERE severity < {grave} ORDER BY number LIMIT ?",
    True: "SELECT number, time FROM {table} WHERE severity >= {grave} ORDER BY number LIMIT ?",
}
_LIVE, _ARCHIVE = "event", "archived_event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much is kept of one sort of events; what exceeds either goes, the oldest first."""

    age: timedelta
    """The age up to which they are kept."""
    count: int
    """How many of them are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long events are live, and for how long they are kept at all."""

    usual: Keep
    """Live events below WARNING."""
    grave: Keep
    """Live warnings and worse."""
    interval: float
    """Seconds between two looks for what is to go."""
    archive: Keep = Keep(age=timedelta(days=1095), count=500_000)
    """Archived events, of each of the two sorts, by their age since they were recorded."""


EVENT_RETENTION = Retention(
    usual=Keep(age=timedelta(days=90), count=200_000),
    grave=Keep(age=timedelta(days=365), count=50_000),
    interval=60.0,
)
"""What a site keeps."""


async def keep_events(
    database: Database, clock: Clock, retention: Retention, gone: Callable[[Sequence[int]], None]
) -> None:
    """Fill in what an older release left out, then archive and forget what has its age, until cancelled.

    Args:
        database: inventory.db.
        clock: tells the age of events.
        retention: what is kept.
        gone: is told the numbers of the events that are live no more.
    """
    while True:
        try:
            while await _fill_some(database):
                pass
            for grave, keep in ((False, retention.usual), (True, retention.grave)):
                while await archive_some(database, clock.now(), keep, grave=grave, gone=gone):
                    pass
                while await forget_some(database, clock.now(), retention.archive, grave=grave):
                    pass
            await forget_folds(database, clock.now())
        except VirtyardError as error:
            _log.warning("old events could not be archived or forgotten: %s", error)
        await asyncio.sleep(retention.interval)


async def archive_some(
    database: Database,
    now: datetime,
    keep: Keep,
    *,
    grave: bool,
    gone: Callable[[Sequence[int]], None] = lambda _: None,
) -> bool:
    """Archive at most a few hundred events that are not kept live any more; return whether there may be more."""
    numbers = await _read_outdated(database, _LIVE, now, keep, grave=grave)
    full = await _in_batches(database, lambda transaction: archive_events(transaction, numbers), len(numbers))
    gone(numbers)
    return full


async def forget_some(database: Database, now: datetime, keep: Keep, *, grave: bool) -> bool:
    """Forget at most a few hundred archived events that are not kept any more; return whether there may be more."""
    numbers = await _read_outdated(database, _ARCHIVE, now, keep, grave=grave)
    return await _in_batches(database, lambda transaction: forget_archived_events(transaction, numbers), len(numbers))


async def _read_outdated(database: Database, table: str, now: datetime, keep: Keep, *, grave: bool) -> list[int]:
    since = microseconds(now - keep.age)
    return await database.read(lambda connection: _outdated(connection, table, since, keep.count, grave=grave))


async def _fill_some(database: Database) -> bool:
    """Fill the columns of a few hundred events of an older release; return whether there may be more."""
    events = await database.read(lambda connection: unfilled(connection, _BATCH))

    def fill(transaction: Transaction) -> None:
        fill_columns(transaction, events)
        transaction.transition("inventory.rows")

    return await _in_batches(database, fill, len(events))


async def _in_batches(database: Database, write: Callable[[Transaction], None], size: int) -> bool:
    """Commit a batch, if there is anything in it, and pause behind a full one; return whether it was full."""
    if size:
        await database.write(write)
    if size == _BATCH:
        await asyncio.sleep(_PAUSE)
    return size == _BATCH


def _outdated(reader: Reader, table: str, since: int, count: int, *, grave: bool) -> list[int]:
    """Return the numbers of the oldest events of a table that are not kept in it, at most a batch of them."""
    (there,) = reader.execute(_COUNT[grave].format(table=table, grave=_GRAVE)).fetchone()
    surplus = there - count
    rows = reader.execute(_OLDEST[grave].format(table=table, grave=_GRAVE), (_BATCH,)).fetchall()
    return [number for place, (number, time) in enumerate(rows) if place < surplus or time < since]
