"""The values of the inventory beside its objects; the objects themselves are the messages of the public contract."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import event_pb2, object_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant

__all__ = [
    "EndedGuest",
    "FeedWriter",
    "Page",
    "Place",
    "Query",
    "Reader",
    "Reading",
    "RecordedGuest",
    "RoundOutcome",
    "Row",
    "TypedObject",
    "etag_of",
]

TypedObject: TypeAlias = Any
"""One of the messages that an `Object` holds: they share name, uid, generation and times, but no type says so."""


class Reader(Protocol):
    """What runs a query: a read's connection, or a write's transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> sqlite3.Cursor:
        """Run one statement."""
        ...


class FeedWriter(Reader, Protocol):
    """A transaction that can add to the feed."""

    @property
    def next_sequence(self) -> int:
        """Return the sequence that the next `append` gives."""
        ...

    def put(self, sql: str, row: Sequence[Any], /) -> None:
        """Insert a row at the end of the commit, together with those of others; nobody reads it before."""
        ...

    def append(self, topic: str, key: str, body: bytes, *, removed: bool = False) -> int:
        """Add the state of an item to the feed and return its sequence."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One object as it is stored; its body is parsed only where it is needed."""

    name: str
    """Resource name."""
    uid: str
    """Unique id; another one under the same name is another object."""
    generation: int
    """Count of configuration changes; never falls, not even by an undo."""
    writer: int
    """Number of the operation that wrote it last."""
    deleted: bool
    """True for a tombstone."""
    body: bytes
    """The serialised typed object, without its projections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """What a round of effects came to."""

    records: Sequence[participant.EffectRecord]
    """One for each effect, in their order."""
    objects: Mapping[str, TypedObject | None]
    """Every object that changed, as it is now; None if it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Objects that were read together."""

    objects: Sequence[object_pb2.Object]
    """The objects that exist, each once, by name."""
    sequence: int
    """The position in the feed at which they were read."""
    owner_id: str
    """The id of this Virtyard."""
    blocking: Sequence[event_pb2.Event] = ()
    """The open events of these objects that block operation types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which page of which objects is wanted."""

    collection: str
    """The kind, as `servers`, or `events`."""
    size: int
    """The largest number of items in the page."""
    filter: str = ""
    """An AIP-160 filter; empty for all."""
    order_by: str = ""
    """A field, with ` desc` behind it to reverse; empty for the order of the names."""
    page_token: str = ""
    """Where the page before ended; empty for the first page."""
    within: str = ""
    """Of events: only those about this object and what belongs to it; empty for all."""
    archived: bool = False
    """Of events: those of the archive, instead of the live ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list."""

    items: Sequence[TypedObject]
    """The objects, projections included."""
    next_page_token: str
    """Where the next page begins; empty at the end."""
    sequence: int
    """The position in the feed at which the first page was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page begins."""

    column: str
    """What the list is ordered by."""
    descending: bool
    """Whether it is reversed."""
    key: Any = None
    """The column's value of the last item of the page before; None at the beginning."""
    name: str = ""
    """The name of that item."""
    sequence: int | None = None
    """The feed's position at the first page; None if this is the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedGuest:
    """A machine that is recorded as running on a server."""

    name: str
    """Resource name of the machine."""
    uid: str
    """Its unique id, by which agents know its guest."""
    generation: int
    """Its count of configuration changes; every start raises it."""
    run: str
    """The run of its guest that was recorded; empty where the agent did not tell it."""
    starting: bool
    """Whether it is recorded as being started, so that an operation works on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedGuest:
    """A machine whose recorded run has ended, by its agent's word."""

    guest: RecordedGuest
    """The machine as it is recorded."""
    end: agent_service_pb2.GuestEnd.ValueType
    """How it ended."""
    reason: str
    """What is known of it, as a person reads it."""


def etag_of(uid: str, generation: int, revision: int) -> str:
    """Return the etag of an object: another one for every stored change, whether by a job or by a report."""
    return hashlib.blake2s(f"{uid}/{generation}/{revision}".encode(), digest_size=8).hexdigest()
