"""The life of objects: the events that follow from what an effect changed, told in the effect's own transaction.

An event tells a fact that has come about, never an intention: states in which an operation is still at work (starting,
deleting) are passed over, and an undo tells what it really took back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import event_pb2, virtual_machine_pb2
from virtyard.inventory.masks import KEPT_FIELDS
from virtyard.inventory.model import Reader, TypedObject
from virtyard.inventory.projections import derived_fields
from virtyard.kernel import event_types
from virtyard.kernel.event_types import EventType
from virtyard.kernel.names import collection_of, kinds
from virtyard.kernel.options import fields_of, is_output

__all__ = ["Change", "Origin", "tell_life"]

_MACHINES = "virtualMachines"
_STARTING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING
_RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
_STOPPED = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
_UNTOLD = frozenset({"state", "observed", "placement"})
"""Fields that are no configuration where only the server sets them: what is to be told of them has types of its own."""
_WAS_STARTED = "SELECT 1 FROM event WHERE operation = ? AND +object = ? AND +type = 'MACHINE_STARTED'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an effect made of one object; the two differ."""

    name: str
    """Its resource name."""
    before: TypedObject | None
    """The object as it was; None if there was none."""
    now: TypedObject | None
    """The object as it is; None if it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The effect that changes came from."""

    operation: str
    """Resource name of its operation."""
    job: str
    """Resource name of its job."""
    undone: bool
    """Whether it was undone, not done."""

    @classmethod
    def of(cls, step_key: str, *, undone: bool) -> Origin:
        """Return the origin that a step key names: operations/12 and jobs/12-3 of `12/3/1`."""
        operation, job, _ = step_key.split("/")
        return cls(operation=f"operations/{operation}", job=f"jobs/{operation}-{job}", undone=undone)


def tell_life(reader: Reader, changes: Sequence[Change], origin: Origin, now: Timestamp) -> list[event_pb2.Event]:
    """Return the events of these changes, in their order and without their names.

    Args:
        reader: the transaction, to look up what was told before.
        changes: what the effect changed.
        origin: the effect.
        now: the time that the changed objects show.
    """
    because = f": {origin.operation} is undone" if origin.undone else ""
    return [
        event_types.new_event(
            kind,
            change.name,
            f"{change.name} {fact}{because}",
            create_time=now,
            operation=origin.operation,
            job=origin.job,
            changed_fields=fields,
            undone=origin.undone,
        )
        for change in changes
        for kind, fact, fields in _facts(reader, change, origin)
    ]


_Fact = tuple[EventType, str, Sequence[str]]


def _facts(reader: Reader, change: Change, origin: Origin) -> Iterator[_Fact]:
    """Yield (type, what is said of the object, changed fields)."""
    before, now = change.before, change.now
    if before is None or now is None or before.uid != now.uid:
        if before is not None:
            yield event_types.OBJECT_DELETED, "was removed again" if origin.undone else "was removed", ()
        if now is not None and origin.undone:
            yield event_types.OBJECT_RESTORED, "is back", ()
        elif now is not None:
            yield event_types.OBJECT_CREATED, "was created", ()
        return
    collection = collection_of(change.name)
    fields = [field for field in _told_fields(collection) if getattr(before, field) != getattr(now, field)]
    if collection == _MACHINES:
        # Where it runs is part of what its start and its stop tell.
        fields = [field for field in fields if field != "server" or before.state == now.state]
        yield from _of_machine(reader, before, now, origin)
    if collection == "servers" and "server_pool" in fields:
        fields.remove("server_pool")
        if before.server_pool:
            yield event_types.SERVER_REMOVED_FROM_POOL, f"was removed from {before.server_pool}", ("server_pool",)
        if now.server_pool:
            yield event_types.SERVER_ADDED_TO_POOL, f"was added to {now.server_pool}", ("server_pool",)
    if collection == "servers" and _is_behind(before) and not _is_behind(now) and not origin.undone:
        yield event_types.SERVER_CAUGHT_UP, "is up to date again", ()
    if fields:
        yield event_types.OBJECT_CHANGED, f"was changed: {', '.join(fields)}", fields


def _is_behind(server: TypedObject) -> bool:
    """Return whether a server has missed changes."""
    return bool(server.desired_revision > server.applied_revision)


def _of_machine(reader: Reader, before: TypedObject, now: TypedObject, origin: Origin) -> Iterator[_Fact]:
    """Yield what the change of a machine's state tells."""
    if now.state == _RUNNING and before.state != _RUNNING:
        yield event_types.MACHINE_STARTED, f"runs on {now.server}", ()
    elif now.state == _RUNNING and before.placement != now.placement and not origin.undone:
        yield event_types.MACHINE_RESTARTED, f"was restarted on {now.server}", ()
    elif now.state == _STOPPED and before.state in (_STARTING, _RUNNING) and _has_run(reader, now.name, origin):
        yield event_types.MACHINE_STOPPED, "is stopped", ()


def _has_run(reader: Reader, name: str, origin: Origin) -> bool:
    """Return whether a stop is one: a start that is undone before the machine ran has stopped nothing."""
    if not origin.undone:
        return True
    return reader.execute(_WAS_STARTED, (origin.operation, name)).fetchone() is not None


@cache
def _told_fields(collection: str) -> tuple[str, ...]:
    """Return the fields of a kind that are its configuration, in the order of its proto."""
    hidden = KEPT_FIELDS | derived_fields(collection)
    return tuple(
        field.name
        for field in fields_of(kinds()[collection].message)
        if field.name not in hidden and not (field.name in _UNTOLD and is_output(field))
    )
