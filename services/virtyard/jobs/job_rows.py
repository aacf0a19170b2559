"""The rows of jobs in the order in which people read them: the newest operation first, its jobs in their order.

Every statement goes along an index from the place where it begins, so a page costs the same wherever it is.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from virtyard.api.jobs.v1 import job_pb2

__all__ = ["JobRow", "Narrow", "fill_objects", "rows_after"]

JobRow: TypeAlias = tuple[int, int, bytes]
"""An operation's number, the number of the job in it, and the serialised job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """What a list is narrowed to by an index, before its filter is asked."""

    column: str
    """`state`, `object` or `operation`."""
    value: int | str
    """The value that the column has."""


_REST = "SELECT operation, number, body FROM job WHERE operation = ? AND number > ? ORDER BY number LIMIT ?"
# The join gives one order in two directions, which no index of `job` alone has: it is what the primary keys give.
_OLDER = """
    SELECT job.operation, job.number, job.body FROM operation CROSS JOIN job ON job.operation = operation.number
    WHERE operation.number < ? ORDER BY operation.number DESC, job.number LIMIT ?
"""
_REST_IN_STATE = """
    SELECT operation, number, body FROM job WHERE state = ? AND operation = ? AND number > ? ORDER BY number LIMIT ?
"""
_OLDER_IN_STATE = """
    SELECT operation, number, body FROM job WHERE state = ? AND operation < ? ORDER BY operation DESC, number LIMIT ?
"""
_REST_OF_OBJECT = """
    SELECT operation, number, body FROM job WHERE object = ? AND operation = ? AND number > ? ORDER BY number LIMIT ?
"""
_OLDER_OF_OBJECT = """
    SELECT operation, number, body FROM job WHERE object = ? AND operation < ? ORDER BY operation DESC, number LIMIT ?
"""
_NARROWED = MappingProxyType(
    {"state": (_REST_IN_STATE, _OLDER_IN_STATE), "object": (_REST_OF_OBJECT, _OLDER_OF_OBJECT)}
)


def rows_after(
    connection: sqlite3.Connection, operation: int, number: int, limit: int, narrow: Narrow | None = None
) -> list[JobRow]:
    """Return up to `limit` jobs after a place in the list.

    Args:
        connection: jobs.db.
        operation: the place: an operation.
        number: the place: the number of a job of it.
        limit: a count of rows.
        narrow: what all rows have in common; None for every job.
    """
    if narrow is None:
        rows = connection.execute(_REST, (operation, number, limit)).fetchall()
        if len(rows) < limit:
            rows += connection.execute(_OLDER, (operation, limit - len(rows))).fetchall()
        return rows
    if narrow.column == "operation":
        after = number if operation == narrow.value else 0
        found = operation >= int(narrow.value)
        return connection.execute(_REST, (narrow.value, after, limit)).fetchall() if found else []
    rest, older = _NARROWED[narrow.column]
    rows = connection.execute(rest, (narrow.value, operation, number, limit)).fetchall()
    if len(rows) < limit:
        rows += connection.execute(older, (narrow.value, operation, limit - len(rows))).fetchall()
    return rows


def fill_objects(connection: sqlite3.Connection) -> int:
    """Give the rows that are older than their column `object` its value; return how many there were."""
    rows = connection.execute("SELECT operation, number, body FROM job WHERE object = ''").fetchall()
    connection.executemany(
        "UPDATE job SET object = ? WHERE operation = ? AND number = ?",
        [(job_pb2.Job.FromString(body).object, operation, number) for operation, number, body in rows],
    )
    return len(rows)
