"""Plans made by hand, and records in which steps are done, for the pure parts of the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, status_pb2

from virtyard.api.actions.v1 import kill_guest_pb2
from virtyard.api.jobs.v1 import operation_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import outcome, schedule
from virtyard.jobs.admission import new_record
from virtyard.jobs.model import Operation, Shape, StepRef
from virtyard.kernel.job_states import JobState, StepState

UNDOABLE, PIVOT, FORWARD = plan_pb2.STEP_KIND_UNDOABLE, plan_pb2.STEP_KIND_PIVOT, plan_pb2.STEP_KIND_FORWARD


def job(
    number: int, *steps: str, after: Iterable[int] = (), parent: int = 0, after_children: int = 0
) -> plan_pb2.PlannedJob:
    """Return a job whose steps are named by their participants; `!` marks the pivot, `>` a step after it.

    Args:
        number: its id.
        steps: a participant each.
        after: the jobs before it.
        parent: the job that it is a child of.
        after_children: so many of its last steps come after its children.
    """
    planned = plan_pb2.PlannedJob(
        id=str(number),
        title=f"Job {number}",
        object=f"servers/o{number}",
        after=[str(before) for before in after],
        parent=str(parent) if parent else "",
    )
    for index, name in enumerate(steps, 1):
        kind = PIVOT if name[-1] == "!" else FORWARD if name[-1] == ">" else UNDOABLE
        step = planned.steps.add(
            id=str(index),
            participant=name.rstrip("!>"),
            target=planned.object,
            kind=kind,
            title=f"Step {index}",
            after_children=index > len(steps) - after_children,
        )
        step.do.Pack(kill_guest_pb2.KillGuest(uid=f"{number}{index}"))
        if kind == UNDOABLE:
            step.undo.Pack(kill_guest_pb2.KillGuest(uid=f"{number}{index}"))
    return planned


def deferrable(planned: plan_pb2.PlannedJob) -> plan_pb2.PlannedJob:
    """Return a job with one more step, which the inventory does in place of the others if the job is put off."""
    step = planned.steps.add(
        id=str(len(planned.steps) + 1),
        participant="inventory",
        target=planned.object,
        kind=UNDOABLE,
        title="Note it",
        if_deferred=True,
    )
    step.do.Pack(kill_guest_pb2.KillGuest(uid="note"))
    step.undo.Pack(kill_guest_pb2.KillGuest(uid="note"))
    planned.deferrable = True
    return planned


def shape_of(*jobs: plan_pb2.PlannedJob) -> Shape:
    """Return the shape of a plan of these jobs."""
    return Shape.of(plan_pb2.Plan(jobs=jobs))


def record_of(shape: Shape, number: int = 12) -> record_pb2.OperationRecord:
    """Return the record of an operation that has been accepted."""
    record = record_pb2.OperationRecord(number=number, epoch=1, state=operation_pb2.OPERATION_STATE_ACTIVE)
    record.create_time.GetCurrentTime()
    new_record(record, shape)
    return record


def operation_of(shape: Shape, number: int = 12) -> Operation:
    """Return an operation that has been accepted."""
    return Operation(shape=shape, request=Any(), record=record_of(shape, number))


def bind(planned: plan_pb2.PlannedJob, step: int, source: str) -> plan_pb2.PlannedJob:
    """Bind a step's effect to the result of an earlier step."""
    planned.steps[step - 1].bindings.add(field_path="uid", step=source, result_path="was_running")
    return planned


def names(rounds: Iterable[Sequence[StepRef]]) -> list[list[str]]:
    """Return rounds as the references of their steps."""
    return [[ref.reference for ref in refs] for refs in rounds]


def done(record: record_pb2.OperationRecord, *references: str) -> None:
    """Note that steps that were started are done."""
    for reference in references:
        outcome.record_done(record, reference, participant.EffectRecord(state=participant.EFFECT_STATE_DONE))


def failed(record: record_pb2.OperationRecord, reference: str, *, residue: bool = False) -> None:
    """Note that a step that was started failed, and that its job was the first to fail."""
    state = participant.EFFECT_STATE_RESIDUE if residue else participant.EFFECT_STATE_FAILED
    error = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="the disk is full")
    outcome.record_failed(record, reference, participant.EffectRecord(state=state, error=error))
    record.failed_job = reference.partition("/")[0]


def undone(record: record_pb2.OperationRecord, *references: str) -> None:
    """Note that steps whose undo was under way are undone."""
    for reference in references:
        schedule.change_step(record, reference, StepState.UNDONE)


def run(shape: Shape, record: record_pb2.OperationRecord) -> list[list[list[str]]]:
    """Do every step as soon as it is due; return the rounds that came together, turn by turn."""
    turns = []
    while rounds := names(schedule.advance(shape, record)):
        turns.append(rounds)
        done(record, *(reference for refs in rounds for reference in refs))
    return turns


def undo(shape: Shape, record: record_pb2.OperationRecord) -> list[list[list[str]]]:
    """Undo everything; return the rounds that came together, turn by turn."""
    turns = []
    while rounds := names(schedule.next_undos(shape, record)):
        turns.append(rounds)
        undone(record, *(reference for refs in rounds for reference in refs))
    return turns


def job_states(shape: Shape, record: record_pb2.OperationRecord) -> list[str]:
    """Return the state of each job."""
    return [JobState(record.jobs[planned.id].state).name for planned in shape.plan.jobs]


def step_states(shape: Shape, record: record_pb2.OperationRecord) -> list[str]:
    """Return the state of each step."""
    return [StepState(state).name for state in schedule.states(shape, record)]
