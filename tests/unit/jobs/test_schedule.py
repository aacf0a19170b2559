"""What an operation does next: rounds, jobs that start and end, and the way back."""

from __future__ import annotations

import pytest

from tests.unit.jobs.plans import (
    bind,
    deferrable,
    done,
    failed,
    job,
    job_states,
    names,
    operation_of,
    record_of,
    run,
    shape_of,
    step_states,
    undo,
    undone,
)
from tests.unit.operations.estate import finance, new_machine
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule
from virtyard.jobs.effects import make_round
from virtyard.jobs.model import Shape, StepRef
from virtyard.kernel.errors import InternalError, WrongState
from virtyard.kernel.job_states import StepState

CHAIN = shape_of(
    job(1, "inventory"),
    job(2, "inventory", after=[1]),
    job(3, "servers/a", "inventory", after=[2]),
    job(4, "inventory", after=[3]),
)
FAMILY = shape_of(
    job(1, "inventory", "inventory", after_children=1),
    job(2, "servers/a", "servers/a", parent=1),
    job(3, "servers/b", "servers/b", parent=1),
    job(4, "inventory", after=[1]),
)

MEMBERS = shape_of(
    job(1, "inventory", "inventory", after_children=1),
    deferrable(job(2, "servers/a", "servers/a", parent=1)),
    deferrable(job(3, "servers/b", parent=1)),
    job(4, "inventory", after=[1]),
)


def test_a_machine_with_two_disks_and_a_card_takes_five_rounds() -> None:
    """Records, disk, records, disk, records: section D of the protocol, whatever the number of jobs."""
    shape = Shape.of(finance().plan(new_machine(2, 1)))
    record = record_of(shape)
    assert run(shape, record) == [
        [["1/1", "2/1"]],
        [["3/1"]],
        [["3/2", "4/1"]],
        [["5/1"]],
        [["5/2", "6/1", "7/1"]],
    ]
    assert schedule.all_completed(shape, record)


def test_a_round_is_what_one_participant_can_do_without_another() -> None:
    """Steps of several jobs share a round; a step of somebody else ends it."""
    assert run(CHAIN, record_of(CHAIN)) == [[["1/1", "2/1"]], [["3/1"]], [["3/2", "4/1"]]]


def test_a_step_that_needs_a_result_begins_a_new_round() -> None:
    """A result is known only when its round is durable, so a step bound to it waits for that."""
    shape = shape_of(bind(job(1, "inventory", "inventory", "inventory"), 2, "1/1"))
    assert run(shape, record_of(shape)) == [[["1/1"]], [["1/2", "1/3"]]]


def test_a_pivot_is_a_round_of_its_own() -> None:
    """What cannot be undone is sent alone, and so is each step after it."""
    shape = shape_of(job(1, "inventory", "servers/a!", "inventory>", "inventory>"))
    assert run(shape, record_of(shape)) == [[["1/1"]], [["1/2"]], [["1/3"]], [["1/4"]]]


def test_jobs_start_and_end_with_their_steps() -> None:
    """A job runs from its first intent to its last result, in the same commits."""
    record = record_of(CHAIN)
    assert job_states(CHAIN, record) == ["WAITING_FOR_LOCKS", "PENDING", "PENDING", "PENDING"]
    schedule.advance(CHAIN, record)
    assert job_states(CHAIN, record) == ["RUNNING", "RUNNING", "PENDING", "PENDING"]
    done(record, "1/1", "2/1")
    schedule.advance(CHAIN, record)
    assert job_states(CHAIN, record) == ["COMPLETED", "COMPLETED", "RUNNING", "PENDING"]
    assert record.jobs["1"].HasField("end_time")


def test_children_run_beside_each_other_between_their_parents_steps() -> None:
    """The parent's first step, then all children together, then what comes after the children, then the next job."""
    record = record_of(FAMILY)
    assert run(FAMILY, record) == [[["1/1"]], [["2/1", "2/2"], ["3/1", "3/2"]], [["1/2", "4/1"]]]
    assert job_states(FAMILY, record) == ["COMPLETED"] * 4


def test_a_parent_waits_for_its_slowest_child() -> None:
    """Nothing after the children starts while one of them runs, and the parent is not completed."""
    record = record_of(FAMILY)
    schedule.advance(FAMILY, record)
    done(record, "1/1")
    schedule.advance(FAMILY, record)
    done(record, "2/1", "2/2")
    assert names(schedule.advance(FAMILY, record)) == []
    assert job_states(FAMILY, record) == ["RUNNING", "COMPLETED", "RUNNING", "PENDING"]


def test_a_parent_without_steps_starts_before_its_children_and_ends_after_them() -> None:
    """A job that is only the sum of its children runs as long as they do."""
    shape = shape_of(job(1), job(2, "servers/a", parent=1), job(3, "servers/b", parent=1))
    record = record_of(shape)
    assert names(schedule.advance(shape, record)) == [["2/1"], ["3/1"]]
    assert job_states(shape, record)[0] == "RUNNING"
    done(record, "2/1", "3/1")
    schedule.advance(shape, record)
    assert job_states(shape, record) == ["COMPLETED"] * 3


def test_independent_jobs_start_together() -> None:
    """Jobs that do not follow each other are under way at the same time."""
    shape = shape_of(job(1, "servers/a"), job(2, "servers/b"), job(3, "inventory", after=[1, 2]))
    assert run(shape, record_of(shape)) == [[["1/1"], ["2/1"]], [["3/1"]]]


def test_rollback_undoes_the_last_done_first_across_jobs() -> None:
    """Steps are undone in reverse order of the journal, a participant's run of them in one round."""
    record = record_of(CHAIN)
    schedule.advance(CHAIN, record)
    done(record, "1/1", "2/1")
    schedule.advance(CHAIN, record)
    done(record, "3/1")
    schedule.advance(CHAIN, record)
    done(record, "3/2")
    failed(record, "4/1")
    schedule.begin_rollback(CHAIN, record, record.number)
    assert job_states(CHAIN, record) == ["ROLLING_BACK"] * 4
    assert undo(CHAIN, record) == [[["3/2"]], [["3/1"]], [["2/1", "1/1"]]]
    schedule.end_rollback(CHAIN, record)
    assert job_states(CHAIN, record) == ["ABORTED", "ABORTED", "ABORTED", "FAILED"]
    assert record.jobs["1"].cause == "jobs/12-4"
    assert not record.jobs["4"].cause


def test_a_failed_step_that_left_something_is_undone_first() -> None:
    """A clean failure needs no undo; residue does (P10)."""
    record = record_of(CHAIN)
    schedule.advance(CHAIN, record)
    done(record, "1/1", "2/1")
    schedule.advance(CHAIN, record)
    failed(record, "3/1", residue=True)
    schedule.begin_rollback(CHAIN, record, record.number)
    assert undo(CHAIN, record) == [[["3/1"]], [["2/1", "1/1"]]]


def test_what_never_began_is_skipped_and_its_job_aborted() -> None:
    """Jobs that did nothing are aborted at once; their steps can never start any more."""
    record = record_of(CHAIN)
    schedule.advance(CHAIN, record)
    failed(record, "1/1")
    done(record, "2/1")
    schedule.begin_rollback(CHAIN, record, record.number)
    assert job_states(CHAIN, record) == ["ROLLING_BACK", "ROLLING_BACK", "ABORTED", "ABORTED"]
    assert step_states(CHAIN, record) == ["FAILED", "DONE", "SKIPPED", "SKIPPED", "SKIPPED"]
    assert names(schedule.advance(CHAIN, record)) == []


def test_children_that_ran_together_are_undone_together() -> None:
    """Each child's steps are a round of their own, sent at once; the parent's step waits for all of them."""
    record = record_of(FAMILY)
    schedule.advance(FAMILY, record)
    done(record, "1/1")
    schedule.advance(FAMILY, record)
    done(record, "2/1", "3/1", "2/2")
    failed(record, "3/2")
    schedule.begin_rollback(FAMILY, record, record.number)
    assert undo(FAMILY, record) == [[["2/2", "2/1"], ["3/1"]], [["1/1"]]]


def test_no_undo_is_sent_while_another_is_under_way() -> None:
    """The order of the way back is kept by waiting for each turn."""
    record = record_of(CHAIN)
    schedule.advance(CHAIN, record)
    done(record, "1/1", "2/1")
    schedule.advance(CHAIN, record)
    failed(record, "3/1")
    schedule.begin_rollback(CHAIN, record, record.number)
    assert names(schedule.next_undos(CHAIN, record)) == [["2/1", "1/1"]]
    assert names(schedule.next_undos(CHAIN, record)) == []
    undone(record, "2/1")
    assert names(schedule.next_undos(CHAIN, record)) == []
    undone(record, "1/1")
    assert names(schedule.next_undos(CHAIN, record)) == []


def test_the_point_of_no_return_is_passed_with_the_intent() -> None:
    """From the durable intent of the pivot on, nobody knows whether it happened, so abort is too late."""
    shape = shape_of(job(1, "inventory", "servers/a!"))
    record = record_of(shape)
    schedule.advance(shape, record)
    assert not schedule.pivot_started(shape, record)
    done(record, "1/1")
    schedule.advance(shape, record)
    assert schedule.pivot_started(shape, record)


def test_steps_of_a_new_plan_begin_with_a_higher_attempt() -> None:
    """A plan that was made again may reuse the keys of refused effects, so it must not reuse their attempts (P8)."""
    record = record_of(CHAIN)
    record.first_attempt = 4
    schedule.advance(CHAIN, record)
    assert [record.steps[reference].attempt for reference in ("1/1", "2/1")] == [4, 4]


def test_an_undo_that_was_refused_marks_its_job_and_can_be_tried_again() -> None:
    """ROLLBACK_FAILED says what remains, and a person may ask to undo again."""
    record = record_of(CHAIN)
    schedule.advance(CHAIN, record)
    done(record, "1/1")
    failed(record, "2/1")
    schedule.begin_rollback(CHAIN, record, record.number)
    schedule.next_undos(CHAIN, record)
    record.steps["1/1"].error.message = "no"
    schedule.change_step(record, "1/1", StepState.UNDO_FAILED)
    schedule.mark_stuck(CHAIN, record)
    assert job_states(CHAIN, record)[:2] == ["ROLLBACK_FAILED", "ROLLING_BACK"]
    assert list(record.jobs["1"].residue) == [f"{CHAIN.steps['1/1'].step.title}: no"]
    assert schedule.stuck_jobs(CHAIN, record) == ["1"]
    schedule.retry_undos(CHAIN, record, "1")
    assert job_states(CHAIN, record)[0] == "ROLLING_BACK"
    assert not record.jobs["1"].residue
    assert schedule.step_state(record, "1/1") == StepState.UNDOING


def test_a_job_that_is_not_stuck_takes_no_decision() -> None:
    """Neither a retry nor an acceptance changes a job whose undos were not refused."""
    record = record_of(CHAIN)
    before = record.SerializeToString(deterministic=True)
    with pytest.raises(WrongState, match="only a job that is ROLLBACK_FAILED"):
        schedule.retry_undos(CHAIN, record, "1")
    with pytest.raises(WrongState, match="only a job that is ROLLBACK_FAILED"):
        schedule.accept_residue(record, "1")
    assert record.SerializeToString(deterministic=True) == before


def test_steps_change_by_the_table_only() -> None:
    """A step that was never started cannot be done."""
    with pytest.raises(InternalError, match="PENDING cannot become DONE"):
        schedule.change_step(record_of(CHAIN), "1/1", StepState.DONE)


def test_effects_of_a_round_follow_each_other_and_the_first_carries_the_read_set() -> None:
    """The inventory checks what the plan was made from in the transaction of the first round (section D, call 4)."""
    shape = Shape.of(finance().plan(new_machine(1, 0)))
    operation = operation_of(shape)
    (refs,) = schedule.advance(shape, operation.record)
    first, second = make_round(operation, refs, participant.PHASE_DO)
    assert (first.step_key, first.after) == ("12/1/1", "")
    assert (second.step_key, second.after) == ("12/2/1", "12/1/1")
    assert first.require == shape.plan.read_set
    assert not second.HasField("require")
    done(operation.record, "1/1", "2/1")
    (refs,) = schedule.advance(shape, operation.record)
    assert not make_round(operation, refs, participant.PHASE_DO)[0].HasField("require")


def asked(record: record_pb2.OperationRecord) -> list[str]:
    """Return the members whose servers must be asked now."""
    return [planned.id for planned in schedule.awaiting_contact(MEMBERS, record)]


def members_turn() -> record_pb2.OperationRecord:
    """Return a record in which the turn of the members has come."""
    record = record_of(MEMBERS)
    assert names(schedule.advance(MEMBERS, record)) == [["1/1"]]
    assert asked(record) == []
    done(record, "1/1")
    return record


def test_a_member_does_not_begin_before_its_server_has_answered() -> None:
    """Nothing of it is intended until then; who has not been asked stays as it is."""
    record = members_turn()
    assert asked(record) == ["2", "3"]
    assert names(schedule.advance(MEMBERS, record)) == []
    assert names(schedule.advance(MEMBERS, record, {"3"})) == [["3/1"]]
    assert asked(record) == ["2"]
    assert job_states(MEMBERS, record) == ["RUNNING", "WAITING_FOR_LOCKS", "RUNNING", "PENDING"]


def test_a_member_that_has_begun_is_never_put_off() -> None:
    """With its first intent the step for being put off is skipped, for good (P16)."""
    record = members_turn()
    schedule.advance(MEMBERS, record, {"2", "3"})
    assert asked(record) == []
    assert step_states(MEMBERS, record) == [
        *("DONE", "PENDING"),
        *("STARTED", "STARTED", "SKIPPED"),
        *("STARTED", "SKIPPED"),
        "PENDING",
    ]
    with pytest.raises(InternalError, match="SKIPPED cannot become STARTED"):
        schedule.change_step(record, "2/3", StepState.STARTED)


def test_a_member_that_is_put_off_does_one_step_instead_and_is_completed() -> None:
    """The others go on beside it, and what comes after the children waits for the note too."""
    record = members_turn()
    schedule.defer(MEMBERS, record, {"2"})
    assert names(schedule.advance(MEMBERS, record, {"3"})) == [["2/3"], ["3/1"]]
    done(record, "3/1")
    assert names(schedule.advance(MEMBERS, record)) == []
    done(record, "2/3")
    assert run(MEMBERS, record) == [[["1/2", "4/1"]]]
    assert job_states(MEMBERS, record) == ["COMPLETED"] * 4
    assert step_states(MEMBERS, record)[2:5] == ["SKIPPED", "SKIPPED", "DONE"]
    assert [planned.id for planned in schedule.deferred_jobs(MEMBERS, record)] == ["2"]
    assert schedule.all_completed(MEMBERS, record)


def test_the_way_back_takes_a_deferral_back() -> None:
    """The note is undone beside its siblings' steps, what was skipped is not, and the job is put off no more."""
    record = members_turn()
    schedule.defer(MEMBERS, record, {"2"})
    schedule.advance(MEMBERS, record, {"3"})
    done(record, "2/3")
    failed(record, "3/1")
    schedule.begin_rollback(MEMBERS, record, record.number)
    assert schedule.deferred_jobs(MEMBERS, record) == []
    assert undo(MEMBERS, record) == [[["2/3"]], [["1/1"]]]
    schedule.end_rollback(MEMBERS, record)
    assert job_states(MEMBERS, record) == ["ABORTED", "ABORTED", "FAILED", "ABORTED"]


def test_a_round_of_the_inventory_beside_a_host_carries_no_read_set() -> None:
    """A plan that was found changed then could not be made again, as another step may have acted already (P4)."""
    operation = operation_of(MEMBERS)
    operation.shape = shape = shape_of(job(1), *(MEMBERS.jobs[number] for number in ("2", "3")))
    operation.record = record_of(shape)
    schedule.defer(shape, operation.record, {"2"})
    beside, _ = schedule.advance(shape, operation.record, {"3"})
    assert not make_round(operation, beside, participant.PHASE_DO)[0].HasField("require")
    operation.record = record_of(shape)
    schedule.defer(shape, operation.record, {"2"})
    (alone,) = schedule.advance(shape, operation.record)
    assert make_round(operation, alone, participant.PHASE_DO)[0].HasField("require")


def counted_family() -> Shape:
    """Return a plan of three children on one server, two of which have a middle step that takes a counted lock."""
    jobs = [job(1, "inventory"), *(job(number, *["servers/a"] * 3, parent=1) for number in (2, 3, 4))]
    for planned in jobs[1:3]:
        planned.steps[1].counted.name, planned.steps[1].counted.count = "capacity/servers/a/copy", 1
    return shape_of(*jobs)


def test_a_counted_step_is_a_round_of_its_own() -> None:
    """P22: it is held while its own step runs, neither from before it nor until what follows is done."""
    shape = counted_family()
    assert run(shape, record_of(shape)) == [
        [["1/1"]],
        [["2/1"], ["3/1"], ["4/1", "4/2", "4/3"]],
        [["2/2"], ["3/2"]],
        [["2/3"], ["3/3"]],
    ]


def test_a_counted_step_that_must_wait_keeps_nothing_else_back() -> None:
    """P22: what waits for a counted lock has no intent, and the steps beside it begin and end."""
    shape = counted_family()
    record = record_of(shape)
    asked: list[str] = []

    def second_only(ref: StepRef) -> bool:
        asked.append(ref.reference)
        return ref.reference != "2/2"

    def turn() -> list[list[str]]:
        asked.clear()
        return names(schedule.advance(shape, record, may_begin=second_only))

    while rounds := turn():
        done(record, *(reference for refs in rounds for reference in refs))
    assert asked == ["2/2"]
    assert step_states(shape, record) == [*["DONE"] * 2, *["PENDING"] * 2, *["DONE"] * 6]
    assert names(schedule.advance(shape, record)) == [["2/2"]]
