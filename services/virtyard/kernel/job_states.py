"""The states of a job and of a step: one table each, consulted by every write.

The diagrams in `docs/job-states.md` are what `render` and `render_steps` give; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum

from virtyard.api.jobs.v1 import job_pb2
from virtyard.kernel.invariants import Invariant, broken


class JobState(IntEnum):
    """The stored states of a job, with the numbers of the protos."""

    PENDING = job_pb2.JOB_STATE_PENDING
    WAITING_FOR_LOCKS = job_pb2.JOB_STATE_WAITING_FOR_LOCKS
    RUNNING = job_pb2.JOB_STATE_RUNNING
    ROLLING_BACK = job_pb2.JOB_STATE_ROLLING_BACK
    COMPLETED = job_pb2.JOB_STATE_COMPLETED
    FAILED = job_pb2.JOB_STATE_FAILED
    ABORTED = job_pb2.JOB_STATE_ABORTED
    ROLLBACK_FAILED = job_pb2.JOB_STATE_ROLLBACK_FAILED


class JobEvent(Enum):
    """What can happen to a job."""

    ASK_LOCKS = "its operation's locks are asked for"
    START = "the first step starts"
    COMPLETE = "the last step is done"
    REFUSE = "it is refused under the lock"
    ABORT = "it is stopped before it began"
    ROLL_BACK = "it failed, was aborted, or a later job did"
    UNDONE_AFTER_FAILURE = "everything is undone, and it was the one that failed"
    UNDONE_AFTER_ABORT = "everything is undone for another cause"
    UNDO_REFUSED = "an undo was definitely refused"
    RETRY_UNDO = "a person asks to undo again"
    ACCEPT_RESIDUE = "a person accepts what remains"


JOB_TABLE: Mapping[tuple[JobState, JobEvent], JobState] = {
    (JobState.PENDING, JobEvent.ASK_LOCKS): JobState.WAITING_FOR_LOCKS,
    (JobState.PENDING, JobEvent.START): JobState.RUNNING,
    (JobState.PENDING, JobEvent.ABORT): JobState.ABORTED,
    (JobState.WAITING_FOR_LOCKS, JobEvent.START): JobState.RUNNING,
    (JobState.WAITING_FOR_LOCKS, JobEvent.REFUSE): JobState.FAILED,
    (JobState.WAITING_FOR_LOCKS, JobEvent.ABORT): JobState.ABORTED,
    (JobState.RUNNING, JobEvent.COMPLETE): JobState.COMPLETED,
    (JobState.RUNNING, JobEvent.ROLL_BACK): JobState.ROLLING_BACK,
    (JobState.COMPLETED, JobEvent.ROLL_BACK): JobState.ROLLING_BACK,
    (JobState.ROLLING_BACK, JobEvent.UNDONE_AFTER_FAILURE): JobState.FAILED,
    (JobState.ROLLING_BACK, JobEvent.UNDONE_AFTER_ABORT): JobState.ABORTED,
    (JobState.ROLLING_BACK, JobEvent.UNDO_REFUSED): JobState.ROLLBACK_FAILED,
    (JobState.ROLLBACK_FAILED, JobEvent.RETRY_UNDO): JobState.ROLLING_BACK,
    (JobState.ROLLBACK_FAILED, JobEvent.ACCEPT_RESIDUE): JobState.FAILED,
}
"""Every change of a job's state that may be written."""

ENDED = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.ABORTED, JobState.ROLLBACK_FAILED})
"""States in which a job does nothing by itself any more."""


class StepState(IntEnum):
    """The states of a step, with the numbers of the protos."""

    PENDING = job_pb2.STEP_STATE_PENDING
    STARTED = job_pb2.STEP_STATE_STARTED
    DONE = job_pb2.STEP_STATE_DONE
    FAILED = job_pb2.STEP_STATE_FAILED
    UNDOING = job_pb2.STEP_STATE_UNDOING
    UNDONE = job_pb2.STEP_STATE_UNDONE
    UNDO_FAILED = job_pb2.STEP_STATE_UNDO_FAILED
    SKIPPED = job_pb2.STEP_STATE_SKIPPED


STEP_TABLE: Mapping[StepState, frozenset[StepState]] = {
    StepState.PENDING: frozenset({StepState.STARTED, StepState.SKIPPED}),
    StepState.STARTED: frozenset({StepState.DONE, StepState.FAILED, StepState.STARTED, StepState.SKIPPED}),
    StepState.DONE: frozenset({StepState.UNDOING}),
    StepState.FAILED: frozenset({StepState.UNDOING, StepState.STARTED}),
    StepState.UNDOING: frozenset({StepState.UNDONE, StepState.UNDO_FAILED, StepState.UNDOING}),
    StepState.UNDO_FAILED: frozenset({StepState.UNDOING}),
    StepState.UNDONE: frozenset(),
    StepState.SKIPPED: frozenset(),
}
"""Every change of a step's state that may be written; a state to itself is a new attempt."""


def next_job_state(state: int, event: JobEvent) -> JobState:
    """Return the state that follows.

    Raises:
        InternalError: the table has no such change.
    """
    try:
        return JOB_TABLE[JobState(state), event]
    except KeyError:
        message = f"a job that is {JobState(state).name} cannot take {event.name}"
        raise broken(Invariant.STATE_TABLE, message) from None


def check_step_change(before: int, after: int) -> None:
    """Refuse a change of a step's state that the table does not have.

    Raises:
        InternalError: the table has no such change.
    """
    if StepState(after) not in STEP_TABLE[StepState(before)]:
        message = f"a step that is {StepState(before).name} cannot become {StepState(after).name}"
        raise broken(Invariant.STATE_TABLE, message)


def display_state(state: int, children: list[int]) -> job_pb2.DisplayState.ValueType:
    """Return which of the six states people see, from the job's state and those of its unfinished children."""
    if state == JobState.COMPLETED:
        return job_pb2.DISPLAY_STATE_COMPLETED
    if state == JobState.ABORTED:
        return job_pb2.DISPLAY_STATE_ABORTED
    if state in (JobState.FAILED, JobState.ROLLBACK_FAILED):
        return job_pb2.DISPLAY_STATE_FAILED
    if state == JobState.RUNNING and any(child in (JobState.RUNNING, JobState.ROLLING_BACK) for child in children):
        return job_pb2.DISPLAY_STATE_CHILD_RUNNING
    if state == JobState.RUNNING and any(child not in ENDED for child in children):
        return job_pb2.DISPLAY_STATE_CHILD_QUEUED
    return job_pb2.DISPLAY_STATE_IN_PROGRESS


def render() -> str:
    """Return the job table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING", "    [*] --> WAITING_FOR_LOCKS"]
    lines += [f"    {before.name} --> {after.name}: {event.value}" for (before, event), after in JOB_TABLE.items()]
    lines += [f"    {state.name} --> [*]" for state in JobState if state in ENDED]
    return "\n".join(lines)


def render_steps() -> str:
    """Return the step table as a Mermaid state diagram; a new attempt is left out."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING"]
    for before, following in STEP_TABLE.items():
        lines += [f"    {before.name} --> {after.name}" for after in sorted(following) if after is not before]
    lines += [f"    {state.name} --> [*]" for state in (StepState.DONE, StepState.UNDONE, StepState.SKIPPED)]
    return "\n".join(lines)
