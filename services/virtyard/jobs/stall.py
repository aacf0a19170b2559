"""The flag of a step that makes no progress for longer than it may, and the events that tell of it and of its end.

The flag is durable, so that after a restart nobody is told twice, and the end of the condition is told at last.
"""

from __future__ import annotations

from collections.abc import Iterable

from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.effects import STALL_SECONDS
from virtyard.jobs.model import Operation, job_name
from virtyard.kernel import event_types
from virtyard.kernel.job_states import StepState

__all__ = ["UNDER_WAY", "any_stalled", "end_stalls", "events"]

Record = record_pb2.OperationRecord
UNDER_WAY = frozenset({int(StepState.STARTED), int(StepState.UNDOING)})
"""The states in which a step can make progress."""


def any_stalled(record: Record) -> bool:
    """Tell whether a step of the operation is marked as stalled."""
    return any(own.stalled for own in record.steps.values())


def end_stalls(record: Record) -> list[str]:
    """Take the mark off steps that are not under way any more, and return them."""
    over = [reference for reference, own in record.steps.items() if own.stalled and own.state not in UNDER_WAY]
    for reference in over:
        record.steps[reference].stalled = False
    return over


def events(
    operation: Operation, *, stuck: Iterable[str] = (), going: Iterable[str] = ()
) -> control_service_pb2.RaiseEventsRequest:
    """Return the events that tell of steps that have just been found stuck, and of those that are so no more."""
    request = control_service_pb2.RaiseEventsRequest()
    told = [(each, event_types.JOB_STUCK) for each in stuck] + [(each, event_types.JOB_GOES_ON) for each in going]
    for reference, kind in told:
        ref, own = operation.shape.steps[reference], operation.record.steps[reference]
        what = f"{ref.job.title}: {ref.step.title} on {ref.step.participant}"
        if kind is event_types.JOB_STUCK:
            tried = own.undo_attempt if int(own.state) == StepState.UNDOING else own.attempt
            text = f"{what} has made no progress for {STALL_SECONDS} seconds, at attempt {tried}"
            if own.HasField("error"):
                text += f"; its last attempt: {own.error.message}"
        else:
            text = f"{what} goes on" if own.state in UNDER_WAY else f"{what} has ended"
        job = job_name(operation.number, ref.job.id)
        event = event_types.new_event(
            kind, ref.job.object, text, operation=operation.name, job=job, causes=[own.error] if own.error.code else []
        )
        request.events.add(key=f"{operation.name}/{kind.name}/{reference}/{own.stalls}", event=event)
    return request
