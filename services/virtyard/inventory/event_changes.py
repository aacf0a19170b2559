"""What becomes of an event after it was recorded: acknowledged by a person, cleared by what ended it, or counted again.

What it says stays; beside it stands what came of it. Each change has a place of its own in the feed, so a watcher is
told of it once, wherever it was cut off; the event's name, and its place in lists, stay those of its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.event_archive import find_archived_event
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.kernel.errors import NotFound, WrongState
from virtyard.kernel.event_types import ended_by, find
from virtyard.kernel.names import collection_of, id_of

__all__ = [
    "TOPIC",
    "acknowledge",
    "clear_ended",
    "event_key",
    "number_of",
    "open_events",
    "place_of",
    "read_event",
    "revise",
    "revised_key",
    "set_open",
]

TOPIC = "event"
"""The topic of events in the feed."""

_READ = "SELECT body FROM event WHERE number = ?"
_REVISE = "UPDATE event SET body = ?, open = ?, place = ? WHERE number = ?"
_OPEN_OF_OBJECT = "SELECT body FROM event INDEXED BY event_open_of WHERE open = 1 AND object = ? ORDER BY number"
_OPEN_OF_OPERATION = """
    SELECT body FROM event INDEXED BY event_by_operation
    WHERE operation = ? AND operation <> '' AND open = 1 ORDER BY number
"""


def event_key(number: int) -> str:
    """Return the key in the feed of an event that is told for the first time, in the order of the numbers."""
    return f"{number:019}"


def revised_key(place: int, number: int) -> str:
    """Return the key in the feed of an event that is told again, in the order of the places."""
    return f"{place:019}~{number}"


def place_of(key: str) -> int:
    """Return the place in the feed that a key stands for."""
    # An older release had the event's name for its key.
    return int(key.rpartition("/")[2].partition("~")[0])


def number_of(key: str) -> int:
    """Return the number of the event that a key is of."""
    place, revised, number = key.rpartition("/")[2].partition("~")
    return int(number) if revised else int(place)


def set_open(event: event_pb2.Event) -> None:
    """Say whether an event is open, by what became of it."""
    event.open = event.acknowledgeable and not event.cleared and not event.HasField("acknowledge_time")


def read_event(reader: Reader, name: str, *, archived: bool = False) -> event_pb2.Event:
    """Return an event.

    Args:
        reader: inventory.db.
        name: the event, as events/ID.
        archived: True if one in the archive, which never changes any more, will do.

    Raises:
        NotFound: there is none of this name, or it is not kept any more.
        WrongState: it is in the archive, and only a live one will do.
    """
    digits = id_of(name)
    # More digits than a number of the database has are no number of an event.
    number = int(digits) if digits.isdecimal() and len(digits) < 19 else 0
    found = reader.execute(_READ, (number,)).fetchone()
    if found is not None:
        return event_pb2.Event.FromString(found[0])
    event = find_archived_event(reader, number)
    if event is None:
        raise NotFound(f"{name} does not exist", resource=name)
    if not archived:
        raise WrongState(f"{name} is in the archive, where it can only be read", resource=name)
    return event


def open_events(reader: Reader, name: str) -> list[event_pb2.Event]:
    """Return the open events of an object, the oldest first."""
    return [event_pb2.Event.FromString(body) for (body,) in reader.execute(_OPEN_OF_OBJECT, (name,)).fetchall()]


def revise(transaction: FeedWriter, event: event_pb2.Event) -> None:
    """Store an event that something has become of, and publish it."""
    set_open(event)
    number, place = int(id_of(event.name)), transaction.next_sequence
    body = event.SerializeToString()
    transaction.append(TOPIC, revised_key(place, number), body)
    transaction.execute(_REVISE, (body, event.open, place, number))


def acknowledge(
    transaction: FeedWriter, name: str, *, by: str, comment: str, forced: bool, now: datetime, still_held: str = ""
) -> event_pb2.Event:
    """Record that a person has taken note of an event, and what still held; one acknowledged before stays as it was.

    Raises:
        NotFound: there is no such event.
        WrongState: events of its type need no acknowledging, or it is in the archive.
    """
    event = read_event(transaction, name)
    if event.HasField("acknowledge_time"):
        return event
    if not event.acknowledgeable:
        raise WrongState(f"{name} is {event.type}, which nobody needs to acknowledge", resource=name)
    event.acknowledged_by, event.comment, event.forced, event.still_held = by, comment, forced, still_held
    event.acknowledge_time.FromDatetime(now)
    revise(transaction, event)
    return event


def clear_ended(transaction: FeedWriter, event: event_pb2.Event) -> None:
    """Clear the open events whose condition ends with what this event, which has its name and time, tells."""
    ended = ended_by(event.type, collection_of(event.object))
    if not ended:
        return
    kind = find(event.type)
    if kind is not None and kind.of_operation:
        _clear(transaction, _read_open(transaction, _OPEN_OF_OPERATION, event.operation), ended, event)
    else:
        _clear(transaction, _read_open(transaction, _OPEN_OF_OBJECT, event.object), ended, event)


def _read_open(reader: Reader, statement: str, key: str) -> list[event_pb2.Event]:
    return [event_pb2.Event.FromString(body) for (body,) in reader.execute(statement, (key,)).fetchall()]


def _clear(
    transaction: FeedWriter, candidates: Iterable[event_pb2.Event], ended: Iterable[str], by: event_pb2.Event
) -> None:
    for event in candidates:
        if event.type in ended and event.name != by.name:
            event.cleared, event.cleared_by = True, by.name
            event.clear_time.CopyFrom(by.last_time if by.HasField("last_time") else by.create_time)
            revise(transaction, event)
