"""What an operation does next: a pure function of its plan and its record.

`advance` starts and completes jobs and finds the rounds whose intents may be written now; `next_undos` does the same
backwards. A round is consecutive steps for one participant with no result of one in another (protocol, section D).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Shape, StepRef, job_name
from virtyard.kernel.job_states import ENDED, JobEvent, JobState, StepState, check_step_change, next_job_state

Record = record_pb2.OperationRecord
Round = list[StepRef]
_BEGUN = frozenset({StepState.STARTED, StepState.DONE})


def step_state(record: Record, reference: str) -> int:
    """Return the state of a step; one that the record does not have is pending."""
    return record.steps[reference].state if reference in record.steps else int(StepState.PENDING)


def job_state(record: Record, job: str) -> int:
    """Return the state of a job."""
    return int(record.jobs[job].state)


def states(shape: Shape, record: Record) -> Iterator[int]:
    """Yield the state of every step."""
    return (step_state(record, reference) for reference in shape.steps)


def change_step(record: Record, reference: str, state: StepState) -> record_pb2.StepRecord:
    """Change a step's state by the table and return its record."""
    before = step_state(record, reference)
    check_step_change(before, state)
    step = record.steps[reference]
    step.state = int(state)  # type: ignore[assignment]  # the enums share their numbers
    return step


def change_job(record: Record, job: str, event: JobEvent) -> None:
    """Change a job's state by the table, with its times."""
    changed = record.jobs[job]
    after = next_job_state(changed.state, event)
    changed.state = int(after)  # type: ignore[assignment]  # the enums share their numbers
    if event is JobEvent.START:
        changed.start_time.GetCurrentTime()
    if after in ENDED:
        changed.end_time.GetCurrentTime()
    elif event is JobEvent.ROLL_BACK:
        changed.ClearField("end_time")


def pivot_started(shape: Shape, record: Record) -> bool:
    """Tell whether the point of no return has been passed."""
    return any(
        ref.step.kind == plan_pb2.STEP_KIND_PIVOT and step_state(record, reference) != StepState.PENDING
        for reference, ref in shape.steps.items()
    )


def in_flight(shape: Shape, record: Record) -> list[StepRef]:
    """Return the steps whose effect is or may be under way."""
    return [ref for reference, ref in shape.steps.items() if step_state(record, reference) == StepState.STARTED]


def advance(shape: Shape, record: Record) -> list[Round]:
    """Start and complete jobs as far as the record allows, write the intents of ready rounds, and return those."""
    rounds: list[Round] = []
    intended: set[str] = set()
    while _advance_jobs(shape, record):
        pass
    while (ref := _ready_step(shape, record, intended)) is not None:
        rounds.append(_collect_round(shape, record, ref, intended))
        while _advance_jobs(shape, record):
            pass
    for collected in rounds:
        for ref in collected:
            step = change_step(record, ref.reference, StepState.STARTED)
            step.attempt = max(step.attempt + 1, record.first_attempt, 1)
            if job_state(record, ref.job.id) != JobState.RUNNING:
                change_job(record, ref.job.id, JobEvent.START)
    return rounds


def _advance_jobs(shape: Shape, record: Record) -> bool:
    """Start jobs whose children come first, complete jobs that are through; tell if any changed."""
    changed = False
    for job in shape.plan.jobs:
        state = job_state(record, job.id)
        children = shape.children.get(job.id, [])
        if (
            state in (JobState.PENDING, JobState.WAITING_FOR_LOCKS)
            and children
            and _may_start(shape, record, job, set())
        ):
            if all(step.after_children for step in job.steps):
                change_job(record, job.id, JobEvent.START)
                changed = True
        elif (
            state == JobState.RUNNING
            and all(step_state(record, f"{job.id}/{step.id}") == StepState.DONE for step in job.steps)
            and all(job_state(record, child.id) == JobState.COMPLETED for child in children)
        ):
            change_job(record, job.id, JobEvent.COMPLETE)
            changed = True
    return changed


def _through(shape: Shape, record: Record, job: plan_pb2.PlannedJob, virtual: set[str]) -> bool:
    """Tell whether a job's steps and children are all done, or will be once the steps in `virtual` are."""
    done = all(_done(record, f"{job.id}/{step.id}", virtual) for step in job.steps)
    return done and all(_through(shape, record, child, virtual) for child in shape.children.get(job.id, []))


def _done(record: Record, reference: str, virtual: set[str]) -> bool:
    return reference in virtual or step_state(record, reference) == StepState.DONE


def _may_start(shape: Shape, record: Record, job: plan_pb2.PlannedJob, virtual: set[str]) -> bool:
    """Tell whether the jobs before this one are through, and its parent has come to its children."""
    if not all(_through(shape, record, shape.jobs[before], virtual) for before in job.after):
        return False
    if not job.parent:
        return True
    parent = shape.jobs[job.parent]
    own = (f"{parent.id}/{step.id}" for step in parent.steps if not step.after_children)
    return _may_start(shape, record, parent, virtual) and all(_done(record, reference, virtual) for reference in own)


def _is_ready(shape: Shape, record: Record, ref: StepRef, virtual: set[str]) -> bool:
    """Tell whether everything before a step is done, or will be once the steps in `virtual` are."""
    job = ref.job
    for step in job.steps:
        if step.id == ref.step.id:
            break
        if not _done(record, f"{job.id}/{step.id}", virtual):
            return False
    if ref.step.after_children and not all(
        _through(shape, record, child, virtual) for child in shape.children.get(job.id, [])
    ):
        return False
    return _may_start(shape, record, job, virtual)


def _ready_step(shape: Shape, record: Record, intended: set[str]) -> StepRef | None:
    for reference, ref in shape.steps.items():
        pending = reference not in intended and step_state(record, reference) == StepState.PENDING
        if pending and _is_ready(shape, record, ref, set()):
            return ref
    return None


def _collect_round(shape: Shape, record: Record, first: StepRef, intended: set[str]) -> Round:
    """Return the step with those after it that the same participant can do in one message."""
    collected = [first]
    virtual = {first.reference}
    intended.add(first.reference)
    if first.step.kind == plan_pb2.STEP_KIND_UNDOABLE:
        for reference, ref in shape.steps.items():
            if reference in intended or step_state(record, reference) != StepState.PENDING:
                continue
            if ref.step.participant != first.step.participant or ref.step.kind != plan_pb2.STEP_KIND_UNDOABLE:
                continue
            bound = {binding.step for binding in ref.step.bindings}
            if bound & virtual or _is_ready(shape, record, ref, set()) or not _is_ready(shape, record, ref, virtual):
                continue
            collected.append(ref)
            virtual.add(reference)
            intended.add(reference)
    return collected


def begin_rollback(shape: Shape, record: Record, number: int) -> None:
    """Turn the operation round: jobs that did something go to ROLLING_BACK, jobs that did not are aborted (P10)."""
    record.rolling_back = True
    cause = job_name(number, record.failed_job) if record.failed_job else ""
    for job in shape.plan.jobs:
        state = job_state(record, job.id)
        if state in (JobState.RUNNING, JobState.COMPLETED):
            change_job(record, job.id, JobEvent.ROLL_BACK)
        elif state in (JobState.PENDING, JobState.WAITING_FOR_LOCKS):
            change_job(record, job.id, JobEvent.ABORT)
        if job.id != record.failed_job:
            record.jobs[job.id].cause = cause
    for reference in shape.steps:
        if step_state(record, reference) == StepState.PENDING:
            change_step(record, reference, StepState.SKIPPED)


def next_undos(shape: Shape, record: Record) -> list[Round]:
    """Write the intents of the undo rounds that come next and return them; empty when all is undone.

    Undone are DONE steps, and FAILED ones that left something, the last done first. A step is undone when nothing that
    was done after it in a way that relies on it is left: the order of the journal decides, and steps of children that
    ran beside each other are undone beside each other.
    """
    candidates = sorted(
        (ref for reference, ref in shape.steps.items() if _needs_undo(record, reference)),
        key=lambda ref: _order(record, ref.reference),
        reverse=True,
    )
    if any(step_state(record, reference) == StepState.UNDOING for reference in shape.steps) or not candidates:
        return []
    rounds = _undo_rounds(shape, candidates)
    for collected in rounds:
        for ref in collected:
            step = change_step(record, ref.reference, StepState.UNDOING)
            step.undo_attempt += 1
    return rounds


def _needs_undo(record: Record, reference: str) -> bool:
    state = step_state(record, reference)
    return state == StepState.DONE or (state == StepState.FAILED and record.steps[reference].left_residue)


def _order(record: Record, reference: str) -> int:
    """Return the place in the order of the journal; a failed step comes after all that were done."""
    return record.steps[reference].order or 1 << 62


def _undo_rounds(shape: Shape, candidates: list[StepRef]) -> list[Round]:
    """Return the last run of steps of one participant; for children that ran together, one run each."""
    first = candidates[0]
    siblings = {child.id for child in shape.children.get(first.job.parent, [])} if first.job.parent else set()
    if len(siblings) > 1:
        leading: list[StepRef] = []
        for ref in candidates:
            if ref.job.id not in siblings:
                break
            leading.append(ref)
        by_job: dict[str, list[StepRef]] = {}
        for ref in leading:
            by_job.setdefault(ref.job.id, []).append(ref)
        return [_same_participant(refs) for refs in by_job.values()]
    return [_same_participant(candidates)]


def _same_participant(refs: list[StepRef]) -> Round:
    collected: Round = []
    for ref in refs:
        if collected and ref.step.participant != collected[0].step.participant:
            break
        collected.append(ref)
    return collected


def all_completed(shape: Shape, record: Record) -> bool:
    """Tell whether every job is completed."""
    return all(job_state(record, job.id) == JobState.COMPLETED for job in shape.plan.jobs)


def end_rollback(shape: Shape, record: Record) -> None:
    """Give every job its end after a rollback in which everything was undone."""
    for job in shape.plan.jobs:
        if job_state(record, job.id) == JobState.ROLLING_BACK:
            failed = job.id == record.failed_job
            change_job(record, job.id, JobEvent.UNDONE_AFTER_FAILURE if failed else JobEvent.UNDONE_AFTER_ABORT)


def mark_stuck(shape: Shape, record: Record, residue: Iterable[str]) -> None:
    """Mark the jobs that have an undo which was refused, with what remains."""
    left = list(residue)
    for job in shape.plan.jobs:
        refused = any(step_state(record, f"{job.id}/{step.id}") == StepState.UNDO_FAILED for step in job.steps)
        if refused and job_state(record, job.id) == JobState.ROLLING_BACK:
            change_job(record, job.id, JobEvent.UNDO_REFUSED)
            record.jobs[job.id].residue.extend(left)


def mark_unstuck(shape: Shape, record: Record) -> None:
    """Let the jobs whose undo was refused roll back again."""
    for job in shape.plan.jobs:
        if job_state(record, job.id) == JobState.ROLLBACK_FAILED:
            change_job(record, job.id, JobEvent.RETRY_UNDO)
            del record.jobs[job.id].residue[:]
