"""What becomes of an operation's other jobs when one fails: the policies ROLL_BACK, STOP and CONTINUE.

A job with its children is one family, which is kept or undone as a whole: children are what their parent needs. Under
STOP and CONTINUE a family that is through is kept for good. Under CONTINUE the family of a failed job, and those that
need it, are given up; the others go on, and what was given up is undone when they are through (P10). So it is with a
job that a person aborts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from google.rpc import code_pb2, status_pb2

from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import submission_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import outcome, schedule
from virtyard.jobs.abort_request import must_abort
from virtyard.jobs.early_release import KEEPING, kept_families, shrink
from virtyard.jobs.model import Operation, Shape, StepRef, job_name
from virtyard.kernel.dependence import Families
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.job_states import JobState, StepState

__all__ = [
    "abandon",
    "advance",
    "check_policy",
    "first_failure",
    "give_up",
    "goes_on",
    "is_given_up",
    "lost_with",
    "mark_kept",
    "missing_of",
    "note_failed",
    "settle_beside",
    "turn_round",
]

Record = record_pb2.OperationRecord
_NO_FAILURE = frozenset({participant.EFFECT_STATE_DONE, participant.EFFECT_STATE_NOT_BEGUN})


def check_policy(options: submission_pb2.SubmissionOptions, plan: plan_pb2.Plan) -> None:
    """Refuse a policy that makes no sense for a plan.

    Raises:
        InvalidRequest: finished jobs are to be kept, and the plan has a point of no return: what comes before it is
            undone as a whole or followed by all the rest, so there is nothing to keep.
    """
    if options.on_failure not in KEEPING:
        return
    pivots = [step for job in plan.jobs for step in job.steps if step.kind == plan_pb2.STEP_KIND_PIVOT]
    if pivots:
        policy = submission_pb2.OnFailure.Name(options.on_failure).removeprefix("ON_FAILURE_").lower()
        text = f"{policy} is not allowed, as {pivots[0].title!r} cannot be undone; allowed is roll_back"
        raise InvalidRequest.of("options.on_failure", text)


def goes_on(record: Record) -> bool:
    """Tell whether jobs that do not need a failed one go on."""
    return record.options.on_failure == submission_pb2.ON_FAILURE_CONTINUE


def is_given_up(record: Record, reference: str) -> bool:
    """Tell whether the job of a step is undone, or will be."""
    return schedule.job_state(record, reference.partition("/")[0]) in schedule.GIVEN_UP


def abandon(shape: Shape, record: Record, job: str, error: status_pb2.Status) -> None:
    """Give up the family of a job that failed, and those that need it; what they did is undone later (CONTINUE)."""
    note_failed(record, job, error)
    give_up(shape, record, job)


def lost_with(shape: Shape, job: str) -> list[str]:
    """Return the ids of the jobs that are lost with a job: its family, and those that need it."""
    families = Families(shape.plan)
    heads = (families.head(job), *families.needing(families.head(job)))
    return [member.id for head in heads for member in families.members(head)]


def give_up(shape: Shape, record: Record, job: str) -> None:
    """Turn round all that is lost with a job, and begin no more of it; its steps may still be under way."""
    for member in lost_with(shape, job):
        schedule.turn_job(record, member, cause=job_name(record.number, job) if member != job else "")
        for reference in shape.own[member]:
            if schedule.step_state(record, reference) == StepState.PENDING:
                schedule.change_step(record, reference, StepState.SKIPPED)


def note_failed(record: Record, job: str, error: status_pb2.Status) -> None:
    """Note that a job failed by itself; the first one is why its operation did not come out well."""
    record.jobs[job].failed = True
    record.jobs[job].error.CopyFrom(error)
    if not record.failed_job:
        record.failed_job = job
        record.error.CopyFrom(error)


def first_failure(record: Record, results: Mapping[str, participant.EffectRecord]) -> str | None:
    """Return the first step that failed by itself, in a job that is not given up.

    Where a step of an aborted job ended a round there is none: what failed behind it did so for its sake.
    """
    wrong = [reference for reference, result in results.items() if result.state not in _NO_FAILURE]
    stopped = [reference for reference, result in results.items() if result.state != participant.EFFECT_STATE_DONE]
    if any(record.jobs[reference.partition("/")[0]].HasField("abort_hop") for reference in stopped):
        return None
    return next((reference for reference in wrong if not is_given_up(record, reference)), None)


def settle_beside(shape: Shape, record: Record, results: Mapping[str, participant.EffectRecord]) -> list[StepRef]:
    """Take over what came with a failure, and return the steps that are to be sent once more.

    A round ends at its first failure, so steps of other jobs behind it were refused without a fault of their own.
    """
    again = []
    for reference, result in results.items():
        clean = result.state in (participant.EFFECT_STATE_FAILED, participant.EFFECT_STATE_NOT_BEGUN)
        if clean and not is_given_up(record, reference):
            schedule.change_step(record, reference, StepState.STARTED).attempt += 1
            again.append(shape.steps[reference])
            continue
        outcome.record_settled(record, reference, result)
        if result.state == participant.EFFECT_STATE_RESIDUE and not is_given_up(record, reference):
            abandon(shape, record, shape.steps[reference].job.id, result.error)
    return again


def turn_round(shape: Shape, record: Record) -> None:
    """Turn the operation round: nothing else begins, and what is not kept is undone."""
    if record.options.on_failure in KEEPING:
        # A step that was done beside the one that failed may have been the last of its job.
        schedule.complete_jobs(shape, record)
    schedule.begin_rollback(shape, record, record.number, kept=kept_families(shape, record))


def advance(shape: Shape, record: Record) -> None:
    """See to what follows from new intents: locks that nothing needs go; what was given up is undone at the end."""
    if record.options.on_failure not in KEEPING:
        return
    states = {int(own.state) for own in record.jobs.values()}
    if states & schedule.GIVEN_UP and states <= {*schedule.GIVEN_UP, JobState.COMPLETED}:
        turn_round(shape, record)
    shrink(shape, record)


def mark_kept(operation: Operation, record: Record) -> None:
    """Put into a record that has just ended, and in which something was kept, that it is not as if it never ran."""
    if not kept_families(operation.shape, record):
        return
    record.outcome = job_pb2.OUTCOME_PARTIAL
    if record.error.code == code_pb2.CANCELLED and (must_abort(record) or record.HasField("broken")):
        record.state = operation_pb2.OPERATION_STATE_CANCELLED
        return
    record.state = operation_pb2.OPERATION_STATE_PARTIAL
    record.response.CopyFrom(outcome.response_of(replace(operation, record=record)))


def missing_of(operation: Operation) -> list[str]:
    """Return what is missing after an operation of which finished jobs were kept, a sentence for each job."""
    shape, record = operation.shape, operation.record
    if record.state == operation_pb2.OPERATION_STATE_ACTIVE or not record.rolling_back:
        return []
    if not kept_families(shape, record):
        return []
    found = []
    for job in shape.plan.jobs:
        own = record.jobs[job.id]
        if own.failed:
            found.append(f"{job.object}: {job.title} failed: {own.error.message}")
        elif int(own.state) != JobState.COMPLETED:
            found.append(f"{job.object}: {job.title} was not done, as {_why_not_done(own)}")
        found += [f"{job.object}: left over: {text}" for text in own.residue]
    return found


def _why_not_done(own: record_pb2.JobRecord) -> str:
    """Return why a job was given up that did not fail by itself."""
    if not own.cause.startswith("jobs/"):
        return own.error.message if own.HasField("abort_hop") else "the operation was aborted"
    return f"{own.cause} was aborted" if own.HasField("abort_hop") else f"{own.cause} failed"
