"""Blocking: operation types that an open CRITICAL event of an object keeps from it until somebody acknowledges it.

Which events are open is part of what a plan was made from, as the versions of objects are: an event that comes before
the operation has its locks is found when the plan is checked under them.
"""

from __future__ import annotations

from typing import Any

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.errors import BlockedByEvent
from virtyard.kernel.event_types import find
from virtyard.kernel.view import View

__all__ = ["check_blocks"]


def check_blocks(method: str, plan: plan_pb2.Plan, view: View) -> None:
    """Refuse a plan that works on an object, or below one, on which an open event blocks operations of this type.

    Args:
        method: full name of the operation's rpc.
        plan: what is to be done; it works on what it locks.
        view: what the plan was made from.

    Raises:
        BlockedByEvent: naming the event, and what to do.
    """
    if not view.blocking:
        return
    kind = method.rpartition(".")[2]
    locked = {lock.object for lock in plan.locks}
    for event in view.blocking:
        if kind in event.blocks and event.object in locked:
            raise _refusal(kind, event)


def _refusal(kind: str, event: Any) -> BlockedByEvent:
    known = find(event.type)
    advice = f" {known.advice}" if known is not None else ""
    return BlockedByEvent(
        f"{kind} is blocked on {event.object} by {event.name}, {event.type}: {event.message}.{advice} "
        f"Then acknowledge it, as with `virtyard event acknowledge {event.name}`",
        resource=event.object,
        metadata={"event": event.name, "type": event.type, "operation_type": kind},
    )
