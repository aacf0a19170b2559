"""The events that tell who steered an operation, and why: the trail of what is no operation by itself."""

from __future__ import annotations

import uuid

from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.jobs.model import Operation, job_name
from virtyard.kernel.event_types import EventType, new_event


def event_of(
    operation: Operation, kind: EventType, text: str, reason: str, job: str = ""
) -> control_service_pb2.RaiseEventsRequest:
    """Return one event about what the operation is for, or about what one of its jobs changes.

    Args:
        operation: the operation that was steered.
        kind: what was done.
        text: who did it, in a sentence without its full stop.
        reason: why, in that person's words; may be empty.
        job: the id in the plan of the job that it is about; empty if it is about the whole operation.
    """
    plan = operation.shape.plan
    subject = operation.shape.jobs[job].object if job else plan.result_object or plan.jobs[0].object
    message = f"{text}: {reason}" if reason else text
    named = job_name(operation.number, job or plan.jobs[0].id)
    event = new_event(kind, subject, message, operation=operation.name, job=named)
    request = control_service_pb2.RaiseEventsRequest()
    # Each time is an event of its own; the due row keeps the key, so asking again raises none twice.
    request.events.add(key=f"{operation.name}/{kind.name.lower()}/{uuid.uuid4().hex}", event=event)
    return request
