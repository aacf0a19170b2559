"""What a participant's answer means for a step, and what a finished operation answers with."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, error_details_pb2, status_pb2

from virtyard.api.inventory.v1 import event_pb2, write_objects_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation, job_name, operation_name
from virtyard.jobs.schedule import change_step
from virtyard.kernel.any import type_of
from virtyard.kernel.job_states import StepState
from virtyard.kernel.names import unwrap
from virtyard.kernel.plan import pack

_TRANSIENT = frozenset({code_pb2.UNAVAILABLE, code_pb2.DEADLINE_EXCEEDED})
MOST_ATTEMPTS = 5
"""How often a step that can be undone is tried before its operation rolls back."""


def reason_of(status: status_pb2.Status) -> str:
    """Return the reason of an error, as STALE_EPOCH; empty if it has none."""
    for detail in status.details:
        if type_of(detail) == "google.rpc.ErrorInfo":
            return error_details_pb2.ErrorInfo.FromString(detail.value).reason
    return ""


def is_overtaken(result: participant.EffectRecord) -> bool:
    """Tell whether the answer says that another scheduler has the operation."""
    return result.HasField("error") and reason_of(result.error) == "STALE_EPOCH"


def has_changed_read_set(result: participant.EffectRecord) -> bool:
    """Tell whether the effect was refused because what the plan was made from has changed."""
    return result.HasField("error") and reason_of(result.error) == "GENERATION_MISMATCH"


def is_transient(result: participant.EffectRecord) -> bool:
    """Tell whether another try of the same step makes sense: it left nothing, and the cause may pass."""
    return result.state == participant.EFFECT_STATE_FAILED and result.error.code in _TRANSIENT


def record_done(record: record_pb2.OperationRecord, reference: str, result: participant.EffectRecord) -> None:
    """Take over the result of a step that was done."""
    step = change_step(record, reference, StepState.DONE)
    record.done_count += 1
    step.order = record.done_count
    step.ClearField("error")
    if result.HasField("result"):
        step.result.CopyFrom(result.result)


def record_failed(record: record_pb2.OperationRecord, reference: str, result: participant.EffectRecord) -> None:
    """Take over the failure of a step."""
    step = change_step(record, reference, StepState.FAILED)
    step.error.CopyFrom(result.error)
    step.left_residue = result.state == participant.EFFECT_STATE_RESIDUE


def record_settled(record: record_pb2.OperationRecord, reference: str, result: participant.EffectRecord) -> None:
    """Take over what a step came to when it was settled (P1)."""
    if result.state == participant.EFFECT_STATE_DONE:
        record_done(record, reference, result)
    elif result.state == participant.EFFECT_STATE_NOT_BEGUN:
        change_step(record, reference, StepState.SKIPPED)
    else:
        record_failed(record, reference, result)


def response_of(operation: Operation) -> Any:
    """Return what the operation answers with: its object as the last write left it, or nothing."""
    wanted = operation.shape.plan.result_object
    steps = sorted(operation.record.steps.values(), key=lambda step: step.order, reverse=True)
    for step in steps:
        if wanted and step.result.Is(write_objects_pb2.WriteObjectsResult.DESCRIPTOR):
            written = write_objects_pb2.WriteObjectsResult.FromString(step.result.value)
            for wrapped in reversed(written.objects):
                message = unwrap(wrapped)
                if message.name == wanted:  # type: ignore[attr-defined]  # all kinds have a name
                    return pack(message)
    return pack(Empty())


def failure_events(operation: Operation) -> control_service_pb2.RaiseEventsRequest:
    """Return the event that tells of a failed operation, on the object of the job that failed."""
    record = operation.record
    planned = operation.shape.jobs.get(record.failed_job) or operation.shape.plan.jobs[0]
    request = control_service_pb2.RaiseEventsRequest()
    keyed = request.events.add(key=f"{operation_name(record.number)}/failed")
    keyed.event.CopyFrom(
        event_pb2.Event(
            type="JOB_FAILED",
            severity=event_pb2.SEVERITY_WARNING,
            object=planned.object,
            message=f"{planned.title} failed: {record.error.message}",
            operation=operation_name(record.number),
            job=job_name(record.number, planned.id),
            causes=[record.error],
        )
    )
    return request


def stuck_event(operation: Operation, job: str) -> control_service_pb2.RaiseEventsRequest:
    """Return the event that tells of a job that could not be undone, once for each time that it was given up."""
    record, planned = operation.record, operation.shape.jobs[job]
    attempts = sum(record.steps[each].undo_attempt for each in operation.shape.own[job] if each in record.steps)
    name = job_name(record.number, job)
    request = control_service_pb2.RaiseEventsRequest()
    keyed = request.events.add(key=f"{name}/rollback failed/{attempts}")
    keyed.event.CopyFrom(
        event_pb2.Event(
            type="JOB_ROLLBACK_FAILED",
            severity=event_pb2.SEVERITY_CRITICAL,
            object=planned.object,
            message=f"{planned.title} cannot be undone: {'; '.join(record.jobs[job].residue)}",
            operation=operation_name(record.number),
            job=name,
            causes=[step.error for each in operation.shape.own[job] if (step := record.steps[each]).HasField("error")],
        )
    )
    return request
