"""Events that the scheduler raises about a definition: once for each key, due with the commit that says why."""

from __future__ import annotations

from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.jobs.store import EVENTS, Due
from virtyard.kernel.event_types import EventType, new_event

__all__ = ["due_event"]


def due_event(key: str, kind: EventType, subject: str, text: str) -> Due:
    """Return what has an event raised.

    Args:
        key: what tells it from every other one; raised again under it, it stays the one that it was.
        kind: its type.
        subject: resource name of the object that it is about.
        text: what happened, in a sentence without its full stop.
    """
    request = control_service_pb2.RaiseEventsRequest()
    request.events.add(key=key, event=new_event(kind, subject, text))
    return Due(key=f"events {key}", kind=EVENTS, body=request.SerializeToString())
