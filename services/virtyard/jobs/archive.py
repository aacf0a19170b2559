"""The archive: ended operations that have left the live tables, one compressed row each, with an index of their jobs.

An ended operation never changes, so its jobs are shown from its plan and record, as they were shown while it was live.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

from google.protobuf.any_pb2 import Any

from virtyard.api.jobs.v1 import job_pb2, plan_pb2
from virtyard.internal.jobs.v1 import archive_pb2, record_pb2
from virtyard.jobs.job_rows import JobRow, Narrow
from virtyard.jobs.model import Operation, Shape, job_name, operation_name
from virtyard.jobs.render import render_job
from virtyard.runtime.database import Transaction

__all__ = [
    "Bounds",
    "Leaving",
    "archive",
    "archived_after",
    "archived_job",
    "find_archived",
    "find_archived_job",
    "forget_archived",
    "forget_request_ids",
    "read_leaving",
    "read_outdated",
    "unpack_operation",
]

_LEVEL = 6
_NEWEST = 1 << 62
_ENDED = """
    SELECT number, principal, request_id, request, plan, record FROM operation WHERE open = 0 ORDER BY number LIMIT ?
"""
_COUNT_ENDED = "SELECT count(*) FROM operation WHERE open = 0"
_JOBS = "SELECT number, object, state, body FROM job WHERE operation = ? ORDER BY number"
_ADD = """
    INSERT INTO archived_operation (number, principal, request_id, create_time, end_time, body)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_ADD_JOB = "INSERT INTO archived_job (operation, number, object, state) VALUES (?, ?, ?, ?)"
_FIND = "SELECT body FROM archived_operation WHERE number = ?"
_COUNT = "SELECT count(*) FROM archived_operation"
_OLDEST = "SELECT number, end_time, request_id IS NOT NULL FROM archived_operation ORDER BY number LIMIT ?"
_FORGET_IDS = """
    UPDATE archived_operation SET request_id = NULL WHERE number IN
    (SELECT number FROM archived_operation WHERE request_id IS NOT NULL AND end_time < ? ORDER BY end_time LIMIT ?)
"""
_SINCE = "SELECT min(number) FROM archived_operation WHERE create_time >= ?"
_UNTIL = "SELECT max(number) FROM archived_operation WHERE create_time <= ?"

_REST = """
    SELECT operation, number FROM archived_job
    WHERE operation = :operation AND number > :number AND operation >= :least ORDER BY number LIMIT :limit
"""
# As for live jobs, the join gives one order in two directions.
_OLDER = """
    SELECT job.operation, job.number FROM archived_operation AS own
    CROSS JOIN archived_job AS job ON job.operation = own.number
    WHERE own.number < :operation AND own.number >= :least
    ORDER BY own.number DESC, job.number LIMIT :limit
"""
_REST_IN_STATE = """
    SELECT operation, number FROM archived_job
    WHERE state = :value AND operation = :operation AND number > :number AND operation >= :least
    ORDER BY number LIMIT :limit
"""
_OLDER_IN_STATE = """
    SELECT operation, number FROM archived_job
    WHERE state = :value AND operation < :operation AND operation >= :least
    ORDER BY operation DESC, number LIMIT :limit
"""
_REST_OF_OBJECT = """
    SELECT operation, number FROM archived_job
    WHERE object = :value AND operation = :operation AND number > :number AND operation >= :least
    ORDER BY number LIMIT :limit
"""
_OLDER_OF_OBJECT = """
    SELECT operation, number FROM archived_job
    WHERE object = :value AND operation < :operation AND operation >= :least
    ORDER BY operation DESC, number LIMIT :limit
"""
_NARROWED = MappingProxyType(
    {"state": (_REST_IN_STATE, _OLDER_IN_STATE), "object": (_REST_OF_OBJECT, _OLDER_OF_OBJECT)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Between which times archived operations were accepted, in seconds since 1970."""

    since: int | None = None
    """The earliest time; None for any."""
    until: int | None = None
    """The latest time; None for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An ended operation that leaves the live tables."""

    number: int
    """Its number."""
    row: tuple[object, ...]
    """Its row in the archive."""
    jobs: list[tuple[int, str, int, bytes]]
    """Its jobs: number, object, state, and how it is shown."""


def read_leaving(connection: sqlite3.Connection, since: float, count: int, limit: int) -> list[Leaving]:
    """Return the oldest ended operations that are not kept live any more, ready for the archive.

    Args:
        connection: jobs.db.
        since: those that ended before leave; seconds since 1970.
        count: how many ended operations are kept.
        limit: at most so many are looked at.
    """
    (there,) = connection.execute(_COUNT_ENDED).fetchone()
    surplus = there - count
    found = []
    for place, (number, principal, request_id, request, plan, record) in enumerate(
        connection.execute(_ENDED, (limit,))
    ):
        kept = record_pb2.OperationRecord.FromString(record)
        if place >= surplus and kept.end_time.ToSeconds() >= since:
            continue
        whole = archive_pb2.ArchivedOperation(
            request=Any.FromString(request), plan=plan_pb2.Plan.FromString(plan), record=kept
        )
        body = zlib.compress(whole.SerializeToString(), _LEVEL)
        moved = (number, principal, request_id, kept.create_time.ToSeconds(), kept.end_time.ToSeconds(), body)
        found.append(Leaving(number=number, row=moved, jobs=connection.execute(_JOBS, (number,)).fetchall()))
    return found


def archive(transaction: Transaction, leaving: Sequence[Leaving]) -> None:
    """Move operations from the live tables to the archive; watchers of lists see them go."""
    for one in leaving:
        # The operation goes first: whoever reads its story ends there, before its jobs go.
        transaction.append("operation", operation_name(one.number), b"", removed=True)
        for number, _, _, body in one.jobs:
            transaction.append("job", job_name(one.number, str(number)), body, removed=True)
    transaction.insert(_ADD, [one.row for one in leaving])
    transaction.insert(
        _ADD_JOB, [(one.number, number, name, state) for one in leaving for number, name, state, _ in one.jobs]
    )
    numbers = (json.dumps([one.number for one in leaving]),)
    transaction.execute("DELETE FROM job WHERE operation IN (SELECT value FROM json_each(?))", numbers)
    transaction.execute("DELETE FROM operation WHERE number IN (SELECT value FROM json_each(?))", numbers)
    transaction.execute("UPDATE left_live SET highest = max(highest, ?)", (max(one.number for one in leaving),))
    transaction.transition("jobs.archive")


def read_outdated(connection: sqlite3.Connection, since: float, count: int, ids_since: float, limit: int) -> list[int]:
    """Return the numbers of the oldest archived operations that are not kept; one whose request id counts is kept.

    Args:
        connection: jobs.db.
        since: those that ended before go; seconds since 1970.
        count: how many are kept.
        ids_since: request ids of those that ended since then are kept; seconds since 1970.
        limit: at most so many are looked at.
    """
    (there,) = connection.execute(_COUNT).fetchone()
    surplus = there - count
    return [
        number
        for place, (number, ended, has_id) in enumerate(connection.execute(_OLDEST, (limit,)))
        if (place < surplus or ended < since) and not (has_id and ended >= ids_since)
    ]


def forget_archived(transaction: Transaction, numbers: Iterable[int]) -> None:
    """Forget archived operations with their jobs for good."""
    values = (json.dumps(list(numbers)),)
    transaction.execute("DELETE FROM archived_job WHERE operation IN (SELECT value FROM json_each(?))", values)
    transaction.execute("DELETE FROM archived_operation WHERE number IN (SELECT value FROM json_each(?))", values)
    transaction.transition("jobs.forget")


def forget_request_ids(transaction: Transaction, ids_since: float, limit: int) -> int:
    """Let request ids of operations that ended before be used anew; return how many, at most `limit`."""
    transaction.transition("jobs.forget_ids")
    return int(transaction.execute(_FORGET_IDS, (ids_since, limit)).rowcount)


def unpack_operation(body: bytes) -> Operation:
    """Return the operation in the body of an archived row."""
    whole = archive_pb2.ArchivedOperation.FromString(zlib.decompress(body))
    return Operation(shape=Shape.of(whole.plan), request=whole.request, record=whole.record)


def archived_job(operation: Operation, number: int) -> job_pb2.Job | None:
    """Return a job of an archived operation as it is shown; None if it has no such job."""
    planned = operation.shape.jobs.get(str(number))
    if planned is None:
        return None
    job = render_job(operation, planned)
    job.archived = True
    return job


def find_archived(connection: sqlite3.Connection, number: int) -> Operation | None:
    """Return an archived operation; None if the archive has none of this number."""
    row = connection.execute(_FIND, (number,)).fetchone()
    return unpack_operation(row[0]) if row is not None else None


def find_archived_job(connection: sqlite3.Connection, number: int, job: int) -> job_pb2.Job | None:
    """Return a job of an archived operation; None if the archive has none of this name."""
    operation = find_archived(connection, number)
    return archived_job(operation, job) if operation is not None else None


def archived_after(
    connection: sqlite3.Connection,
    operation: int,
    number: int,
    limit: int,
    narrow: Narrow | None = None,
    bounds: Bounds | None = None,
) -> list[JobRow]:
    """Return up to `limit` archived jobs after a place in the list: operations newest first, their jobs in order.

    Args:
        connection: jobs.db.
        operation: the place: an operation.
        number: the place: the number of a job of it.
        limit: a count of rows.
        narrow: what all rows have in common; None for every job.
        bounds: when their operations were accepted.
    """
    least, most = _numbers(connection, bounds or Bounds())
    if operation > most:
        operation, number = most + 1, _NEWEST
    values = {"operation": operation, "number": number, "limit": limit, "least": least}
    if narrow is not None and narrow.column == "operation":
        if operation < int(narrow.value):
            return []
        values |= {"operation": int(narrow.value), "number": number if operation == narrow.value else 0}
        return _shown(connection, connection.execute(_REST, values).fetchall())
    rest, older = (_REST, _OLDER) if narrow is None else _NARROWED[narrow.column]
    if narrow is not None:
        values["value"] = int(narrow.value) if narrow.column == "state" else str(narrow.value)  # type: ignore[assignment]
    places = connection.execute(rest, values).fetchall()
    if len(places) < limit:
        places += connection.execute(older, {**values, "limit": limit - len(places)}).fetchall()
    return _shown(connection, places)


def _numbers(connection: sqlite3.Connection, bounds: Bounds) -> tuple[int, int]:
    """Return between which numbers everything lies that was accepted within the bounds."""
    least, most = 0, _NEWEST
    if bounds.since is not None:
        (found,) = connection.execute(_SINCE, (bounds.since,)).fetchone()
        least = found if found is not None else _NEWEST
    if bounds.until is not None:
        (found,) = connection.execute(_UNTIL, (bounds.until,)).fetchone()
        most = found if found is not None else 0
    return least, most


def _shown(connection: sqlite3.Connection, places: Iterable[tuple[int, int]]) -> list[JobRow]:
    found: list[JobRow] = []
    for number, rows in groupby(places, key=lambda place: place[0]):
        operation = find_archived(connection, number)
        if operation is None:
            continue
        for _, place in rows:
            job = archived_job(operation, place)
            if job is not None:
                found.append((number, place, job.SerializeToString()))
    return found
