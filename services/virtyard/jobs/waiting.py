"""Why a job does not go on, as far as its own operation shows it: pure, from plan, record and silent hosts.

Who is in the way of its locks only the lock service knows; `explaining` joins the two (P35).
"""

from __future__ import annotations

from collections.abc import Iterator

from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.jobs import schedule
from virtyard.jobs.model import Operation
from virtyard.kernel.job_states import JobState, StepState

_OPEN = frozenset({int(StepState.STARTED), int(StepState.UNDOING)})
_OVER = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.ABORTED})
_CAUSES = {
    JobState.ROLLBACK_FAILED: pb.WAIT_CAUSE_STUCK_UNDO,
    JobState.ROLLING_BACK: pb.WAIT_CAUSE_ROLLING_BACK,
}


def cause_of(operation: Operation, planned: plan_pb2.PlannedJob) -> pb.WaitCause.ValueType:
    """Return what a job waits for in the first place."""
    record = operation.record
    own = record.jobs[planned.id]
    active = record.state == operation_pb2.OPERATION_STATE_ACTIVE
    if own.deferred:
        return pb.WAIT_CAUSE_DEFERRED
    if not active or (int(own.state) in _OVER and not list(_open_steps(operation, planned))):
        return pb.WAIT_CAUSE_NONE
    if record.held:
        filtered = record.held == job_pb2.HELD_REASON_FILTER
        return pb.WAIT_CAUSE_FILTER if filtered else pb.WAIT_CAUSE_HELD
    if schedule.stuck_jobs(operation.shape, record):
        return pb.WAIT_CAUSE_STUCK_UNDO
    if silent_servers(operation):
        return pb.WAIT_CAUSE_CONTACT_LOST
    if is_before_locks(operation) or is_before_undos(operation):
        return pb.WAIT_CAUSE_LOCKS
    if record.rolling_back or int(own.state) in _CAUSES:
        return _CAUSES.get(JobState(own.state), pb.WAIT_CAUSE_ROLLING_BACK)
    return _cause_at_work(operation, planned)


def _cause_at_work(operation: Operation, planned: plan_pb2.PlannedJob) -> pb.WaitCause.ValueType:
    record = operation.record
    if operation.counted_waits.keys() & set(operation.shape.own[planned.id]):
        return pb.WAIT_CAUSE_CAPACITY
    open_steps = list(_open_steps(operation, planned))
    if open_steps:
        again = any(record.steps[each].HasField("error") for each in open_steps)
        return pb.WAIT_CAUSE_RETRY if again else pb.WAIT_CAUSE_RUNNING
    return pb.WAIT_CAUSE_PREDECESSOR if list(predecessors(operation, planned)) else pb.WAIT_CAUSE_RUNNING


def is_before_locks(operation: Operation) -> bool:
    """Tell whether an operation has not begun, so that it may be waiting for its locks."""
    record = operation.record
    return not record.tokens and not record.rolling_back and record.done_count == 0


def is_before_undos(operation: Operation) -> bool:
    """Tell whether an operation whose locks were broken has none to undo under, so that it may be waiting for them."""
    return operation.record.broken.freed and not operation.record.tokens


def silent_servers(operation: Operation) -> list[str]:
    """Return the participants of open steps that do not answer."""
    found = {
        ref.step.participant
        for reference, ref in operation.shape.steps.items()
        if ref.step.participant in operation.contact_lost and schedule.step_state(operation.record, reference) in _OPEN
    }
    return sorted(found)


def open_participants(operation: Operation, planned: plan_pb2.PlannedJob) -> list[str]:
    """Return who is at work on a job's steps, or has been asked for that."""
    return sorted({operation.shape.steps[each].step.participant for each in _open_steps(operation, planned)})


def _open_steps(operation: Operation, planned: plan_pb2.PlannedJob) -> Iterator[str]:
    """Yield the references of a job's steps that are under way."""
    own = operation.shape.own[planned.id]
    return (each for each in own if schedule.step_state(operation.record, each) in _OPEN)


def predecessors(operation: Operation, planned: plan_pb2.PlannedJob) -> Iterator[plan_pb2.PlannedJob]:
    """Yield the jobs of the same operation that a job waits for now: those before it, its parent, its children."""
    shape, record = operation.shape, operation.record
    wanted = [shape.jobs[before] for before in planned.after]
    if planned.parent:
        parent = shape.jobs[planned.parent]
        first = shape.own_first[parent.id]
        if any(schedule.step_state(record, each) not in (StepState.DONE, StepState.SKIPPED) for each in first):
            wanted.append(parent)
        wanted += [shape.jobs[before] for before in parent.after]
    if schedule.job_state(record, planned.id) == JobState.RUNNING:
        wanted += shape.children.get(planned.id, [])
    for job in wanted:
        if schedule.job_state(record, job.id) not in _OVER:
            yield job


def leading_job(operation: Operation) -> plan_pb2.PlannedJob:
    """Return the job that tells best what an operation does now: one that is stuck, at work, or next in its turn."""
    shape, record = operation.shape, operation.record
    stuck = schedule.stuck_jobs(shape, record)
    if stuck:
        return shape.jobs[stuck[0]]
    for reference, ref in shape.steps.items():
        if schedule.step_state(record, reference) in _OPEN:
            return ref.job
    unfinished = [job for job in shape.plan.jobs if schedule.job_state(record, job.id) not in _OVER]
    return unfinished[0] if unfinished else shape.plan.jobs[-1]


def passed_pivot(operation: Operation) -> bool:
    """Tell whether an abort would be too late."""
    return schedule.pivot_started(operation.shape, operation.record)
