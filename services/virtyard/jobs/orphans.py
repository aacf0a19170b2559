"""The sweep of orphans: locks whose owner is no open operation and no person's lock are released (P5, P23).

There are none unless something else went wrong, as a database that was put back. Owners are read from the lock service
first and looked up here afterwards: one that is over here by then has no business there any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.jobs.model import operation_number
from virtyard.jobs.store import JobStore
from virtyard.jobs.world import Locks
from virtyard.kernel.errors import NotFound, VirtyardError
from virtyard.locks.model import Release, is_person

__all__ = ["sweep", "sweep_for_ever"]

_EVERY = 600.0
"""Seconds between two sweeps."""
_PERSON_EPOCH = 1
_log = logging.getLogger(__name__)


async def sweep(store: JobStore, locks: Locks, person_locks: Callable[[], set[str]]) -> list[str]:
    """Release every orphan, and return their names.

    Args:
        store: the scheduler's database.
        locks: the lock service.
        person_locks: gives the names of the locks of people.
    """
    owners = {lock.owner for lock in await locks.locks()}
    people = person_locks()
    orphans: list[Release] = []
    for owner in sorted(owners):
        if is_person(owner):
            if owner not in people:
                orphans.append(Release(owner=owner, epoch=_PERSON_EPOCH))
        elif (epoch := await _ended(store, owner)) is not None:
            orphans.append(Release(owner=owner, epoch=epoch))
    if orphans:
        _log.warning("locks without an open owner are released: %s", ", ".join(each.owner for each in orphans))
        await locks.release(orphans)
    return [each.owner for each in orphans]


async def sweep_for_ever(store: JobStore, locks: Locks, person_locks: Callable[[], set[str]]) -> None:
    """Sweep now and from time to time."""
    while True:
        try:
            await sweep(store, locks, person_locks)
        except VirtyardError as error:
            _log.info("orphans are looked for later: %s", error)
        await asyncio.sleep(_EVERY)


async def _ended(store: JobStore, owner: str) -> int | None:
    """Return the epoch with which an operation ended; None for one that is open, or not known here at all."""
    number = operation_number(owner.partition("#")[0])
    try:
        record = (await store.get(number)).record
    except NotFound:
        _log.warning("%s holds locks and is not known here", owner)
        return None
    return record.epoch if record.state != operation_pb2.OPERATION_STATE_ACTIVE else None
