"""What an operation does next: a pure function of its plan and its record.

`advance` starts and completes jobs and finds the rounds whose intents may be written now; `next_undos` does the same
backwards. A round is consecutive steps for one participant with no result of one in another (protocol, section D).
A deferrable job begins only once its server is known to answer, or is put off whole (P16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet

from virtyard.api.jobs.v1 import job_pb2, plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import hold_flag, stamps
from virtyard.jobs.model import Shape, StepRef, job_name
from virtyard.kernel.errors import WrongState
from virtyard.kernel.job_states import ENDED, JobEvent, JobState, StepState, check_step_change, next_job_state

Record = record_pb2.OperationRecord
Round = list[StepRef]
_NOT_BEGUN = frozenset({int(StepState.PENDING), int(job_pb2.STEP_STATE_UNSPECIFIED)})
_BEFORE_START = frozenset({int(JobState.PENDING), int(JobState.WAITING_FOR_LOCKS)})
_PASSED = frozenset({int(StepState.DONE), int(StepState.SKIPPED)})
"""What lets the steps behind a step begin; on the way forward only a deferrable job skips any."""
GIVEN_UP = frozenset({JobState.ROLLING_BACK, JobState.FAILED, JobState.ABORTED, JobState.ROLLBACK_FAILED})
"""States of jobs that are undone, or will be; on the way forward only `on_failure` gives jobs up."""


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
    """Change a step's state by the table, ask for its times, and return its record."""
    before = step_state(record, reference)
    check_step_change(before, state)
    step = record.steps[reference]
    step.state = int(state)  # type: ignore[assignment]  # the enums share their numbers
    stamps.ask_step(step, state)
    return step


def change_job(record: Record, job: str, event: JobEvent) -> None:
    """Change a job's state by the table, and ask for its times."""
    changed = record.jobs[job]
    after = next_job_state(changed.state, event)
    changed.state = int(after)  # type: ignore[assignment]  # the enums share their numbers
    if event is JobEvent.START:
        stamps.ask(changed.start_time)
    if after in ENDED:
        stamps.ask(changed.end_time)
    elif event is JobEvent.ROLL_BACK:
        changed.ClearField("end_time")


def first_jobs(shape: Shape) -> set[str]:
    """Return the jobs that no other job comes before: they wait for the operation's locks, the others for them."""
    return {job.id for job in shape.plan.jobs if not job.after and (not job.parent or not shape.jobs[job.parent].after)}


def pivot_started(shape: Shape, record: Record) -> bool:
    """Tell whether the point of no return has been passed."""
    return any(
        ref.step.kind == plan_pb2.STEP_KIND_PIVOT and step_state(record, reference) != StepState.PENDING
        for reference, ref in shape.steps.items()
    )


def in_flight(shape: Shape, record: Record) -> list[StepRef]:
    """Return the steps whose effect is or may be under way."""
    return [ref for reference, ref in shape.steps.items() if step_state(record, reference) == StepState.STARTED]


def awaiting_contact(shape: Shape, record: Record) -> list[plan_pb2.PlannedJob]:
    """Return the deferrable jobs whose turn has come, and whose servers must be asked for an answer first."""
    if not shape.deferrable:
        return []
    passed = _passed(shape, record)
    return [
        job for job in shape.deferrable if job_state(record, job.id) in _BEFORE_START and _may_start(shape, job, passed)
    ]


def defer(shape: Shape, record: Record, jobs: Iterable[str]) -> None:
    """Put jobs off that have not begun: of their steps only the one that notes it is left to do."""
    for job in jobs:
        if job_state(record, job) in GIVEN_UP:
            continue  # it was aborted while its server was asked
        record.jobs[job].deferred = True
        for reference in shape.own[job]:
            if not shape.steps[reference].step.if_deferred:
                change_step(record, reference, StepState.SKIPPED)


def deferred_jobs(shape: Shape, record: Record) -> list[plan_pb2.PlannedJob]:
    """Return the jobs that were put off."""
    return [job for job in shape.deferrable if record.jobs[job.id].deferred]


def advance(
    shape: Shape,
    record: Record,
    answering: AbstractSet[str] = frozenset(),
    may_begin: Callable[[StepRef], bool] | None = None,
) -> list[Round]:
    """Start and complete jobs as far as the record allows, write the intents of what is ready, return the rounds.

    Args:
        shape: the plan.
        record: the record, which is changed.
        answering: the deferrable jobs whose servers were found to answer just now; others of that kind wait.
        may_begin: takes the counted lock of a step that is ready, or tells that it must wait (P22).
    """
    while _advance_jobs(shape, record):
        pass
    if record.held:
        return []  # what runs ends, and nothing begins (P20)
    known = {reference: int(own.state) for reference, own in record.steps.items()}
    done = _passed(shape, record)
    pending = [
        ref
        for reference, ref in shape.steps.items()
        if known.get(reference, StepState.PENDING) in _NOT_BEGUN and _has_contact(ref, record, answering)
    ]
    rounds: list[Round] = []
    while (ref := next((ref for ref in pending if _is_ready(shape, ref, done)), None)) is not None:
        if may_begin is None or may_begin(ref):
            rounds.append(_collect_round(shape, ref, pending, done))
            taken = {ref.reference for ref in rounds[-1]}
        else:
            taken = {ref.reference}
        pending = [ref for ref in pending if ref.reference not in taken]
    for collected in rounds:
        for ref in collected:
            step = change_step(record, ref.reference, StepState.STARTED)
            step.attempt = max(step.attempt + 1, record.first_attempt, 1)
            if job_state(record, ref.job.id) != JobState.RUNNING:
                change_job(record, ref.job.id, JobEvent.START)
                _decide(shape, record, ref.job)
    return rounds


def _has_contact(ref: StepRef, record: Record, answering: AbstractSet[str]) -> bool:
    """Tell whether a step may begin as far as the contact with its job's server goes."""
    job = ref.job
    if not job.deferrable:
        return True
    if record.jobs[job.id].deferred:
        return True  # its other steps are skipped
    return not ref.step.if_deferred and (job_state(record, job.id) not in _BEFORE_START or job.id in answering)


def _decide(shape: Shape, record: Record, job: plan_pb2.PlannedJob) -> None:
    """Note with the first intent of a deferrable job that it is never put off any more (P16)."""
    if job.deferrable and not record.jobs[job.id].deferred:
        for reference in shape.own[job.id]:
            if shape.steps[reference].step.if_deferred:
                change_step(record, reference, StepState.SKIPPED)


def _passed(shape: Shape, record: Record) -> set[str]:
    """Return the steps that nothing waits for any more: what does not need a job that was given up goes past it."""
    given_up = [job for job in shape.plan.jobs if job_state(record, job.id) in GIVEN_UP]
    theirs = {reference for job in given_up for reference in shape.own[job.id]}
    passed = {reference for reference, own in record.steps.items() if int(own.state) in _PASSED or _is_left(own)}
    passed -= theirs
    # What comes after one that was given up before its turn still comes after all that this one would have waited for.
    while reached := [job for job in given_up if _may_start(shape, job, passed)]:
        passed.update(reference for job in reached for reference in shape.own[job.id])
        given_up = [job for job in given_up if job not in reached]
    return passed


def _is_left(own: record_pb2.StepRecord) -> bool:
    """Tell whether a step was not done, and a person has accepted that."""
    return int(own.state) == StepState.FAILED and own.accepted


def complete_jobs(shape: Shape, record: Record) -> None:
    """Complete the jobs that are through, without starting any."""
    while _advance_jobs(shape, record, start=False):
        pass


def _advance_jobs(shape: Shape, record: Record, *, start: bool = True) -> bool:
    """Start jobs that begin with their children, complete jobs that are through; tell whether any changed."""
    changed = False
    done = _passed(shape, record)
    states = {job: int(own.state) for job, own in record.jobs.items()}
    for job in shape.plan.jobs:
        state, children = states[job.id], shape.children.get(job.id, ())
        if state in _BEFORE_START:
            if start and children and not shape.own_first[job.id] and _may_start(shape, job, done):
                change_job(record, job.id, JobEvent.START)
                changed = True
        elif (
            state == JobState.RUNNING
            and done.issuperset(shape.own[job.id])
            and all(states[child.id] == JobState.COMPLETED for child in children)
        ):
            change_job(record, job.id, JobEvent.COMPLETE)
            changed = True
    return changed


def _through(shape: Shape, job: plan_pb2.PlannedJob, done: AbstractSet[str]) -> bool:
    """Tell whether a job's steps and children are all done."""
    if not done >= set(shape.own[job.id]):
        return False
    return all(_through(shape, child, done) for child in shape.children.get(job.id, ()))


def _may_start(shape: Shape, job: plan_pb2.PlannedJob, done: AbstractSet[str]) -> bool:
    """Tell whether the jobs before this one are through, and its parent has come to its children."""
    if not all(_through(shape, shape.jobs[before], done) for before in job.after):
        return False
    if not job.parent:
        return True
    parent = shape.jobs[job.parent]
    return _may_start(shape, parent, done) and all(reference in done for reference in shape.own_first[parent.id])


def _is_ready(shape: Shape, ref: StepRef, done: AbstractSet[str]) -> bool:
    """Tell whether everything before a step is done."""
    for reference in shape.own[ref.job.id]:
        if reference == ref.reference:
            break
        if reference not in done:
            return False
    if ref.step.after_children and not all(
        _through(shape, child, done) for child in shape.children.get(ref.job.id, ())
    ):
        return False
    return _may_start(shape, ref.job, done)


def _collect_round(shape: Shape, first: StepRef, pending: Iterable[StepRef], done: AbstractSet[str]) -> Round:
    """Return the step with those after it that the same participant can do in one message."""
    collected = [first]
    if first.step.kind != plan_pb2.STEP_KIND_UNDOABLE or first.step.HasField("counted"):
        return collected  # a counted lock is held no longer than its own step takes
    own = {first.reference}
    then = {*done, first.reference}
    for ref in pending:
        step = ref.step
        if ref is first or step.participant != first.step.participant or step.kind != plan_pb2.STEP_KIND_UNDOABLE:
            continue
        if any(binding.step in own for binding in step.bindings) or step.HasField("counted"):
            continue
        # A step that is ready by itself begins a round of its own, which runs beside this one.
        if _is_ready(shape, ref, then) and not _is_ready(shape, ref, done):
            collected.append(ref)
            own.add(ref.reference)
            then.add(ref.reference)
    return collected


def begin_rollback(shape: Shape, record: Record, number: int, kept: AbstractSet[str] = frozenset()) -> None:
    """Turn the operation round: jobs that did something go to ROLLING_BACK, jobs that did not are aborted (P10).

    Args:
        shape: the plan.
        record: the record, which is changed.
        number: the operation's number.
        kept: the jobs that stay completed.
    """
    record.rolling_back = True
    hold_flag.clear(record)
    cause = job_name(number, record.failed_job) if record.failed_job else record.abort_cause
    for job in shape.plan.jobs:
        if job.id not in kept:
            turn_job(record, job.id, cause=cause if job.id != record.failed_job else "")
    for reference in shape.steps:
        if step_state(record, reference) == StepState.PENDING:
            change_step(record, reference, StepState.SKIPPED)


def turn_job(record: Record, job: str, *, cause: str) -> None:
    """Turn a job round, for a cause that is another job or none; one that was turned before keeps its cause."""
    state = job_state(record, job)
    if state in GIVEN_UP:
        return
    change_job(record, job, JobEvent.ABORT if state in _BEFORE_START else JobEvent.ROLL_BACK)
    record.jobs[job].cause = cause
    record.jobs[job].deferred = False


def next_undos(shape: Shape, record: Record) -> list[Round]:
    """Write the intents of the undo rounds that come next and return them; empty when all is undone.

    Undone are DONE steps, and FAILED ones that left something, the last done first. A step is undone when nothing that
    was done after it in a way that relies on it is left: the order of the journal decides, and steps of children that
    ran beside each other are undone beside each other.
    """
    candidates = sorted(
        (ref for ref in shape.steps.values() if _needs_undo(record, ref)),
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


def is_left(shape: Shape, record: Record) -> bool:
    """Tell whether anything is left that is to be undone, now that the operation goes back."""
    return any(_needs_undo(record, ref) for ref in shape.steps.values())


def _needs_undo(record: Record, ref: StepRef) -> bool:
    if job_state(record, ref.job.id) == JobState.COMPLETED:
        return False  # it is kept: what is not was turned round
    state = step_state(record, ref.reference)
    return state == StepState.DONE or (state == StepState.FAILED and record.steps[ref.reference].left_residue)


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
            failed = job.id == record.failed_job or record.jobs[job.id].failed
            change_job(record, job.id, JobEvent.UNDONE_AFTER_FAILURE if failed else JobEvent.UNDONE_AFTER_ABORT)


def stuck_jobs(shape: Shape, record: Record) -> list[str]:
    """Return the jobs with an undo that was refused, about which nobody has decided yet."""
    return [job.id for job in shape.plan.jobs if job_state(record, job.id) == JobState.ROLLBACK_FAILED]


def refused_undos(shape: Shape, record: Record, job: str) -> list[str]:
    """Return the steps of a job whose undo was refused."""
    return [each for each in shape.own[job] if step_state(record, each) == StepState.UNDO_FAILED]


def mark_stuck(shape: Shape, record: Record) -> None:
    """Mark the jobs that have an undo which was refused, with what remains."""
    for job in shape.plan.jobs:
        refused = refused_undos(shape, record, job.id)
        if refused and job_state(record, job.id) == JobState.ROLLING_BACK:
            change_job(record, job.id, JobEvent.UNDO_REFUSED)
            for reference in refused:
                text = f"{shape.steps[reference].step.title}: {record.steps[reference].error.message}"
                record.jobs[job.id].residue.append(text)


def retry_undos(shape: Shape, record: Record, job: str) -> None:
    """Write the intents to undo again what was refused in a job.

    Raises:
        WrongState: nothing of it was refused, or something of it has no undo.
    """
    _check_stuck(record, job)
    refused = refused_undos(shape, record, job)
    lasting = [each.title for each in (shape.steps[ref].step for ref in refused) if not each.HasField("undo")]
    if lasting:
        name = job_name(record.number, job)
        raise WrongState(f"nothing undoes what {name} did ({', '.join(lasting)}): accept what it left", resource=name)
    change_job(record, job, JobEvent.RETRY_UNDO)
    del record.jobs[job].residue[:]
    for reference in refused:
        change_step(record, reference, StepState.UNDOING).undo_attempt += 1


def accept_residue(record: Record, job: str) -> None:
    """Take what the refused undos of a job left for good: the job has failed, and the rest may be undone.

    Of that rest, what a record that stays has come to refer to is refused in its turn by the inventory (`Writes`).

    Raises:
        WrongState: nothing of it was refused.
    """
    _check_stuck(record, job)
    change_job(record, job, JobEvent.ACCEPT_RESIDUE)


def left_residue(shape: Shape, record: Record) -> bool:
    """Tell whether something that was done is left, as its undo was refused."""
    return any(state == StepState.UNDO_FAILED for state in states(shape, record))


def _check_stuck(record: Record, job: str) -> None:
    if job_state(record, job) != JobState.ROLLBACK_FAILED:
        name = job_name(record.number, job)
        state = JobState(job_state(record, job)).name
        raise WrongState(f"{name} is {state}; only a job that is ROLLBACK_FAILED can be decided about", resource=name)
