"""The path of a person's lock: its object, and intentions on what is above that in the lock tree (P25).

It is looked up when the lock is asked for, and again under the lock: only then can nobody move the object any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.kernel.lock_modes import LockMode, intention_for
from virtyard.kernel.names import collection_of
from virtyard.kernel.relations import ancestor_path
from virtyard.kernel.view import View, select
from virtyard.locks.model import LockSet, LockWish

__all__ = ["EPOCH", "ReadView", "find_ancestors", "lock_set_of", "path_of"]

EPOCH = 1
"""Nobody adopts a person's lock, so its epoch never rises."""

ReadView = Callable[[Sequence[participant.Selection]], Awaitable[View]]
"""Reads the inventory, at one position of its feed."""


async def find_ancestors(view: ReadView, name: str) -> list[str] | None:
    """Return what is above an object in the lock tree, the nearest first; None if there is no such object.

    Raises:
        Unavailable: the inventory cannot be reached.
    """
    path = ancestor_path(collection_of(name))
    found = await view([select(name, *([path] if path else []))])
    return list(found.ancestors(name)) if found.exists(name) else None


def path_of(name: str, mode: LockMode, above: Iterable[str]) -> list[plan_pb2.PlannedLock]:
    """Return the locks that one on an object is made of, the object's own first."""
    intention = intention_for(mode)
    modes = {name: mode, **dict.fromkeys(above, intention)}
    return [plan_pb2.PlannedLock(object=each, mode=lock_pb2.LockMode.ValueType(own)) for each, own in modes.items()]


def lock_set_of(record: record_pb2.PersonLockRecord) -> LockSet:
    """Return the set that the lock service is asked for."""
    return LockSet(
        owner=record.name,
        epoch=EPOCH,
        locks=tuple(LockWish(object=each.object, mode=LockMode(each.mode)) for each in record.locks),
        purpose=f"{record.purpose}, by {record.principal}",
        round=record.lock_round,
    )
