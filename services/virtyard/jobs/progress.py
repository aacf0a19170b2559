"""How far an operation is: a tree of steps by weight and children by count, in per cent, with stage and units.

Pure, and the only place where a per cent is made: services, command line and console show what it gives. It never
falls, except on the way back, whose stage says so.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation
from virtyard.kernel.job_states import JobState, StepState

__all__ = [
    "NONE",
    "is_open",
    "job_percent",
    "job_progress",
    "operation_percent",
    "operation_progress",
    "step_percent",
]

NONE: AbstractSet[str] = frozenset()
_SHARE = {int(StepState.DONE): 100.0, int(StepState.UNDOING): 100.0, int(StepState.UNDO_FAILED): 100.0}
_BACK = "rolling back"
_GOING_BACK = frozenset({JobState.ROLLING_BACK, JobState.ROLLBACK_FAILED})


def is_open(record: record_pb2.OperationRecord, reference: str) -> bool:
    """Tell whether a step is being done or undone."""
    return reference in record.steps and int(record.steps[reference].state) in (StepState.STARTED, StepState.UNDOING)


def step_percent(operation: Operation, reference: str, as_done: AbstractSet[str] = NONE) -> float:
    """Return how far a step is, from 0 to 100; those of `as_done` count as done, whatever they are."""
    record = operation.record
    if reference in as_done:
        return 100.0
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


def job_percent(operation: Operation, planned: plan_pb2.PlannedJob, as_done: AbstractSet[str] = NONE) -> float:
    """Return how far a job is, from 0 to 100: its own steps by weight as one part, each child as another."""
    parts: list[float] = []
    if planned.steps:
        weights = [step.weight or 1.0 for step in planned.steps]
        shares = [step_percent(operation, f"{planned.id}/{step.id}", as_done) for step in planned.steps]
        parts.append(sum(weight * share for weight, share in zip(weights, shares, strict=True)) / sum(weights))
    parts += [job_percent(operation, child, as_done) for child in operation.shape.children.get(planned.id, [])]
    return round(sum(parts) / len(parts), 1) if parts else 100.0


def operation_percent(operation: Operation, as_done: AbstractSet[str] = NONE) -> float:
    """Return how far an operation is, from 0 to 100, by the weight of its steps."""
    total = done = 0.0
    for reference, ref in operation.shape.steps.items():
        weight = ref.step.weight or 1.0
        total += weight
        done += weight * step_percent(operation, reference, as_done) / 100
    return round(100 * done / total, 1) if total else 100.0


def job_progress(operation: Operation, planned: plan_pb2.PlannedJob) -> participant.Progress:
    """Return how far a job is, with the stage, the units and the rate of its step that is under way."""
    progress = participant.Progress()
    for step in planned.steps:
        reference = f"{planned.id}/{step.id}"
        if is_open(operation.record, reference):
            progress.stage = step.title
            live = operation.progress.get(reference)
            if live is not None:
                progress.CopyFrom(live)
                progress.stage = live.stage or step.title
    progress.percent = job_percent(operation, planned)
    if int(operation.record.jobs[planned.id].state) == JobState.ROLLING_BACK:
        progress.stage = _BACK
    return progress


def operation_progress(operation: Operation) -> participant.Progress:
    """Return how far an operation is, with the step that is under way as its stage."""
    record = operation.record
    progress = participant.Progress(percent=operation_percent(operation), abortable=not record.too_late)
    if record.rolling_back:
        going = any(int(own.state) in _GOING_BACK for own in record.jobs.values())
        progress.stage = _BACK if going else ""
        return progress
    under_way = {reference for reference in record.steps if is_open(record, reference)}
    for reference, ref in operation.shape.steps.items() if under_way else ():
        if reference in under_way:
            progress.stage = ref.step.title
    return progress
