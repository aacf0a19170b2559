"""What people are told of their locks: how one is, that it has ended, and who is in the way; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.store import EVENTS, Due
from virtyard.kernel.errors import LockHolder, WrongState
from virtyard.locks.model import Blocker

__all__ = ["end_due", "in_the_way", "lock_of"]


def lock_of(record: record_pb2.PersonLockRecord, state: pb.PersonLockState.ValueType) -> pb.PersonLock:
    """Return a lock without those in its way, and what runs under it."""
    lock = pb.PersonLock(
        name=record.name,
        object=record.object,
        mode=record.mode,
        state=state,
        principal=record.principal,
        purpose=record.purpose,
        create_time=record.create_time,
    )
    lock.end_time.FromDatetime(record.as_of_time.ToDatetime() + timedelta(seconds=record.remaining_seconds))
    return lock


def end_due(name: str, event: event_pb2.Event) -> Due:
    """Return the telling of a lock's end, which is due in the inventory."""
    request = control_service_pb2.RaiseEventsRequest()
    request.events.add(key=f"{name}/ended", event=event)
    return Due(key=f"events {name} ended", kind=EVENTS, body=request.SerializeToString())


def in_the_way(name: str, blockers: Sequence[Blocker]) -> WrongState:
    """Return the refusal of an object that somebody does not want to wait for."""
    holders = [LockHolder(object=each.object, holder=each.owner, purpose=each.purpose) for each in blockers]
    who = "; ".join(
        f"{each.object}, {'asked for' if each.waiting else 'held'} by {each.owner} ({each.purpose})"
        for each in blockers
    )
    return WrongState(f"{name} cannot be locked at once: {who}", resource=name, locks=holders)
