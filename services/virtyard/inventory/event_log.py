"""The log of events as it is read: pages, counts and tails, each found through an index by what its filter asks for.

No reading takes long, whatever the filter: a page ends early, and a count goes on in another reading, where too many
events had to be looked at for those that match.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.belonging import BELONGING
from virtyard.inventory.event_archive import archived_event
from virtyard.inventory.event_changes import event_key, place_of, revised_key
from virtyard.inventory.events import microseconds
from virtyard.inventory.listing import page_token
from virtyard.inventory.model import Page, Place, Query, Reader
from virtyard.kernel.filters import Restriction, compile_filter, restrictions_of

__all__ = [
    "MOST_LOOKED_AT",
    "TAIL",
    "Narrowed",
    "Tail",
    "asks_for_archive",
    "count_events",
    "narrow",
    "read_events",
    "rows_before",
]

MOST_LOOKED_AT = 10_000
"""How many events one reading looks at."""
TAIL = 1000
"""How many of the latest events a watch without a token begins with."""

_LARGEST = 2**63 - 1
_CHUNK = 250
_SEQUENCE = "SELECT sequence FROM feed"
_ENDS = {
    False: "SELECT min(number), max(number) FROM event",
    True: "SELECT min(number), max(number) FROM archived_event",
}
_FROM = {
    False: "SELECT number, time FROM event WHERE number >= ? ORDER BY number LIMIT 1",
    True: "SELECT number, time FROM archived_event WHERE number >= ? ORDER BY number LIMIT 1",
}
"""By whether it is of the archive."""
_SLACK = timedelta(seconds=60)
"""By how much times may differ from the order of the numbers: what waits for its commit has its time already."""

_INDEXES = (
    ("operation", "event_by_operation", "operation <> ''"),
    ("object", "event_by_object", ""),
    ("open", "event_open", "open = 1"),
    ("type", "event_by_type", ""),
)
"""(column, index, condition that the index asks for), the one that leaves the fewest events first."""
_COLUMNS = {
    "operation": "operation",
    "object": "object",
    "type": "type",
    "severity": "severity",
    "create_time": "time",
    "open": "open",
}
"""The column of each field that rows have one for."""
_COMPARED = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WARNING = event_pb2.SEVERITY_WARNING
_SEVERITIES = tuple(sorted(event_pb2.Severity.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """A filter as conditions on the rows of events."""

    index: str
    """The index by which the rows are found; empty for the order of their numbers."""
    where: str
    """The conditions that rows must meet, begun by AND; empty for none."""
    values: Sequence[Any]
    """The values in them."""
    since: datetime | None
    """No event that matches is older."""
    before: datetime | None
    """No event that matches is younger."""
    matches: Callable[[event_pb2.Event], bool] | None
    """What is left to ask of each event; None if the conditions say it all."""
    archived: bool = False
    """True if the rows are those of the archive."""

    def inside(self, name: str) -> Narrowed:
        """Return the same with events about one object, and about what belongs to it, only."""
        return replace(self, where=f"{self.where} AND object IN ({BELONGING})", values=(*self.values, name))

    def source(self) -> str:
        """Return what follows FROM."""
        prefix = "archived_" if self.archived else ""
        return f"{prefix}event INDEXED BY {prefix}{self.index}" if self.index else f"{prefix}event NOT INDEXED"


def asks_for_archive(text: str) -> bool:
    """Return whether a filter lets only archived events pass.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    restrictions, _ = restrictions_of(text, event_pb2.Event.DESCRIPTOR)
    return ("archived", "=", True) in {(each.path, each.operator, each.value) for each in restrictions}


def narrow(text: str, *, archived: bool = False) -> Narrowed:
    """Return a filter over events as conditions on the live ones, or on those of the archive.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    restrictions, complete = restrictions_of(text, event_pb2.Event.DESCRIPTOR)
    conditions = [_condition(each) for each in restrictions]
    known = [(condition, each) for condition, each in zip(conditions, restrictions, strict=True) if condition]
    times = [each for _, each in known if each.path == "create_time"]
    index, implied = _index(restrictions, archived=archived)
    complete = complete and len(known) == len(restrictions)
    return Narrowed(
        index=index,
        where="".join(f" AND {condition}" for condition in (*conditions, implied) if condition),
        values=[microseconds(each.value) if each in times else each.value for _, each in known],
        since=max((each.value for each in times if each.operator in ("=", ">", ">=")), default=None),
        before=min((each.value for each in times if each.operator in ("=", "<", "<=")), default=None),
        matches=None if complete else compile_filter(text, event_pb2.Event.DESCRIPTOR),
        archived=archived,
    )


def _condition(asked: Restriction) -> str:
    """Return a comparison as a condition on a row, with a question mark; empty if rows have no such column."""
    column, compared = _COLUMNS.get(asked.path), _COMPARED.get(asked.operator)
    return f"{column} {compared} ?" if column and compared else ""


def _index(restrictions: Sequence[Restriction], *, archived: bool) -> tuple[str, str]:
    """Return the index that leaves the fewest events, and the condition that it asks for; empty if there is none."""
    equal = {each.path for each in restrictions if each.operator == "=" and each.value}
    if archived:
        # What can be open no more has no index of those that are.
        equal.discard("open")
    if {"object", "open"} <= equal:
        return "event_open_of", "open = 1"
    for column, index, condition in _INDEXES:
        if column in equal:
            return index, condition
    if any(each.path == "severity" and _is_grave(each.operator, each.value) for each in restrictions):
        return "event_grave", f"severity >= {_WARNING}"
    return "", ""


def _is_grave(operator: str, severity: int) -> bool:
    """Return whether a comparison lets warnings and worse pass only."""
    return (operator == ">" and severity >= _WARNING - 1) or (operator in ("=", ">=") and severity >= _WARNING)


def read_events(reader: Reader, query: Query, place: Place) -> Page:
    """Return a page of events; it may be short, even empty, before the end.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    narrowed = narrow(query.filter, archived=query.archived or asks_for_archive(query.filter))
    if query.within:
        narrowed = narrowed.inside(query.within)
    sequence = place.sequence
    if sequence is None:
        (sequence,) = reader.execute(_SEQUENCE).fetchone()
    items: list[event_pb2.Event] = []
    last = None
    rows = _rows(reader, narrowed, place.key, place.descending, query.size + 1)
    for looked_at, (number, event) in enumerate(rows, 1):
        if len(items) == query.size:
            return Page(items=items, next_page_token=_token(query, last, sequence), sequence=sequence)
        if narrowed.matches is None or narrowed.matches(event):
            items.append(event)
        last = number
        if looked_at == MOST_LOOKED_AT:
            return Page(items=items, next_page_token=_token(query, last, sequence), sequence=sequence)
    return Page(items=items, next_page_token="", sequence=sequence)


def _token(query: Query, number: Any, sequence: int) -> str:
    return page_token(query, number, f"events/{number}", sequence)


def _rows(
    reader: Reader, narrowed: Narrowed, after: int | None, descending: bool, first: int, also: str = ""
) -> Iterator[tuple[int, event_pb2.Event]]:
    """Yield (number, event) of the rows behind a number, read in chunks as they are wanted; `also` is a condition."""
    low, high = _range(reader, narrowed)
    if after is not None:
        low, high = (low, min(high, after - 1)) if descending else (max(low, after + 1), high)
    order = "DESC" if descending else "ASC"
    statement = (
        f"SELECT number, body FROM {narrowed.source()}"  # noqa: S608 - constants and question marks only
        f" WHERE number BETWEEN ? AND ?{narrowed.where}{also} ORDER BY number {order} LIMIT ?"
    )
    chunk = min(first, _CHUNK)
    while low <= high:
        rows = reader.execute(statement, (low, high, *narrowed.values, chunk)).fetchall()
        for number, body in rows:
            yield number, archived_event(body) if narrowed.archived else event_pb2.Event.FromString(body)
        if len(rows) < chunk:
            return
        low, high = (low, rows[-1][0] - 1) if descending else (rows[-1][0] + 1, high)
        chunk = _CHUNK


def rows_before(reader: Reader, narrowed: Narrowed, number: int | None) -> Iterator[tuple[int, event_pb2.Event]]:
    """Yield (number, event) of the rows before a number, the newest first; of all rows if it is None."""
    return _rows(reader, narrowed, number, True, _CHUNK)


def _range(reader: Reader, narrowed: Narrowed) -> tuple[int, int]:
    """Return the smallest and the largest number that an event of the filter's times can have."""
    low, high = 0, _LARGEST
    if narrowed.since is not None:
        low = _first_at(reader, microseconds(narrowed.since - _SLACK), archived=narrowed.archived)
    if narrowed.before is not None:
        high = _first_at(reader, microseconds(narrowed.before + _SLACK), archived=narrowed.archived) - 1
    return low, high


def _first_at(reader: Reader, time: int, *, archived: bool) -> int:
    """Return a number before which every event is older, found by halving: times rise with numbers, but for a slack."""
    first, last = reader.execute(_ENDS[archived]).fetchone()
    if first is None:
        return 1
    low, high = int(first), int(last) + 1
    while low < high:
        middle = (low + high) // 2
        row = reader.execute(_FROM[archived], (middle,)).fetchone()
        if row is None or row[1] >= time:
            high = middle
        else:
            low = row[0] + 1
    return low


def count_events(
    connection: sqlite3.Connection,
    *,
    text: str,
    until: int | None,
    counted: Mapping[tuple[str, int], int],
    within: str = "",
) -> tuple[dict[tuple[str, int], int], int]:
    """Count events on from a number downwards.

    Args:
        connection: a snapshot.
        text: the filter.
        until: count events with numbers below; None for all.
        counted: what was counted so far, by (type, severity).
        within: count only events about this object and what belongs to it; all if empty.

    Returns:
        What is counted now, and the number to go on with; 0 at the end.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    narrowed = narrow(text)
    if within:
        narrowed = narrowed.inside(within)
    found = dict(counted)
    if narrowed.matches is None:
        low, high = _range(connection, narrowed)
        bounds = "" if low == 0 and high == _LARGEST else " AND number BETWEEN ? AND ?"
        source = narrowed.source() if narrowed.index or bounds else "event"
        # Summed and not grouped by severity, which would sort every row.
        sums = ", ".join(f"sum(severity = {severity})" for severity in _SEVERITIES)
        statement = (
            f"SELECT type, {sums} FROM {source}"  # noqa: S608 - constants and question marks only
            f" WHERE 1{bounds}{narrowed.where} GROUP BY type"
        )
        rows = connection.execute(statement, (*((low, high) if bounds else ()), *narrowed.values))
        return {
            (row[0], each): count for row in rows for each, count in zip(_SEVERITIES, row[1:], strict=True) if count
        }, 0
    for looked_at, (number, event) in enumerate(_rows(connection, narrowed, until, True, _CHUNK), 1):
        if narrowed.matches(event):
            key = (event.type, int(event.severity))
            found[key] = found.get(key, 0) + 1
        if looked_at == MOST_LOOKED_AT:
            return found, number
    return found, 0


class Tail:
    """The snapshot of one watch: the events behind what its watcher has seen, or the latest ones if that is nothing.

    They come by the places at which they were last told: one that was acknowledged comes again, behind all before that.
    """

    def __init__(
        self, text: str, seen: int | None, within: str = "", inside: Callable[[str], bool] | None = None
    ) -> None:
        """Begin behind an event.

        Args:
            text: the filter.
            seen: the place in the feed up to which the watcher was told; None if it was told nothing.
            within: only events about this object and what belongs to it; all if empty.
            inside: tells of an object whether it belongs there; needed with `within`.

        Raises:
            InvalidRequest: the filter cannot be read.
        """
        self.seen = seen
        self._text, self._within = text, within
        narrowed = narrow(text)
        self._narrowed = narrowed.inside(within) if within else narrowed
        self._inside = inside
        self._matches = compile_filter(text, event_pb2.Event.DESCRIPTOR)
        self._fresh = seen is None

    def __call__(
        self, connection: sqlite3.Connection, _topic: str, after_key: str, sequence: int
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (key, serialised event) in order, as `Feed.watch` wants it."""
        if after_key:
            after = place_of(after_key)
        elif self.seen is not None:
            after = self.seen
        else:
            after = self.seen = self._begin(connection, sequence)
        for place, number, event in self._told(connection, after, False):
            if place > sequence:
                return
            key = event_key(number) if place == number else revised_key(place, number)
            yield key, event.SerializeToString()

    def shown_as(self, after_key: str) -> Hashable:
        """Return what is equal for tails that yield the same behind a key; see `runtime.journal_reader.OwnSnapshot`."""
        return Tail, self._text, self._within, self._fresh, None if after_key else self.seen

    def _told(self, reader: Reader, after: int, descending: bool) -> Iterator[tuple[int, int, event_pb2.Event]]:
        """Yield (place, number, event) of what was told behind a place, or before it if descending."""
        rows = _rows(reader, self._narrowed, after, descending, _CHUNK, " AND place IS NULL")
        once = ((number, number, event) for number, event in rows)
        again = _revised(reader, after, descending)
        if self._inside is not None:
            inside = self._inside
            again = (row for row in again if inside(row[2].object))
        if self._fresh:
            # To whom nothing was told yet, nothing is told of what the filter does not let through any more.
            again = (row for row in again if self._matches(row[2]))
        return heapq.merge(once, again, key=lambda row: row[0], reverse=descending)

    def _begin(self, connection: sqlite3.Connection, sequence: int) -> int:
        """Return the place behind which the latest events begin."""
        last = sequence
        for count, (place, _, _) in enumerate(self._told(connection, sequence + 1, True), 1):
            last = place - 1
            if count == TAIL:
                break
        return last


def _revised(reader: Reader, after: int, descending: bool) -> Iterator[tuple[int, int, event_pb2.Event]]:
    """Yield (place, number, event) of what was told again behind a place, or before it if descending."""
    compared, order = ("<", "DESC") if descending else (">", "ASC")
    statement = (
        "SELECT place, number, body FROM event INDEXED BY event_revised"  # noqa: S608 - constants and question marks only
        f" WHERE place IS NOT NULL AND place {compared} ? ORDER BY place {order} LIMIT ?"
    )
    while True:
        rows = reader.execute(statement, (after, _CHUNK)).fetchall()
        for place, number, body in rows:
            yield place, number, event_pb2.Event.FromString(body)
        if len(rows) < _CHUNK:
            return
        after = rows[-1][0]
