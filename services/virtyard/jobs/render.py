"""How operations and jobs look from outside: messages made from plan, record and live progress."""

from __future__ import annotations

import hashlib
from datetime import UTC

from google.longrunning import operations_pb2

from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import acceptance, hold_flag, lock_wait
from virtyard.jobs.model import Operation, Outlook, Shape, job_name, operation_name
from virtyard.jobs.on_failure import missing_of
from virtyard.jobs.outcome import residue_of
from virtyard.jobs.outlook import job_end
from virtyard.jobs.progress import is_open, job_progress, operation_progress, step_percent
from virtyard.jobs.reason_trail import causes_of
from virtyard.kernel.job_states import ENDED, JobState, StepState, display_state

_OVER = ENDED - {JobState.ROLLBACK_FAILED}
_OUTCOMES = {
    int(JobState.COMPLETED): job_pb2.OUTCOME_COMPLETE,
    int(JobState.FAILED): job_pb2.OUTCOME_NONE,
    int(JobState.ABORTED): job_pb2.OUTCOME_NONE,
    int(JobState.ROLLBACK_FAILED): job_pb2.OUTCOME_PARTIAL,
}


def render_job(operation: Operation, planned: plan_pb2.PlannedJob) -> job_pb2.Job:
    """Return a job of the operation as it is now."""
    shape, record = operation.shape, operation.record
    number = record.number
    own = record.jobs[planned.id]
    children = shape.children.get(planned.id, [])
    job = job_pb2.Job(
        name=job_name(number, planned.id),
        operation=operation_name(number),
        parent_job=job_name(number, planned.parent) if planned.parent else "",
        title=planned.title,
        object=planned.object,
        state=own.state,
        display_state=display_state(own.state, [record.jobs[child.id].state for child in children]),
        steps=[_render_step(operation, planned, step) for step in planned.steps],
        create_time=record.create_time,
        done=int(own.state) in ENDED,
        residue=own.residue,
        abort_requested=record.abort_requested or own.HasField("abort_hop"),
        cause=own.cause,
        outcome=_outcome(own),
        child_jobs=[job_name(number, child.id) for child in children],
        origin=job_pb2.ORIGIN_PARENT if planned.parent else record.origin,
        reason=record.options.reason,
        principal=record.principal,
        trace_id=_trace_id(record),
        reason_trail=causes_of(operation, planned),
        stalled=any(record.steps[each].stalled for each in shape.own[planned.id] if each in record.steps),
        priority=record.options.priority,
        contact_lost=bool(operation.contact_lost)
        and any(
            step.participant in operation.contact_lost and is_open(record, f"{planned.id}/{step.id}")
            for step in planned.steps
        ),
    )
    if own.deferred:
        job.deferred, job.outcome = True, job_pb2.OUTCOME_PARTIAL if job.done else job_pb2.OUTCOME_UNSPECIFIED
    hold_flag.show(record, job)
    lock_wait.show(operation, job)
    for name in ("start_time", "end_time", "error"):
        if own.HasField(name):
            getattr(job, name).CopyFrom(getattr(own, name))
    if waits := counted_waits(operation, planned):
        job.waiting_for = waits
    elif int(own.state) == JobState.WAITING_FOR_LOCKS or record.held == job_pb2.HELD_REASON_FILTER:
        job.waiting_for = operation.waiting_for
    elif job.stalled:
        job.waiting_for = _stalled(operation)
    job.summary_done = job.done and all(_family_done(shape, record, child) for child in children)
    _show_progress(operation, planned, job)
    job.etag = hashlib.sha256(own.SerializeToString(deterministic=True)).hexdigest()[:16]
    return job


def render_metadata(operation: Operation, *, with_plan: bool = False) -> operation_pb2.OperationMetadata:
    """Return the metadata of an operation as it is now."""
    record = operation.record
    metadata = operation_pb2.OperationMetadata(
        method=record.method,
        request=operation.request,
        jobs=[job_name(record.number, job.id) for job in operation.shape.plan.jobs],
        resume_tokens=record.resume_tokens,
        state=record.state,
        outcome=record.outcome,
        create_time=record.create_time,
        end_time=record.end_time if record.HasField("end_time") else None,
        options=record.options,
        title=record.title,
        principal=record.principal,
        abort_requested=record.abort_requested,
        too_late=record.too_late,
        waiting_for=_waiting_for(operation),
        epoch=record.epoch,
        replans=record.replans,
        superseded_by=record.superseded_by,
        reason_trail=causes_of(operation),
        progress=_outlook(operation).progress,
    )
    metadata.residue.extend(missing_of(operation))
    if record.state == operation_pb2.OPERATION_STATE_PARTIAL:
        metadata.residue.extend([*residue_of(operation), *acceptance.left_of(operation)])
    hold_flag.show(record, metadata)
    if with_plan:
        metadata.plan.CopyFrom(operation.shape.plan)
    return metadata


def _waiting_for(operation: Operation) -> str:
    """Return whom the operation waits for: who holds its locks, or which participants of its open steps are silent."""
    if not operation.contact_lost:
        counted = "; ".join(dict.fromkeys(operation.counted_waits.values()))
        return operation.waiting_for or _stopping(operation) or _stalled(operation) or counted
    silent = {
        ref.step.participant
        for reference, ref in operation.shape.steps.items()
        if ref.step.participant in operation.contact_lost and is_open(operation.record, reference)
    }
    if not silent:
        return operation.waiting_for
    verb = "does" if len(silent) == 1 else "do"
    return f"{', '.join(sorted(silent))}, which {verb} not answer"


def _stopping(operation: Operation) -> str:
    """Return which steps of an operation that is aborted are told to stop, and have not; empty if there is none."""
    record = operation.record
    whole = record.abort_requested and not record.too_late
    found = {
        f"{ref.step.participant}, which is told to stop: {ref.step.title}"
        for reference, ref in operation.shape.steps.items()
        if reference in record.steps
        and int(record.steps[reference].state) == StepState.STARTED
        and (whole or record.jobs[ref.job.id].HasField("abort_hop"))
    }
    return "; ".join(sorted(found))


def counted_waits(operation: Operation, planned: plan_pb2.PlannedJob) -> str:
    """Return which counted locks the steps of a job wait for, as a person reads it; empty for none."""
    if not operation.counted_waits:
        return ""
    texts = (operation.counted_waits.get(f"{planned.id}/{step.id}", "") for step in planned.steps)
    return "; ".join(text for text in texts if text)


def _stalled(operation: Operation) -> str:
    """Return which step makes no progress, as a person reads it; empty if each does."""
    for reference, own in operation.record.steps.items():
        if own.stalled:
            step = operation.shape.steps[reference].step
            return f"{step.participant}, which makes no progress with {step.title!r}"
    return ""


def render_operation(operation: Operation, *, with_plan: bool = False) -> operations_pb2.Operation:
    """Return the operation as a `google.longrunning.Operation`."""
    record = operation.record
    rendered = operations_pb2.Operation(name=operation_name(record.number))
    rendered.metadata.Pack(render_metadata(operation, with_plan=with_plan))
    if record.state != operation_pb2.OPERATION_STATE_ACTIVE:
        rendered.done = True
        if record.HasField("response"):
            rendered.response.CopyFrom(record.response)
        else:
            rendered.error.CopyFrom(record.error)
    return rendered


def _show_progress(operation: Operation, planned: plan_pb2.PlannedJob, job: job_pb2.Job) -> None:
    """Show how far a job is and, until it has ended, how far its whole operation is."""
    job.progress.CopyFrom(job_progress(operation, planned))
    if int(job.state) in _OVER:
        return
    outlook = _outlook(operation)
    job.operation_progress.percent = outlook.progress.percent
    if outlook.progress.HasField("expected_end_time"):
        job.operation_progress.expected_end_time.CopyFrom(outlook.progress.expected_end_time)
    job.operation_progress.update_time.FromDatetime(outlook.time)
    end = job_end(operation, planned, outlook)
    if end is not None:
        job.progress.expected_end_time.FromDatetime(end)


def _outlook(operation: Operation) -> Outlook:
    """Return the outlook at the last news of an operation; of one that only is read, how far it is and no more."""
    if operation.outlook is not None:
        return operation.outlook
    return Outlook(time=operation.record.create_time.ToDatetime(UTC), progress=operation_progress(operation))


def _render_step(operation: Operation, planned: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep) -> job_pb2.Step:
    reference = f"{planned.id}/{step.id}"
    rendered = job_pb2.Step(id=step.id, title=step.title, participant=step.participant, weight=step.weight)
    rendered.state = job_pb2.STEP_STATE_PENDING
    if reference in operation.record.steps:
        own = operation.record.steps[reference]
        rendered.state = own.state
        rendered.attempt = own.attempt
        for name in ("error", "start_time", "end_time", "undo_start_time", "undo_end_time"):
            if own.HasField(name):
                getattr(rendered, name).CopyFrom(getattr(own, name))
    live = operation.progress.get(reference)
    if live is not None:
        rendered.progress.CopyFrom(live)
    rendered.progress.percent = step_percent(operation, reference)
    return rendered


def _outcome(own: record_pb2.JobRecord) -> job_pb2.Outcome.ValueType:
    """Return what came of a job; one whose residue a person accepted did leave something."""
    if own.residue and int(own.state) in ENDED:
        return job_pb2.OUTCOME_PARTIAL
    return _OUTCOMES.get(int(own.state), job_pb2.OUTCOME_UNSPECIFIED)


def _family_done(shape: Shape, record: record_pb2.OperationRecord, planned: plan_pb2.PlannedJob) -> bool:
    own = int(record.jobs[planned.id].state) in ENDED
    return own and all(_family_done(shape, record, child) for child in shape.children.get(planned.id, []))


def _trace_id(record: record_pb2.OperationRecord) -> str:
    parent = record.trace_context.get("traceparent", "")
    return parent.split("-")[1] if parent.count("-") == 3 else ""
