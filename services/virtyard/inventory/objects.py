"""The rows of objects and of their relations: read by name, written whole, removed into a tombstone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from virtyard.inventory.model import Reader, Row, TypedObject
from virtyard.kernel.names import collection_of
from virtyard.kernel.relations import reference_fields, targets_of

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

__all__ = [
    "ADDRESSES",
    "Link",
    "links_of",
    "read_referrers",
    "read_row",
    "read_rows",
    "remove_row",
    "row_of",
    "write_links",
    "write_row",
]

_READ = "SELECT name, uid, generation, writer, deleted, body FROM object WHERE name = ?"
_READ_MANY = """
    SELECT name, uid, generation, writer, deleted, body FROM object
    WHERE name IN (SELECT value FROM json_each(?)) ORDER BY name
"""
_READ_REFERRERS = """
    SELECT name, uid, generation, writer, deleted, body FROM relation JOIN object ON name = source
    WHERE target = ? AND writer <> ?
"""
_WRITE = """
    INSERT INTO object (name, kind, uid, generation, writer, deleted, display_name, create_time, body)
    VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, generation = excluded.generation, writer = excluded.writer,
        deleted = 0, display_name = excluded.display_name, create_time = excluded.create_time, body = excluded.body
"""
_REMOVE = "UPDATE object SET generation = generation + 1, writer = ?, deleted = 1 WHERE name = ?"
_UNLINK = "DELETE FROM relation WHERE source = ? AND field = ? AND target = ?"
_LINK = "INSERT INTO relation (source, field, target, kind, position, amount) VALUES (?, ?, ?, ?, ?, ?)"

_POSITIONS = frozenset({("virtualDisks", "virtual_machine"), ("vnics", "virtual_machine")})
ADDRESSES = "macAddresses"
"""The pseudo kind that a card's hardware address is related to, so that the index says who has an address."""
_AMOUNTS: Mapping[tuple[str, str], str] = {
    ("virtualMachines", "server"): "memory_bytes",
    ("virtualDisks", "repository"): "size_bytes",
    ("images", "repository"): "size_bytes",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One relation as an object stores it."""

    target: str
    """The object that it points to."""
    position: int
    """The place among the others that point there by the same field."""
    amount: int
    """What it takes of its target, in bytes."""


def row_of(columns: tuple[str, str, int, int, int, bytes]) -> Row:
    """Return the row of these columns: name, uid, generation, writer, deleted, body."""
    name, uid, generation, writer, deleted, body = columns
    return Row(name=name, uid=uid, generation=generation, writer=writer, deleted=bool(deleted), body=body)


def read_row(reader: Reader, name: str) -> Row | None:
    """Return the row of this name, a tombstone too; None if there never was one."""
    columns = reader.execute(_READ, (name,)).fetchone()
    return row_of(columns) if columns is not None else None


def read_rows(reader: Reader, names: Iterable[str]) -> dict[str, Row]:
    """Return the rows of these names in their order, tombstones too."""
    return {columns[0]: row_of(columns) for columns in reader.execute(_READ_MANY, (json.dumps(list(names)),))}


def read_referrers(reader: Reader, name: str, operation: int) -> list[Row]:
    """Return the rows of the objects that refer to this one and were last written by others than an operation."""
    return [row_of(columns) for columns in reader.execute(_READ_REFERRERS, (name, operation))]


def write_row(reader: Reader, message: TypedObject, operation: int) -> Row:
    """Store an object under its name and return its row; its uid, generation and times are those that it carries."""
    created: Timestamp = message.create_time
    row = Row(
        name=message.name,
        uid=message.uid,
        generation=message.generation,
        writer=operation,
        deleted=False,
        body=message.SerializeToString(),
    )
    reader.execute(
        _WRITE,
        (
            row.name,
            collection_of(row.name),
            row.uid,
            row.generation,
            operation,
            message.display_name,
            created.seconds * 1_000_000_000 + created.nanos,
            row.body,
        ),
    )
    return row


def remove_row(reader: Reader, name: str, operation: int) -> None:
    """Turn an object's row into a tombstone with the next generation."""
    reader.execute(_REMOVE, (operation, name))


@cache
def _link_fields(collection: str) -> tuple[tuple[str, str, str], ...]:
    """Return (reference field, field of the position, field of the amount) of a kind; empty where there is none."""
    return tuple(
        (field, "position" if (collection, field) in _POSITIONS else "", _AMOUNTS.get((collection, field), ""))
        for field in reference_fields(collection)
    )


def links_of(message: TypedObject | None) -> dict[tuple[str, str], Link]:
    """Return the relations of an object by field and target; none of no object."""
    if message is None:
        return {}
    collection = collection_of(message.name)
    found = {
        (field, target): Link(
            target, getattr(message, position) if position else 0, getattr(message, amount) if amount else 0
        )
        for field, position, amount in _link_fields(collection)
        for target in targets_of(message, field)
    }
    if collection == "vnics" and message.mac_address:
        target = f"{ADDRESSES}/{message.mac_address}"
        found["mac_address", target] = Link(target, 0, 0)
    return found


def write_links(
    reader: Reader, name: str, before: Mapping[tuple[str, str], Link], after: Mapping[tuple[str, str], Link]
) -> list[tuple[str, Link | None, Link | None]]:
    """Bring the relation rows of an object up to date; return (field, before, after) of those that changed."""
    changed = []
    for field, target in {**before, **after}:
        old, new = before.get((field, target)), after.get((field, target))
        if old == new:
            continue
        changed.append((field, old, new))
        if old is not None:
            reader.execute(_UNLINK, (name, field, target))
        if new is not None:
            reader.execute(_LINK, (name, field, new.target, collection_of(name), new.position, new.amount))
    return changed
