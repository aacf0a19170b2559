"""The requests with which people took locks, by their ids: who asks again is answered with the same lock (P26)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.kernel.errors import AlreadyExists
from virtyard.runtime.database import Transaction

__all__ = [
    "AskedLock",
    "TakenLock",
    "find_taken",
    "forget_lock_requests",
    "has_outdated",
    "note_ended",
    "note_taken",
]

Record = record_pb2.PersonLockRecord
_FIND = """
    SELECT own.lock, own.request, own.record, lock.record FROM person_lock_request AS own
    LEFT JOIN person_lock AS lock ON lock.name = own.lock WHERE own.principal = ? AND own.request_id = ?
"""
_ADD = "INSERT INTO person_lock_request (principal, request_id, lock, request) VALUES (?, ?, ?, ?)"
_END = "UPDATE person_lock_request SET record = ?, end_time = ? WHERE lock = ?"
_REFUSE = "DELETE FROM person_lock_request WHERE lock = ?"
_OUTDATED = "SELECT 1 FROM person_lock_request WHERE end_time < ? LIMIT 1"
_FORGET = """
    DELETE FROM person_lock_request WHERE lock IN
    (SELECT lock FROM person_lock_request WHERE end_time < ? ORDER BY end_time LIMIT ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLock:
    """What somebody asked for, without what is of one call alone."""

    principal: str
    """Who asks, as `user/admin`."""
    request_id: str
    """The id of the request; empty for none."""
    request: pb.TakeLockRequest
    """The request, without its id and without how long the call waits."""

    @classmethod
    def of(cls, principal: str, request: pb.TakeLockRequest) -> AskedLock:
        """Return what this request of somebody asks for."""
        kept = pb.TakeLockRequest()
        kept.CopyFrom(request)
        kept.ClearField("request_id")
        kept.ClearField("max_wait")
        return cls(principal=principal, request_id=request.request_id, request=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenLock:
    """A lock that was taken under a request id."""

    record: Record
    """Its state, the last one if it is released."""
    released: bool
    """Whether it is released."""


def find_taken(connection: sqlite3.Connection, asked: AskedLock) -> TakenLock | None:
    """Return the lock that was taken under the id of a request; None if there is none.

    Raises:
        AlreadyExists: it was another request.
    """
    if not asked.request_id:
        return None
    row = connection.execute(_FIND, (asked.principal, asked.request_id)).fetchone()
    if row is None:
        return None
    name, request, last, now = row
    if pb.TakeLockRequest.FromString(request) != asked.request:
        raise AlreadyExists(
            f"request_id: {asked.request_id} belongs to another request, that of {name}",
            resource=name,
            metadata={"field": "request_id"},
        )
    return TakenLock(record=Record.FromString(last if now is None else now), released=now is None)


def note_taken(transaction: Transaction, asked: AskedLock, lock: str) -> None:
    """Keep under which id a lock is taken, in the commit that takes it."""
    if asked.request_id:
        row = (asked.principal, asked.request_id, lock, asked.request.SerializeToString())
        transaction.execute(_ADD, row)


def note_ended(transaction: Transaction, record: Record, time: float, *, refused: bool) -> None:
    """Keep how a lock was when it was released, in the commit that releases it.

    Args:
        transaction: on jobs.db.
        record: the lock.
        time: the time of its release, in seconds since 1970.
        refused: it was not to wait and was not granted, so the request was refused, and its id is free at once.
    """
    if refused:
        transaction.execute(_REFUSE, (record.name,))
    else:
        transaction.execute(_END, (record.SerializeToString(), time, record.name))


def has_outdated(connection: sqlite3.Connection, since: float) -> bool:
    """Return whether there are ids of locks that were released before, in seconds since 1970."""
    return connection.execute(_OUTDATED, (since,)).fetchone() is not None


def forget_lock_requests(transaction: Transaction, since: float, limit: int) -> int:
    """Let ids of locks that were released before be used anew; return how many, at most `limit`."""
    transaction.transition("jobs.forget_lock_ids")
    return int(transaction.execute(_FORGET, (since, limit)).rowcount)
