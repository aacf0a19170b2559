"""What objects show but do not store: the other side of relations, sums over them, and the last report of a server.

A projection is read in the same snapshot as its object, from the relation index, and is no part of etag or generation.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from virtyard.api.inventory.v1 import repository_pb2
from virtyard.inventory.model import Reader, Row, TypedObject, etag_of
from virtyard.kernel.names import collection_of, kinds

__all__ = ["PROJECTIONS", "Projection", "Shape", "derived_fields", "present", "shown_by"]


class Shape(enum.Enum):
    """How the sources of a relation are shown on its target."""

    LIST = "list"
    """Their names, in order of position and name."""
    ONE = "one"
    """The name of the only one."""
    SUM = "sum"
    """The sum of what they take; a field that has several sources shows them together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """One field of a kind that is read from the relations that point to it."""

    kind: str
    """The kind that shows it."""
    field: str
    """The field that shows it."""
    source: str
    """The kind of the objects that point to it."""
    via: str
    """The field by which they point."""
    shape: Shape
    """What is shown of them."""


PROJECTIONS = (
    Projection(kind="serverPools", field="servers", source="servers", via="server_pool", shape=Shape.LIST),
    Projection(kind="serverPools", field="cluster", source="clusters", via="server_pool", shape=Shape.ONE),
    Projection(
        kind="virtualMachines", field="virtual_disks", source="virtualDisks", via="virtual_machine", shape=Shape.LIST
    ),
    Projection(kind="virtualMachines", field="vnics", source="vnics", via="virtual_machine", shape=Shape.LIST),
    Projection(kind="networks", field="vnics", source="vnics", via="bridged_network", shape=Shape.LIST),
    Projection(kind="servers", field="reserved_memory_bytes", source="virtualMachines", via="server", shape=Shape.SUM),
    Projection(
        kind="repositories", field="provisioned_bytes", source="virtualDisks", via="repository", shape=Shape.SUM
    ),
    Projection(kind="repositories", field="provisioned_bytes", source="images", via="repository", shape=Shape.SUM),
)
"""Every projection that comes from relations."""

_SOURCES = """
    SELECT target, source FROM relation
    WHERE kind = ? AND field = ? AND target IN (SELECT value FROM json_each(?)) ORDER BY target, position, source
"""
_SUMS = """
    SELECT target, amount FROM total
    WHERE kind = ? AND field = ? AND target IN (SELECT value FROM json_each(?))
"""
_OBSERVATIONS = """
    SELECT server, state, revision, body FROM observation WHERE server IN (SELECT value FROM json_each(?))
"""
_LOST = """
    SELECT object, part FROM trouble WHERE object IN (SELECT value FROM json_each(?)) ORDER BY object, part
"""
_READY, _UNAVAILABLE = repository_pb2.REPOSITORY_STATE_READY, repository_pb2.REPOSITORY_STATE_UNAVAILABLE


@cache
def derived_fields(collection: str) -> frozenset[str]:
    """Return the fields of a kind that are never stored with it."""
    shown = {projection.field for projection in PROJECTIONS if projection.kind == collection}
    return frozenset(shown | {"activity", "etag"} | ({"lost_servers"} if collection == "repositories" else set()))


@cache
def shown_by(collection: str, field: str) -> bool:
    """Return whether the targets of this relation show something of its sources."""
    return any(projection.source == collection and projection.via == field for projection in PROJECTIONS)


@cache
def _of_kind(collection: str) -> tuple[Projection, ...]:
    return tuple(projection for projection in PROJECTIONS if projection.kind == collection)


def present(reader: Reader, rows: Iterable[Row]) -> list[TypedObject]:
    """Return the objects of these rows with their projections, in the order of the rows."""
    found = []
    by_kind: dict[str, dict[str, TypedObject]] = {}
    for row in rows:
        collection = collection_of(row.name)
        message: TypedObject = kinds()[collection].message.FromString(row.body)
        found.append(message)
        by_kind.setdefault(collection, {})[row.name] = message
    for collection, messages in by_kind.items():
        names = json.dumps(list(messages))
        for projection in _of_kind(collection):
            _project(reader, projection, messages, names)
        if collection == "servers":
            _observe(reader, messages, names)
        elif collection == "repositories":
            _show_lost(reader, messages, names)
    for message in found:
        if not message.etag:
            message.etag = etag_of(message.uid, message.generation, 0)
    return found


def _project(reader: Reader, projection: Projection, messages: Mapping[str, TypedObject], names: str) -> None:
    statement = _SUMS if projection.shape is Shape.SUM else _SOURCES
    rows: Sequence[tuple[str, object]] = reader.execute(
        statement, (projection.source, projection.via, names)
    ).fetchall()
    for target, value in rows:
        if projection.shape is Shape.LIST:
            getattr(messages[target], projection.field).append(value)
        elif projection.shape is Shape.SUM:
            shown = messages[target]
            setattr(shown, projection.field, getattr(shown, projection.field) + value)
        else:
            setattr(messages[target], projection.field, value)


def _show_lost(reader: Reader, messages: Mapping[str, TypedObject], names: str) -> None:
    for name, server in reader.execute(_LOST, (names,)):
        message = messages[name]
        if server in message.servers:
            message.lost_servers.append(server)
        if message.state == _READY and len(message.lost_servers) == len(message.servers) > 0:
            message.state = _UNAVAILABLE


def _observe(reader: Reader, messages: Mapping[str, TypedObject], names: str) -> None:
    for server, state, revision, body in reader.execute(_OBSERVATIONS, (names,)):
        message = messages[server]
        message.state = state
        message.observed.MergeFromString(body)
        message.etag = etag_of(message.uid, message.generation, revision)
