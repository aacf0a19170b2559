"""How objects refer to each other, and which of those relations are the lock tree.

A reference field is a relation that the object itself stores, unless it shows the other side: that is a projection.
Singular ones are stored, but for the few that are named here; lists are projections, but for the few that are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from google.protobuf.message import Message

from virtyard.kernel.names import collection_of, kinds
from virtyard.kernel.options import descriptor_of, fields_of, is_repeated, reference_type

_PROJECTIONS = frozenset({("serverPools", "cluster")})
_STORED_LISTS = frozenset({("networks", "servers"), ("repositories", "servers")})

LOCK_PARENTS: Mapping[str, str] = {
    "servers": "server_pool",
    "virtualMachines": "server_pool",
    "clusters": "server_pool",
    "heartbeatDevices": "server_pool",
    "vnics": "virtual_machine",
    "virtualDisks": "repository",
    "images": "repository",
}
"""The one field of each kind that names its parent in the lock tree; a kind that is not here is a root (P25)."""


@cache
def reference_fields(collection: str) -> tuple[str, ...]:
    """Return the fields of a kind that are stored relations, as `server_pool` of `servers`."""
    fields = fields_of(kinds()[collection].message)
    return tuple(
        field.name
        for field in fields
        if reference_type(field)
        and (
            (collection, field.name) in _STORED_LISTS
            if is_repeated(field)
            else (collection, field.name) not in _PROJECTIONS
        )
    )


def targets_of(message: Message, field: str) -> Sequence[str]:
    """Return what a reference field of an object names: none, one, or several of a list."""
    value = getattr(message, field)
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value)


def references(message: Message) -> Iterator[tuple[str, str]]:
    """Yield (field, target) of every relation that this object stores."""
    for field in reference_fields(collection_of(message.name)):  # type: ignore[attr-defined]  # all kinds have name
        for target in targets_of(message, field):
            yield field, target


def lock_parent(message: Message) -> str:
    """Return the name of the object's parent in the lock tree; empty for a root."""
    field = LOCK_PARENTS.get(collection_of(message.name))  # type: ignore[attr-defined]  # all kinds have name
    return getattr(message, field) if field else ""


@cache
def ancestor_path(collection: str) -> str:
    """Return the selection path from an object of this kind up to its root, as `virtual_machine/server_pool`."""
    hops = []
    while field := LOCK_PARENTS.get(collection):
        hops.append(field)
        collection = _target_of(collection, field)
    return "/".join(hops)


def _target_of(collection: str, field: str) -> str:
    """Return the kind that a reference field of a kind names."""
    target = reference_type(descriptor_of(kinds()[collection].message).fields_by_name[field])
    return next(kind.collection for kind in kinds().values() if kind.type == target)


@cache
def ancestor_collections(collection: str) -> frozenset[str]:
    """Return the kinds that may be above this kind in the lock tree."""
    found = set()
    while field := LOCK_PARENTS.get(collection):
        collection = _target_of(collection, field)
        found.add(collection)
    return frozenset(found)
