"""Acceptance past the pivot, as the record shows it: what is refused there, and what follows from leaving it.

Pure: from the plan and the record of an operation. A step past the pivot is tried for ever; a person may have it left
as it is (P6). What comes after it goes on, with two exceptions: what is made from its result, and what a job would
record of a host on which its step was not done. A machine that could not be ended is never recorded as stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import annotations_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule
from virtyard.jobs.model import Operation, Shape, StepRef, job_name
from virtyard.kernel.any import unpack
from virtyard.kernel.errors import WrongState
from virtyard.kernel.job_states import JobState, StepState
from virtyard.kernel.options import action_hint, descriptor_of

__all__ = ["accept", "accepted_steps", "check_refused", "leave", "left_of", "refusals", "refused_steps"]

Record = record_pb2.OperationRecord


def refused_steps(shape: Shape, record: Record, job: str) -> list[str]:
    """Return the steps of a job past the pivot that are still tried though a try failed, or that get no further."""
    if record.rolling_back:
        return []
    return [reference for reference in shape.own[job] if _is_refused(record, shape.steps[reference])]


def refusals(operation: Operation, planned: plan_pb2.PlannedJob) -> list[str]:
    """Return what is refused past the pivot in a job, a sentence for each step that nobody has accepted yet."""
    shape, record = operation.shape, operation.record
    found = []
    for reference in refused_steps(shape, record, planned.id):
        own = record.steps[reference]
        if not own.accepted:
            why = own.error.message or "it makes no progress"
            found.append(f"{shape.steps[reference].step.title}: {why}")
    return found


def check_refused(shape: Shape, record: Record, job: str) -> None:
    """Refuse a decision about a job of which nothing is refused past the pivot.

    Raises:
        WrongState: that is so.
    """
    if refused_steps(shape, record, job):
        return
    name, state = job_name(record.number, job), JobState(schedule.job_state(record, job)).name
    allowed = "ROLLBACK_FAILED, or whose step past the point of no return was refused or makes no progress"
    raise WrongState(f"{name} is {state}; only a job that is {allowed}, can be decided about", resource=name)


def accept(shape: Shape, record: Record, job: str) -> None:
    """Note that the refused steps of a job are not to be tried any more; they may still be under way.

    Raises:
        WrongState: none of them is refused, or another job is made from what it should give.
    """
    check_refused(shape, record, job)
    for reference in refused_steps(shape, record, job):
        for other in _in_vain(shape, record, shape.steps[reference]):
            if other.job.id != job:
                name = job_name(record.number, job)
                text = f"{other.job.title} is made from what {name} gives, so it cannot be left; remove the cause"
                raise WrongState(text, resource=name)
        record.steps[reference].accepted = True


def accepted_steps(shape: Shape, record: Record) -> list[StepRef]:
    """Return the steps that are not to be tried any more, and are not settled yet."""
    return [ref for ref in schedule.in_flight(shape, record) if record.steps[ref.reference].accepted]


def leave(shape: Shape, record: Record, reference: str, result: participant.EffectRecord) -> None:
    """Leave a step that is settled and was not done, and skip what would be false or impossible without it."""
    own = schedule.change_step(record, reference, StepState.FAILED)
    own.left_residue = result.state == participant.EFFECT_STATE_RESIDUE
    if result.HasField("error") and (own.left_residue or not own.HasField("error")):
        own.error.CopyFrom(result.error)  # else why it was refused says more than that it was stopped
    ref = shape.steps[reference]
    residue = record.jobs[ref.job.id].residue
    residue.append(f"{ref.step.title}: {own.error.message or 'it was stopped'}")
    for skipped in _in_vain(shape, record, ref):
        schedule.change_step(record, skipped.reference, StepState.SKIPPED)
        text = f"{skipped.step.title}: not done, as {ref.step.title!r} was given up"
        record.jobs[skipped.job.id].residue.append(text)


def left_of(operation: Operation) -> list[str]:
    """Return what is left after an operation that went forward past what a person accepted, a sentence for each."""
    record = operation.record
    if record.rolling_back:
        return []
    return [
        f"{job.object}: left over: {text}" for job in operation.shape.plan.jobs for text in record.jobs[job.id].residue
    ]


def _is_refused(record: Record, ref: StepRef) -> bool:
    if ref.step.kind == plan_pb2.STEP_KIND_UNDOABLE or ref.reference not in record.steps:
        return False
    own = record.steps[ref.reference]
    return int(own.state) == StepState.STARTED and (own.stalled or own.HasField("error"))


def _in_vain(shape: Shape, record: Record, left: StepRef) -> Iterator[StepRef]:
    """Yield the steps not begun that must not follow: of the same job behind a host's, and what is bound to any."""
    missing = {left.reference}
    on_host = action_hint(descriptor_of(unpack(left.step.do))).domain == annotations_pb2.EFFECT_DOMAIN_HOST
    behind = _after(shape.own[left.job.id], left.reference) if on_host else set[str]()
    for reference, ref in shape.steps.items():
        needs = {binding.step for binding in ref.step.bindings}
        if schedule.step_state(record, reference) == StepState.PENDING and (reference in behind or needs & missing):
            missing.add(reference)
            yield ref


def _after(references: Iterable[str], reference: str) -> set[str]:
    """Return those of the references that come after one of them."""
    found = list(references)
    return set(found[found.index(reference) + 1 :])
