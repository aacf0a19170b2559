"""Estimates: when something that runs is expected to end, by its outlook, or by those before it where that has none."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation
from virtyard.jobs.outlook import began, goes_on, operation_end
from virtyard.jobs.store import JobStore

_RECENT, _ENOUGH = 2000, 20
"""So many operations are looked at for others of the same type, and so many of these suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When something is expected to end."""

    end: datetime | None = None
    """The expected end; None if nothing can be told."""
    source: pb.EstimateSource.ValueType = pb.ESTIMATE_SOURCE_UNSPECIFIED
    """What it is taken from."""


UNKNOWN = Estimate()
"""Nothing can be told."""


def by_history(durations: Sequence[float], begun: datetime, now: datetime) -> datetime | None:
    """Return when something ends that takes as long as most before it; None for one that takes longer already.

    Args:
        durations: how long others of its type took, in seconds.
        begun: when it began.
        now: the present time.
    """
    if not durations:
        return None
    end = begun + timedelta(seconds=median(durations))
    return end if end > now else None


async def estimate(operation: Operation, store: JobStore, now: datetime) -> Estimate:
    """Return when an operation that runs forward is expected to end."""
    begun = began(operation.record)
    if begun is None or not goes_on(operation):
        return UNKNOWN
    end = operation_end(operation, now)
    if end is not None:
        return Estimate(end=end, source=pb.ESTIMATE_SOURCE_PROGRESS)
    end = by_history(await durations_of(store, operation.record.method), begun, now)
    return Estimate(end=end, source=pb.ESTIMATE_SOURCE_HISTORY) if end is not None else UNKNOWN


async def durations_of(store: JobStore, method: str) -> list[float]:
    """Return how long the last operations of a type took that succeeded, from their first step on, in seconds."""

    def read(connection: sqlite3.Connection) -> list[bytes]:
        (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM operation").fetchone()
        rows = connection.execute(
            "SELECT record FROM operation WHERE number > ? AND method = ? AND open = 0 ORDER BY number DESC LIMIT ?",
            (last - _RECENT, method, _ENOUGH),
        )
        return [record for (record,) in rows]

    found = []
    for body in await store.database.read(read):
        record = record_pb2.OperationRecord.FromString(body)
        begun = began(record)
        if record.state == operation_pb2.OPERATION_STATE_SUCCEEDED and begun is not None:
            found.append((record.end_time.ToDatetime(UTC) - begun).total_seconds())
    return found
