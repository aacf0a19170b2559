"""How operations and jobs look from outside: messages made from plan, record and live progress."""

from __future__ import annotations

import hashlib

from google.longrunning import operations_pb2

from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import acceptance, hold_flag
from virtyard.jobs.model import Operation, Shape, job_name, operation_name
from virtyard.jobs.on_failure import missing_of
from virtyard.jobs.outcome import residue_of
from virtyard.jobs.reason_trail import causes_of
from virtyard.kernel.job_states import ENDED, JobState, StepState, display_state

_SHARE = {int(StepState.DONE): 100.0, int(StepState.UNDOING): 100.0, int(StepState.UNDO_FAILED): 100.0}
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
        abort_requested=record.abort_requested,
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
            step.participant in operation.contact_lost and _is_open(record, f"{planned.id}/{step.id}")
            for step in planned.steps
        ),
    )
    if own.deferred:
        job.deferred, job.outcome = True, job_pb2.OUTCOME_PARTIAL if job.done else job_pb2.OUTCOME_UNSPECIFIED
    hold_flag.show(record, job)
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
    job.progress.CopyFrom(_job_progress(operation, planned))
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
        progress=operation_progress(operation),
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
        if ref.step.participant in operation.contact_lost and _is_open(operation.record, reference)
    }
    if not silent:
        return operation.waiting_for
    verb = "does" if len(silent) == 1 else "do"
    return f"{', '.join(sorted(silent))}, which {verb} not answer"


def _stopping(operation: Operation) -> str:
    """Return which steps of an operation that is aborted are told to stop, and have not; empty if there is none."""
    record = operation.record
    if not record.abort_requested or record.too_late:
        return ""
    found = {
        f"{ref.step.participant}, which is told to stop: {ref.step.title}"
        for reference, ref in operation.shape.steps.items()
        if reference in record.steps and int(record.steps[reference].state) == StepState.STARTED
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


def operation_progress(operation: Operation) -> participant.Progress:
    """Return how far the operation is, by the weight of its steps."""
    total = done = 0.0
    stage = ""
    for reference, ref in operation.shape.steps.items():
        weight = ref.step.weight or 1.0
        total += weight
        done += weight * _percent(operation, reference) / 100
        if _is_open(operation.record, reference):
            stage = ref.step.title
    progress = participant.Progress(percent=round(100 * done / total, 1) if total else 100.0, stage=stage)
    progress.abortable = not operation.record.too_late
    if operation.record.rolling_back:
        progress.stage = "rolling back"
    return progress


def _render_step(operation: Operation, planned: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep) -> job_pb2.Step:
    reference = f"{planned.id}/{step.id}"
    rendered = job_pb2.Step(id=step.id, title=step.title, participant=step.participant, weight=step.weight)
    rendered.state = job_pb2.STEP_STATE_PENDING
    if reference in operation.record.steps:
        own = operation.record.steps[reference]
        rendered.state = own.state
        rendered.attempt = own.attempt
        if own.HasField("error"):
            rendered.error.CopyFrom(own.error)
    live = operation.progress.get(reference)
    if live is not None:
        rendered.progress.CopyFrom(live)
    rendered.progress.percent = _percent(operation, reference)
    return rendered


def _percent(operation: Operation, reference: str) -> float:
    record = operation.record
    if reference not in record.steps:
        return 0.0
    state = int(record.steps[reference].state)
    if state == StepState.STARTED:
        live = operation.progress.get(reference)
        return live.percent if live is not None else 0.0
    job = operation.shape.steps[reference].job
    if state == StepState.SKIPPED and job.deferrable and not record.rolling_back:
        return 100.0  # done instead of it was what the job chose to do
    if state in (StepState.SKIPPED, StepState.FAILED) and int(record.jobs[job.id].state) == JobState.COMPLETED:
        return 100.0  # it was given up, and nothing of the job is left to do
    return _SHARE.get(state, 0.0)


def _is_open(record: record_pb2.OperationRecord, reference: str) -> bool:
    return reference in record.steps and int(record.steps[reference].state) in (StepState.STARTED, StepState.UNDOING)


def _job_progress(operation: Operation, planned: plan_pb2.PlannedJob) -> participant.Progress:
    """Return how far a job is: its own steps by weight as one part, each child as another."""
    parts: list[float] = []
    progress = participant.Progress()
    if planned.steps:
        weights = [step.weight or 1.0 for step in planned.steps]
        shares = [_percent(operation, f"{planned.id}/{step.id}") for step in planned.steps]
        parts.append(sum(weight * share for weight, share in zip(weights, shares, strict=True)) / sum(weights))
    for step in planned.steps:
        reference = f"{planned.id}/{step.id}"
        if _is_open(operation.record, reference):
            progress.stage = step.title
            live = operation.progress.get(reference)
            if live is not None:
                progress.CopyFrom(live)
                progress.stage = live.stage or step.title
    parts += [_job_progress(operation, child).percent for child in operation.shape.children.get(planned.id, [])]
    progress.percent = round(sum(parts) / len(parts), 1) if parts else 100.0
    if int(operation.record.jobs[planned.id].state) == JobState.ROLLING_BACK:
        progress.stage = "rolling back"
    return progress


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
