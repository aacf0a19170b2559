"""Events: facts about objects, each recorded once and for good, named by their place in the feed.

What an effect changed is told in the effect's own transaction, so that it happens exactly as often as the effect. What
others raise comes with a key and is recorded once for it; of a flood of these only the first ones are recorded each. In
the same transaction an event clears what it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from virtyard.api.inventory.v1 import event_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.event_changes import TOPIC, clear_ended, event_key, set_open
from virtyard.inventory.flood import flood_event, fold, folded_before
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.event_type import severity_word
from virtyard.kernel.event_types import EVENT_TYPES, EventType, find

__all__ = [
    "TOPIC",
    "check_events",
    "event_key",
    "fill_columns",
    "microseconds",
    "raise_event",
    "raise_events",
    "tell",
    "unfilled",
]

_GIVEN_HERE = (
    "create_time",
    "acknowledgeable",
    "acknowledged_by",
    "acknowledge_time",
    "cleared",
    "clear_time",
    "count",
    "blocks",
    "open",
    "still_held",
)
"""Fields of an event that nobody else may set."""
_KNOWN = "SELECT 1 FROM event WHERE key = ?"
_INSERT = """
    INSERT INTO event (number, key, type, severity, object, operation, time, open, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UNFILLED = "SELECT number, body FROM event WHERE type = '' ORDER BY number LIMIT ?"
_FILL = "UPDATE event SET type = ?, severity = ?, object = ?, operation = ?, time = ? WHERE number = ?"


def microseconds(time: datetime) -> int:
    """Return a time as the event's row has it, in microseconds since 1970."""
    return round(time.timestamp() * 1_000_000)


def check_events(events: Iterable[control_service_pb2.KeyedEvent]) -> None:
    """Refuse events that lack what every event has, or that the catalogue does not know.

    Raises:
        InvalidRequest: naming the field and what is allowed.
    """
    for number, keyed in enumerate(events):
        for path, given in (
            ("key", keyed.key),
            ("event.type", keyed.event.type),
            ("event.severity", keyed.event.severity),
        ):
            if not given:
                raise InvalidRequest.of(f"events[{number}].{path}", "is required")
        _check_type(keyed.event, f"events[{number}].event")
        given_already = {field.name for field, _ in keyed.event.ListFields()}
        for path in _GIVEN_HERE:
            if path in given_already:
                raise InvalidRequest.of(f"events[{number}].event.{path}", "must be empty; it is given here")


def _check_type(event: event_pb2.Event, field: str) -> EventType:
    kind = find(event.type)
    if kind is None:
        allowed = ", ".join(kind.name for kind in EVENT_TYPES)
        raise InvalidRequest.of(f"{field}.type", f"{event.type!r} is not in the catalogue; allowed are {allowed}")
    if event.severity != kind.severity:
        text = f"{event.severity} is not allowed; {kind.name} is always {severity_word(kind.severity)}"
        raise InvalidRequest.of(f"{field}.severity", text)
    return kind


def raise_events(transaction: FeedWriter, events: Iterable[control_service_pb2.KeyedEvent], now: datetime) -> None:
    """Record the events that are not known by their key yet, and publish them."""
    for keyed in events:
        raise_event(transaction, keyed.key, keyed.event, now)


def raise_event(transaction: FeedWriter, key: str, event: event_pb2.Event, now: datetime) -> None:
    """Record an event unless one with this key is known, and publish it; one of a flood is counted in another."""
    if transaction.execute(_KNOWN, (key,)).fetchone() is not None or folded_before(transaction, key):
        return
    folded = fold(transaction, key, event, now)
    if folded is not None:
        counted, begins = folded
        clear_ended(transaction, counted)
        if begins:
            raise_event(transaction, f"flood/{counted.name}", flood_event(counted), now)
        return
    recorded = event_pb2.Event()
    recorded.CopyFrom(event)
    recorded.create_time.FromDatetime(now)
    transaction.execute(_INSERT, _publish(transaction, key, recorded))
    clear_ended(transaction, recorded)


def tell(transaction: FeedWriter, events: Iterable[event_pb2.Event]) -> None:
    """Record events of the transaction's own effects, which happen once with these, and publish them.

    They have their times, but no names.
    """
    for event in events:
        # None of these is ever open, so nobody looks for its row in this commit.
        transaction.put(_INSERT, _publish(transaction, None, event))
        clear_ended(transaction, event)


def _publish(transaction: FeedWriter, key: str | None, event: event_pb2.Event) -> tuple[object, ...]:
    """Give the event its name and what its type says, put it into the feed, and return its row."""
    kind = _check_type(event, "event")
    number = transaction.next_sequence
    event.name = f"events/{number}"
    event.count = 1
    if kind.acknowledgeable:
        event.acknowledgeable = True
        event.blocks[:] = kind.blocks
        set_open(event)
    body = event.SerializeToString()
    transaction.append(TOPIC, event_key(number), body)
    stamp = event.create_time
    time = stamp.seconds * 1_000_000 + stamp.nanos // 1000
    return (number, key, event.type, event.severity, event.object, event.operation, time, event.open, body)


def unfilled(reader: Reader, limit: int) -> list[tuple[int, bytes]]:
    """Return up to `limit` (number, body) of events that an older release recorded, whose columns are empty."""
    return reader.execute(_UNFILLED, (limit,)).fetchall()


def fill_columns(reader: Reader, events: Iterable[tuple[int, bytes]]) -> None:
    """Fill the columns of these events."""
    for number, body in events:
        event = event_pb2.Event.FromString(body)
        time = event.create_time.ToMicroseconds()
        reader.execute(_FILL, (event.type or "UNKNOWN", event.severity, event.object, event.operation, time, number))
