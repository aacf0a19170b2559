"""Times in a record: what is decided asks for them, and the commit gives those that were asked for, and no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.unit.jobs.plans import job, record_of, shape_of
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule, stamps
from virtyard.jobs.abort_request import AbortRequest, note
from virtyard.kernel.job_states import JobEvent, StepState

NOW = datetime(2031, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
SHAPE = shape_of(job(1), job(2))


def test_what_was_asked_for_is_given_once() -> None:
    """The time of a commit is that of what it brings; what earlier ones brought keeps its own."""
    record = record_of(SHAPE)
    schedule.change_job(record, "1", JobEvent.START)
    stamps.fill(record, SHAPE.jobs, NOW)
    assert record.jobs["1"].start_time.ToDatetime(UTC) == NOW
    assert not record.jobs["2"].HasField("start_time")
    schedule.change_job(record, "1", JobEvent.COMPLETE)
    assert note(record, AbortRequest(principal="user/ann", reason="enough"), SHAPE)
    stamps.ask(record.hold.time)
    stamps.ask(record.end_time)
    stamps.fill(record, SHAPE.jobs, LATER)
    assert record.jobs["1"].start_time.ToDatetime(UTC) == NOW
    given = (record.jobs["1"].end_time, record.abort_hop.time, record.hold.time, record.end_time)
    assert [each.ToDatetime(UTC) for each in given] == [LATER] * 4
    stamps.fill(record, SHAPE.jobs, LATER + timedelta(hours=1))
    assert [each.ToDatetime(UTC) for each in given] == [LATER] * 4


def test_a_record_without_times_gets_none() -> None:
    """Nothing is there that was not asked for: an operation that runs has no end, and nobody held it."""
    record = record_of(SHAPE)
    stamps.fill(record, SHAPE.jobs, NOW)
    assert not any(record.HasField(field) for field in ("end_time", "abort_hop", "hold"))


def test_a_job_that_ends_again_has_its_last_end() -> None:
    """One that was completed and is undone after all ends when that is done."""
    record = record_of(SHAPE)
    schedule.change_job(record, "1", JobEvent.START)
    schedule.change_job(record, "1", JobEvent.COMPLETE)
    stamps.fill(record, SHAPE.jobs, NOW)
    schedule.change_job(record, "1", JobEvent.ROLL_BACK)
    assert not record.jobs["1"].HasField("end_time")
    schedule.change_job(record, "1", JobEvent.UNDONE_AFTER_ABORT)
    stamps.fill(record, SHAPE.jobs, LATER)
    assert record.jobs["1"].start_time.ToDatetime(UTC) == NOW
    assert record.jobs["1"].end_time.ToDatetime(UTC) == LATER


def times(step: record_pb2.StepRecord) -> list[float | None]:
    """Return the four times of a step, in hours after NOW; None for one that is not there."""
    given = {field.name: value for field, value in step.ListFields()}
    stamps = [given.get(name) for name in ("start_time", "end_time", "undo_start_time", "undo_end_time")]
    return [None if stamp is None else (stamp.ToDatetime(UTC) - NOW).total_seconds() / 3600 for stamp in stamps]


def test_a_step_has_the_times_of_its_last_try_and_of_its_undo() -> None:
    """A second try begins anew; the undo has times of its own, so that both are seen."""
    shape = shape_of(job(1, "servers/a"))
    record = record_of(shape)
    story: list[tuple[StepState, list[float | None]]] = [
        (StepState.STARTED, [0, None, None, None]),
        (StepState.FAILED, [0, 1, None, None]),
        (StepState.STARTED, [2, None, None, None]),
        (StepState.DONE, [2, 3, None, None]),
        (StepState.UNDOING, [2, 3, 4, None]),
        (StepState.UNDO_FAILED, [2, 3, 4, 5]),
        (StepState.UNDOING, [2, 3, 6, None]),
        (StepState.UNDONE, [2, 3, 6, 7]),
    ]
    for hour, (state, expected) in enumerate(story):
        schedule.change_step(record, "1/1", state)
        stamps.fill(record, {"1"}, NOW + timedelta(hours=hour))
        assert times(record.steps["1/1"]) == expected, state


def test_a_step_that_never_began_has_no_times() -> None:
    """Neither one that was skipped, nor one whose intent was written and that its host never began."""
    shape = shape_of(job(1, "servers/a", "servers/a"))
    record = record_of(shape)
    schedule.change_step(record, "1/1", StepState.STARTED)
    stamps.fill(record, {"1"}, NOW)
    for reference in ("1/1", "1/2"):
        schedule.change_step(record, reference, StepState.SKIPPED)
    stamps.fill(record, {"1"}, LATER)
    assert [times(step) for step in record.steps.values()] == [[None] * 4] * 2
