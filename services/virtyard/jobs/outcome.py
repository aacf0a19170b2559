"""What a participant's answer means for a step, and what a finished operation answers with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import cast

from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, error_details_pb2, status_pb2

from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.jobs.v1 import operation_pb2, plan_pb2
from virtyard.api.participant.v1 import finding_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation, job_name, operation_name
from virtyard.jobs.schedule import change_step, deferred_jobs
from virtyard.kernel import event_types
from virtyard.kernel.any import get_path, type_of, unpack
from virtyard.kernel.errors import InternalError
from virtyard.kernel.job_states import StepState
from virtyard.kernel.names import unwrap
from virtyard.kernel.plan import pack

_TRANSIENT = frozenset({code_pb2.UNAVAILABLE, code_pb2.DEADLINE_EXCEEDED})
_FINDINGS = "findings"
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
    record.strikes = 0
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
    done = [step for step in operation.record.steps.values() if int(step.state) == StepState.DONE]
    for step in sorted(done, key=lambda step: step.order, reverse=True):
        if wanted and step.result.Is(write_objects_pb2.WriteObjectsResult.DESCRIPTOR):
            written = write_objects_pb2.WriteObjectsResult.FromString(step.result.value)
            for wrapped in reversed(written.objects):
                message = unwrap(wrapped)
                if message.name == wanted:  # type: ignore[attr-defined]  # all kinds have a name
                    return pack(message)
    return pack(Empty())


def residue_of(operation: Operation) -> list[str]:
    """Return what is still missing after an operation that put jobs off, a sentence for each."""
    return [
        f"{job.object}: {job.title} is put off, as it could not be reached; it is behind until it is refreshed"
        for job in deferred_jobs(operation.shape, operation.record)
    ]


def events_of(operation: Operation) -> control_service_pb2.RaiseEventsRequest:
    """Return the events that tell of an operation that has ended: why it failed, or what it put off and found."""
    request = ending_events(operation)
    if operation.record.state in (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_PARTIAL):
        _add_failures(request, operation)
        _add_left(request, operation)
        _add_deferred(request, operation)
        _add_findings(request, operation)
    return request


def _add_failures(request: control_service_pb2.RaiseEventsRequest, operation: Operation) -> None:
    """Add why jobs failed while others were kept, each on every object of its job."""
    for job in operation.shape.plan.jobs:
        own = operation.record.jobs[job.id]
        if not own.failed:
            continue
        text = f"{job.title} failed: {own.error.message}"
        for subject in dict.fromkeys([job.object, *(step.target for step in job.steps)]):
            key = f"failed/{job.id}/{subject}"
            _add_event(request, operation, job, key, event_types.JOB_FAILED, subject, text, [own.error])


def _add_left(request: control_service_pb2.RaiseEventsRequest, operation: Operation) -> None:
    """Add what a person has accepted as it is past the pivot, on the object of its job."""
    for job in operation.shape.plan.jobs:
        own = operation.record.jobs[job.id]
        if own.residue and not operation.record.rolling_back:
            left = [operation.record.steps[f"{job.id}/{step.id}"] for step in job.steps]
            text = f"{job.title} is left as it is: {'; '.join(own.residue)}"
            causes = [step.error for step in left if step.accepted and step.error.code]
            _add_event(request, operation, job, f"left/{job.id}", event_types.JOB_FAILED, job.object, text, causes)


def _add_deferred(request: control_service_pb2.RaiseEventsRequest, operation: Operation) -> None:
    for job, text in zip(deferred_jobs(operation.shape, operation.record), residue_of(operation), strict=True):
        _add_event(request, operation, job, f"deferred/{job.id}", event_types.JOB_DEFERRED, job.object, text)


def _add_findings(request: control_service_pb2.RaiseEventsRequest, operation: Operation) -> None:
    """Add what participants noticed: the findings of every result that has some."""
    for reference, step in sorted(operation.record.steps.items()):
        if not _has_findings(type_of(step.result)):
            continue
        findings = cast("Sequence[finding_pb2.Finding]", get_path(unpack(step.result), _FINDINGS))
        for number, finding in enumerate(findings, 1):
            job = operation.shape.steps[reference].job
            key = f"finding/{reference}/{number}"
            kind = event_types.find(finding.type)
            if kind is None:
                raise InternalError(f"{finding.type} is no type of event", resource=finding.object)
            _add_event(request, operation, job, key, kind, finding.object, finding.message)


@cache
def _has_findings(result: str) -> bool:
    """Tell whether results of this type say what was noticed."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(result)
    except KeyError:
        return False
    field = descriptor.fields_by_name.get(_FINDINGS)
    return field is not None and field.message_type == finding_pb2.Finding.DESCRIPTOR


def _add_event(
    request: control_service_pb2.RaiseEventsRequest,
    operation: Operation,
    job: plan_pb2.PlannedJob,
    key: str,
    kind: event_types.EventType,
    subject: str,
    message: str,
    causes: Sequence[status_pb2.Status] = (),
) -> None:
    name, job_of = operation_name(operation.record.number), job_name(operation.record.number, job.id)
    event = event_types.new_event(kind, subject, message, operation=name, job=job_of, causes=causes)
    request.events.add(key=f"{name}/{key}", event=event)


def stuck_events(operation: Operation) -> control_service_pb2.RaiseEventsRequest:
    """Return the events that tell of undos which are refused, each on the object that the step was to put back."""
    record, name = operation.record, operation_name(operation.record.number)
    request = control_service_pb2.RaiseEventsRequest()
    for reference, ref in operation.shape.steps.items():
        step = record.steps.get(reference)
        if step is None or int(step.state) != StepState.UNDO_FAILED:
            continue
        event = event_types.new_event(
            event_types.ROLLBACK_FAILED,
            ref.step.target,
            f"{ref.step.title} cannot be undone: {step.error.message}",
            operation=name,
            job=job_name(record.number, ref.job.id),
            causes=[step.error],
        )
        request.events.add(key=f"{name}/stuck/{reference}/{step.undo_attempt}", event=event)
    return request


def ending_events(operation: Operation) -> control_service_pb2.RaiseEventsRequest:
    """Return the events that tell of an operation's bad end, each on its object; none of a good one.

    Those of a failure are about every object of the job that failed: its own, and what its steps were to change. What
    was done to them has been undone by then.
    """
    record, name = operation.record, operation_name(operation.record.number)
    request = control_service_pb2.RaiseEventsRequest()
    if record.state == operation_pb2.OPERATION_STATE_FAILED:
        planned = operation.shape.jobs.get(record.failed_job) or operation.shape.plan.jobs[0]
        kind, what, said = event_types.JOB_FAILED, "failed", "failed"
        subjects = list(dict.fromkeys([planned.object, *(step.target for step in planned.steps)]))
    elif record.state == operation_pb2.OPERATION_STATE_CANCELLED:
        planned = operation.shape.plan.jobs[0]
        kind, what, said = event_types.OPERATION_ABORTED, "aborted", "was aborted"
        subjects = [operation.shape.plan.result_object or planned.object]
    else:
        return request
    for place, subject in enumerate(subjects):
        message = f"{planned.title} {said}: {record.error.message}"
        event = event_types.new_event(
            kind, subject, message, operation=name, job=job_name(record.number, planned.id), causes=[record.error]
        )
        # The first key is the one that older releases gave the only event, so that an upgrade repeats none.
        request.events.add(key=f"{name}/{what}" + (f"/{subject}" if place else ""), event=event)
    return request
