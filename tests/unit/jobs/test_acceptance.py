"""What a person accepts past the pivot: which steps, what is skipped for it, and that the jobs are through with it."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2

from tests.unit.jobs.plans import bind, done, job, job_states, names, record_of, shape_of, step_states
from virtyard.api.actions.v1 import erase_disk_files_pb2
from virtyard.api.jobs.v1 import job_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import acceptance, schedule
from virtyard.jobs.model import Operation, Shape
from virtyard.kernel.errors import WrongState

STOPPED = participant.EffectRecord(state=participant.EFFECT_STATE_NOT_BEGUN)


def on_storage(planned: plan_pb2.PlannedJob) -> plan_pb2.PlannedJob:
    """Return a job whose first step is about storage; those of other jobs here are about a host."""
    planned.steps[0].do.Pack(erase_disk_files_pb2.EraseDiskFiles())
    return planned


def refused(shape: Shape) -> record_pb2.OperationRecord:
    """Return the record of an operation whose pivot, the step 1/1, was refused once."""
    record = record_of(shape)
    assert names(schedule.advance(shape, record)) == [["1/1"]]
    record.steps["1/1"].error.code, record.steps["1/1"].error.message = code_pb2.FAILED_PRECONDITION, "no"
    return record


@pytest.mark.parametrize(("storage", "follows"), [(True, [["1/2"]]), (False, [["2/1"]])])
def test_a_records_step_follows_unless_it_would_tell_of_a_host(storage: bool, follows: list[list[str]]) -> None:
    """Records of images go whether or not these are erased; a guest that was not ended is not recorded as stopped."""
    first = job(1, "servers/a!", "inventory>")
    shape = shape_of(on_storage(first) if storage else first, job(2, "inventory>", after=[1]))
    record = refused(shape)
    acceptance.accept(shape, record, "1")
    assert schedule.advance(shape, record) == [], "nothing passes a step that may still be under way"
    assert [ref.reference for ref in acceptance.accepted_steps(shape, record)] == ["1/1"]
    acceptance.leave(shape, record, "1/1", STOPPED)
    assert names(schedule.advance(shape, record)) == follows
    told = ["Step 1: no"] + ([] if storage else ["Step 2: not done, as 'Step 1' was given up"])
    assert list(record.jobs["1"].residue) == told
    assert acceptance.accepted_steps(shape, record) == []


def test_what_is_made_from_its_result_is_skipped_with_what_needs_that() -> None:
    """The rest of the job is done, and the job behind it; what is left is told with the object of the job."""
    first = on_storage(job(1, "servers/a!", "inventory>", "inventory>", "inventory>"))
    shape = shape_of(bind(bind(first, 2, "1/1"), 3, "1/2"), job(2, "inventory>", after=[1]))
    record = refused(shape)
    acceptance.accept(shape, record, "1")
    acceptance.leave(shape, record, "1/1", STOPPED)
    assert names(schedule.advance(shape, record)) == [["1/4"]]
    done(record, "1/4")
    assert names(schedule.advance(shape, record)) == [["2/1"]]
    done(record, "2/1")
    assert schedule.advance(shape, record) == []
    assert schedule.all_completed(shape, record), job_states(shape, record)
    assert step_states(shape, record) == ["FAILED", "SKIPPED", "SKIPPED", "DONE", "DONE"]
    assert acceptance.left_of(Operation(shape=shape, request=Any(), record=record)) == [
        "servers/o1: left over: Step 1: no",
        "servers/o1: left over: Step 2: not done, as 'Step 1' was given up",
        "servers/o1: left over: Step 3: not done, as 'Step 1' was given up",
    ]


def test_what_another_job_is_made_from_cannot_be_left() -> None:
    """That job could do nothing then; nothing is changed."""
    first = on_storage(job(1, "servers/a!", "inventory>"))
    shape = shape_of(bind(first, 2, "1/1"), bind(job(2, "inventory>", after=[1]), 1, "1/2"))
    record = refused(shape)
    with pytest.raises(WrongState, match="Job 2 is made from what jobs/12-1 gives"):
        acceptance.accept(shape, record, "1")
    assert acceptance.accepted_steps(shape, record) == []


def test_what_it_left_says_more_than_why_it_was_refused() -> None:
    """Residue is told as the host tells it; that it was stopped is no news."""
    shape = shape_of(on_storage(job(1, "servers/a!")))
    for state, told in ((participant.EFFECT_STATE_RESIDUE, "half"), (participant.EFFECT_STATE_FAILED, "no")):
        record = refused(shape)
        acceptance.accept(shape, record, "1")
        result = participant.EffectRecord(state=state)
        result.error.message = "half"
        acceptance.leave(shape, record, "1/1", result)
        assert list(record.jobs["1"].residue) == [f"Step 1: {told}"]


def test_only_what_is_refused_or_stalls_past_the_pivot_can_be_accepted() -> None:
    """Not a first try that is under way, nor a step that is undone when it fails, nor one on the way back."""
    shape = shape_of(on_storage(job(1, "servers/a!")))
    record = record_of(shape)
    schedule.advance(shape, record)
    with pytest.raises(WrongState, match="jobs/12-1 is RUNNING"):
        acceptance.accept(shape, record, "1")
    record.steps["1/1"].stalled = True
    assert acceptance.refused_steps(shape, record, "1") == ["1/1"]
    record.rolling_back = True
    assert acceptance.refused_steps(shape, record, "1") == []
    undoable = shape_of(job(1, "servers/a"))
    record = refused(undoable)
    assert acceptance.refused_steps(undoable, record, "1") == []
    assert record.jobs["1"].state == job_pb2.JOB_STATE_RUNNING
