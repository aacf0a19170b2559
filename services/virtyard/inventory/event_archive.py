"""The archive of events: those that have left the live log, a row each in a table of its own, and read only.

They are stored as they were when they left, in the live log's columns, and found by the same filters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.model import Reader
from virtyard.runtime.database import Transaction

__all__ = ["archive_events", "archived_event", "find_archived_event", "forget_archived_events"]

_MOVE = """
    INSERT INTO archived_event (number, type, severity, object, operation, time, open, body)
    SELECT number, type, severity, object, operation, time, open, body FROM event
    WHERE number IN (SELECT value FROM json_each(?))
"""
_LEAVE = "DELETE FROM event WHERE number IN (SELECT value FROM json_each(?))"
_FORGET = "DELETE FROM archived_event WHERE number IN (SELECT value FROM json_each(?))"
_FIND = "SELECT body FROM archived_event WHERE number = ?"


def archive_events(transaction: Transaction, numbers: Sequence[int]) -> None:
    """Move events from the live log to the archive, as they are in this commit; watchers are told nothing of it."""
    given = (json.dumps(list(numbers)),)
    transaction.execute(_MOVE, given)
    transaction.execute(_LEAVE, given)
    transaction.transition("inventory.archive")


def forget_archived_events(transaction: Transaction, numbers: Sequence[int]) -> None:
    """Forget archived events for good."""
    transaction.execute(_FORGET, (json.dumps(list(numbers)),))
    transaction.transition("inventory.retention")


def archived_event(body: bytes) -> event_pb2.Event:
    """Return an event of the archive as it is shown."""
    event = event_pb2.Event.FromString(body)
    event.archived = True
    return event


def find_archived_event(reader: Reader, number: int) -> event_pb2.Event | None:
    """Return an event of the archive; None if it has none of this number."""
    row = reader.execute(_FIND, (number,)).fetchone()
    return archived_event(row[0]) if row is not None else None
