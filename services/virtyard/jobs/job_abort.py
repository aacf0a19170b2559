"""The abort of one job of an operation whose others go on: what it reaches, and how the record shows it.

Pure: from the plan and the record. A job is aborted with all that is lost without it, as when it fails (CONTINUE).
Where nothing else would go on, and under every other policy, it is the abort of the whole operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from google.rpc import code_pb2, status_pb2

from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import on_failure, schedule, stamps
from virtyard.jobs.abort_request import AbortRequest, must_abort
from virtyard.jobs.control_events import event_of
from virtyard.jobs.early_release import kept_families
from virtyard.jobs.model import Operation, Shape, job_name
from virtyard.jobs.preemption import is_bound
from virtyard.kernel import event_types
from virtyard.kernel.dependence import Families
from virtyard.kernel.errors import WrongState
from virtyard.kernel.job_states import ENDED, JobState, StepState

__all__ = ["AbortAnswer", "Reach", "ending", "is_aborted", "note", "reach", "tell"]

Record = record_pb2.OperationRecord


class Reach(Enum):
    """How far an abort reaches."""

    WHOLE = "the operation"
    """All of the operation that is not kept for good."""
    JOBS = "the job with all that is lost without it"
    """The others go on."""
    NOTHING = "it is given up already"
    """Nothing is different by it."""
    TOO_LATE = "it is kept for good"
    """The job is through, or the point of no return is passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortAnswer:
    """What whoever asked for an abort is told."""

    in_time: bool
    """Whether it ends what it was asked for."""
    jobs: tuple[str, ...] = ()
    """The ids of the jobs that end by it, in the order of the plan."""


def reach(shape: Shape, record: Record, job: str) -> Reach:
    """Tell how far the abort of a job reaches now; that of the whole operation names no job.

    Raises:
        WrongState: nothing of the operation has begun, so its plan may still be made again, with other jobs.
    """
    if record.too_late or schedule.pivot_started(shape, record) or is_bound(record):
        return Reach.TOO_LATE
    if not job or not on_failure.goes_on(record):
        return Reach.WHOLE
    head = schedule.job_state(record, Families(shape.plan).head(job))
    goes_back = must_abort(record) or record.rolling_back
    if record.HasField("broken") or head in schedule.GIVEN_UP:
        return Reach.NOTHING
    if head == JobState.COMPLETED:
        return Reach.TOO_LATE
    if goes_back:
        return Reach.NOTHING
    lost = set(on_failure.lost_with(shape, job))
    states = {schedule.job_state(record, each.id) for each in shape.plan.jobs if each.id not in lost}
    if states <= {JobState.COMPLETED, *schedule.GIVEN_UP}:
        return Reach.WHOLE
    if all(state == StepState.PENDING for state in schedule.states(shape, record)):
        name = job_name(record.number, job)
        text = f"nothing of its operation has begun, so {name} may still be planned again; abort the whole operation"
        raise WrongState(text, resource=name)
    return Reach.JOBS


def ending(shape: Shape, record: Record, job: str) -> AbortAnswer:
    """Return what the abort of a job would come to now; that of the whole operation names no job.

    Raises:
        WrongState: see `reach`.
    """
    match reach(shape, record, job):
        case Reach.TOO_LATE:
            return AbortAnswer(in_time=False)
        case Reach.WHOLE:
            lost = set(shape.jobs)
        case _:
            lost = set(on_failure.lost_with(shape, job))
    ended = {job for job in lost if schedule.job_state(record, job) in ENDED - {JobState.COMPLETED}}
    left = lost - ended - kept_families(shape, record)
    return AbortAnswer(in_time=True, jobs=tuple(each.id for each in shape.plan.jobs if each.id in left))


def note(shape: Shape, record: Record, asked: AbortRequest) -> None:
    """Give up a job with all that is lost without it, and put into the record who asked for that."""
    before = {job for job in on_failure.lost_with(shape, asked.job) if not on_failure.is_given_up(record, job)}
    on_failure.give_up(shape, record, asked.job)
    for job in sorted(before):
        hop = record.jobs[job].abort_hop
        hop.source, hop.reason = asked.principal or asked.cause, asked.reason
        stamps.ask(hop.time)
    reason = f": {asked.reason}" if asked.reason else ""
    text = f"{job_name(record.number, asked.job)} was aborted on request{reason} ({asked.principal or asked.cause})"
    error = status_pb2.Status(code=code_pb2.CANCELLED, message=text)
    record.jobs[asked.job].error.CopyFrom(error)
    if not record.HasField("error"):
        record.error.CopyFrom(error)


def is_aborted(record: Record, job: str) -> bool:
    """Tell whether a job was aborted while others go on."""
    return record.jobs[job].HasField("abort_hop")


def tell(operation: Operation, asked: AbortRequest) -> control_service_pb2.RaiseEventsRequest:
    """Return the event that a person asked for the abort of a job, which the others outlast."""
    if not asked.principal:
        return control_service_pb2.RaiseEventsRequest()
    name, title = job_name(operation.number, asked.job), operation.shape.jobs[asked.job].title
    text = f"{asked.principal} asked to abort {name} ({title}); what does not need it goes on"
    return event_of(operation, event_types.ABORT_REQUESTED, text, asked.reason, job=asked.job)
