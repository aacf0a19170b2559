"""Retention: how long events are kept, and the slow task that forgets the rest, a little with each commit.

Warnings and worse are kept apart from the others, so that no flood of small news drives them out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.events import fill_columns, microseconds, unfilled
from virtyard.inventory.flood import forget_folds
from virtyard.inventory.model import Reader
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.database import Database, Transaction

__all__ = ["EVENT_RETENTION", "Keep", "Retention", "forget_events", "forget_some"]

_log = logging.getLogger(__name__)
_BATCH = 500
_PAUSE = 0.2
_GRAVE = int(event_pb2.SEVERITY_WARNING)
_COUNT = {
    False: f"SELECT coalesce(sum(severity < {_GRAVE}), 0) FROM event",  # noqa: S608 - a constant
    True: f"SELECT count(*) FROM event WHERE severity >= {_GRAVE}",  # noqa: S608 - a constant
}
_OLDEST = {
    False: f"SELECT number, time FROM event NOT INDEXED WHERE severity < {_GRAVE} ORDER BY number LIMIT ?",  # noqa: S608
    True: f"SELECT number, time FROM event WHERE severity >= {_GRAVE} ORDER BY number LIMIT ?",  # noqa: S608
}
_FORGET = "DELETE FROM event WHERE number = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much is kept of one sort of events; what exceeds either is forgotten, the oldest first."""

    age: timedelta
    """The age up to which they are kept."""
    count: int
    """How many of them are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long events are kept."""

    usual: Keep
    """Events below WARNING."""
    grave: Keep
    """Warnings and worse."""
    interval: float
    """Seconds between two looks for what is to be forgotten."""


EVENT_RETENTION = Retention(
    usual=Keep(age=timedelta(days=90), count=200_000),
    grave=Keep(age=timedelta(days=365), count=50_000),
    interval=60.0,
)
"""What a site keeps."""


async def forget_events(
    database: Database, clock: Clock, retention: Retention, forgotten: Callable[[Sequence[int]], None]
) -> None:
    """Fill in what an older release left out, then forget what is not kept any more, until cancelled.

    Args:
        database: inventory.db.
        clock: tells the age of events.
        retention: what is kept.
        forgotten: is told the numbers of the events that were forgotten.
    """
    while True:
        try:
            while await _fill_some(database):
                pass
            for grave, keep in ((False, retention.usual), (True, retention.grave)):
                while await forget_some(database, clock.now(), keep, grave=grave, forgotten=forgotten):
                    pass
            await forget_folds(database, clock.now())
        except VirtyardError as error:
            _log.warning("old events could not be forgotten: %s", error)
        await asyncio.sleep(retention.interval)


async def forget_some(
    database: Database,
    now: datetime,
    keep: Keep,
    *,
    grave: bool,
    forgotten: Callable[[Sequence[int]], None] = lambda _: None,
) -> bool:
    """Forget at most a few hundred events that are not kept any more; return whether there may be more."""
    since = microseconds(now - keep.age)
    numbers = await database.read(lambda connection: _outdated(connection, since, keep.count, grave=grave))

    def forget(transaction: Transaction) -> None:
        transaction.executemany(_FORGET, [(number,) for number in numbers])
        transaction.transition("inventory.retention")

    full = await _in_batches(database, forget, len(numbers))
    forgotten(numbers)
    return full


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


def _outdated(reader: Reader, since: int, count: int, *, grave: bool) -> list[int]:
    """Return the numbers of the oldest events that are not kept, at most a batch of them."""
    (there,) = reader.execute(_COUNT[grave]).fetchone()
    surplus = there - count
    rows = reader.execute(_OLDEST[grave], (_BATCH,)).fetchall()
    return [number for place, (number, time) in enumerate(rows) if place < surplus or time < since]
