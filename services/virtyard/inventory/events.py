"""Events: facts about objects, each raised once for its key, named by a rising number."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from virtyard.api.inventory.v1 import event_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.model import FeedWriter, NewEvent
from virtyard.kernel.errors import InvalidRequest

__all__ = ["check_events", "raise_event", "raise_events"]

_KNOWN = "SELECT 1 FROM event WHERE key = ?"
_INSERT = "INSERT INTO event (key, body) VALUES (?, ?)"
_NAME = "UPDATE event SET body = ? WHERE number = ?"


def check_events(events: Iterable[control_service_pb2.KeyedEvent]) -> None:
    """Refuse events that lack what every event has.

    Raises:
        InvalidRequest: naming the field.
    """
    for number, keyed in enumerate(events):
        for path, given in (
            ("key", keyed.key),
            ("event.type", keyed.event.type),
            ("event.severity", keyed.event.severity),
        ):
            if not given:
                raise InvalidRequest.of(f"events[{number}].{path}", "is required")


def raise_events(transaction: FeedWriter, events: Iterable[control_service_pb2.KeyedEvent], now: datetime) -> None:
    """Store the events that are not known by their key yet, and publish them."""
    for keyed in events:
        event = event_pb2.Event()
        event.CopyFrom(keyed.event)
        if not event.HasField("create_time"):
            event.create_time.FromDatetime(now)
        _store(transaction, keyed.key, event)


def raise_event(transaction: FeedWriter, new: NewEvent) -> None:
    """Store an event of the inventory's own, and publish it."""
    event = event_pb2.Event(
        type=new.type, severity=event_pb2.Severity.ValueType(new.severity), object=new.object, message=new.message
    )
    event.create_time.FromDatetime(new.time)
    _store(transaction, new.key, event)


def _store(transaction: FeedWriter, key: str, event: event_pb2.Event) -> None:
    if transaction.execute(_KNOWN, (key,)).fetchone() is not None:
        return
    inserted = transaction.execute(_INSERT, (key, b""))
    event.name = f"events/{inserted.lastrowid}"
    body = event.SerializeToString()
    transaction.execute(_NAME, (body, inserted.lastrowid))
    transaction.append("event", event.name, body)
