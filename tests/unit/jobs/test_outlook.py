"""The expected end: in proportion to what is done, by rate where a step is measured, none of what does not go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.jobs.plans import done, job, operation_of, shape_of
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import outlook, schedule, stamps
from virtyard.jobs.model import Operation, Outlook, Shape
from virtyard.jobs.outlook import by_progress
from virtyard.jobs.render import render_job, render_metadata

BEGUN = datetime(2030, 1, 1, 12, tzinfo=UTC)
ONE = shape_of(job(1, "servers/a", "servers/a"))
FAMILY = shape_of(job(1, "inventory"), job(2, "servers/a", after=[1]), job(3, "servers/b", "servers/b", after=[1]))


def after(seconds: float) -> datetime:
    """Return a time after the beginning."""
    return BEGUN + timedelta(seconds=seconds)


def begun(shape: Shape = ONE) -> Operation:
    """Return an operation whose first steps were intended at the beginning."""
    operation = operation_of(shape)
    schedule.advance(shape, operation.record)
    stamps.fill(operation.record, shape.jobs, BEGUN)
    return operation


def tell(operation: Operation, reference: str, of: int, total: int, rate: float = 0.0) -> None:
    """Let a step tell how far it is."""
    operation.progress[reference] = participant.Progress(
        percent=100 * of / total, done_units=of, total_units=total, units_per_second=rate
    )


def end_of(view: Outlook) -> datetime | None:
    """Return when the operation is expected to end."""
    progress = view.progress
    return progress.expected_end_time.ToDatetime(UTC) if progress.HasField("expected_end_time") else None


def test_what_goes_on_as_it_did_ends_in_proportion() -> None:
    """A quarter in a minute leaves three minutes."""
    assert by_progress(25, BEGUN, after(60)) == after(240)
    operation = begun()
    tell(operation, "1/1", 50, 100)
    assert end_of(outlook.take(operation, after(60))) == after(240)


@pytest.mark.parametrize(("percent", "spent"), [(0, 60), (4.9, 60), (100, 60), (50, 0.5), (50, -60)])
def test_too_little_progress_tells_nothing(percent: float, spent: float) -> None:
    """Hardly begun, all done, in no time, or by a clock that was set back."""
    assert by_progress(percent, BEGUN, after(spent)) is None


def test_a_measured_step_goes_on_at_its_rate_and_the_rest_at_the_pace_of_the_whole() -> None:
    """Half of the first of two steps after 100 s, and 10 s to its end: 110 s for one half, so 110 s for the other."""
    operation = begun()
    tell(operation, "1/1", 500, 1000, rate=50)
    assert end_of(outlook.take(operation, after(100))) == after(220)


def test_the_last_step_ends_by_its_rate_alone() -> None:
    """However long the others took, and however little of it is done."""
    operation = begun()
    done(operation.record, "1/1")
    schedule.advance(ONE, operation.record)
    tell(operation, "1/2", 10, 1000, rate=10)
    assert end_of(outlook.take(operation, after(3600))) == after(3600 + 99)


def test_a_rate_counts_only_while_its_step_is_under_way() -> None:
    """What the first step told last says nothing of the second."""
    operation = begun()
    tell(operation, "1/1", 10, 1000, rate=10)
    done(operation.record, "1/1")
    schedule.advance(ONE, operation.record)
    assert end_of(outlook.take(operation, after(60))) == after(120)


def test_steps_beside_each_other_are_over_with_the_slower_one() -> None:
    """Two hosts work at once: the whole is ahead by the longer of both."""
    operation = begun(FAMILY)
    done(operation.record, "1/1")
    schedule.advance(FAMILY, operation.record)
    stamps.fill(operation.record, FAMILY.jobs, after(50))
    tell(operation, "2/1", 0, 100, rate=10)
    tell(operation, "3/1", 0, 100, rate=2)
    # Three quarters after 100 + 50 s, one more quarter takes 50 s.
    assert end_of(outlook.take(operation, after(100))) == after(200)


def test_a_job_has_an_end_of_its_own() -> None:
    """Each by its own steps and its own beginning; one that has not begun, or is through, has none."""
    operation = begun(FAMILY)
    done(operation.record, "1/1")
    schedule.advance(FAMILY, operation.record)
    stamps.fill(operation.record, FAMILY.jobs, after(100))
    tell(operation, "2/1", 50, 100)
    tell(operation, "3/1", 0, 100, rate=2)
    operation.outlook = outlook.take(operation, after(130))
    first, second, third = (render_job(operation, planned) for planned in FAMILY.plan.jobs)
    assert not first.progress.HasField("expected_end_time")
    assert not first.HasField("operation_progress")
    assert second.progress.expected_end_time.ToDatetime(UTC) == after(160)
    # It is half through after 30 + 50 s, and takes 80 s more.
    assert third.progress.expected_end_time.ToDatetime(UTC) == after(130 + 50 + 80)
    metadata = render_metadata(operation)
    for shown in (second, third):
        assert shown.operation_progress.percent == metadata.progress.percent == 37.5
        assert shown.operation_progress.expected_end_time == metadata.progress.expected_end_time
        assert shown.operation_progress.update_time.ToDatetime(UTC) == after(130)


def _held(operation: Operation) -> None:
    operation.record.held = job_pb2.HELD_REASON_PERSON


def _rolls_back(operation: Operation) -> None:
    operation.record.rolling_back = True


def _is_silent(operation: Operation) -> None:
    operation.contact_lost = frozenset({"servers/a"})


def _stalls(operation: Operation) -> None:
    operation.record.steps["1/1"].stalled = True


def _ended(operation: Operation) -> None:
    operation.record.state = operation_pb2.OPERATION_STATE_FAILED


@pytest.mark.parametrize("stop", [_held, _rolls_back, _is_silent, _stalls, _ended])
def test_what_does_not_go_on_by_itself_has_no_end_in_sight(stop: Callable[[Operation], None]) -> None:
    """Neither the operation nor its job says one, whatever their rate was."""
    operation = begun()
    tell(operation, "1/1", 500, 1000, rate=50)
    operation.outlook = outlook.take(operation, after(100))
    assert end_of(operation.outlook) is not None
    assert render_job(operation, ONE.jobs["1"]).progress.HasField("expected_end_time")
    stop(operation)
    operation.outlook = outlook.take(operation, after(100))
    assert end_of(operation.outlook) is None
    assert not render_job(operation, ONE.jobs["1"]).progress.HasField("expected_end_time")


def test_what_is_only_read_says_how_far_it_is_and_no_end() -> None:
    """As one that no scheduler runs: when it was so is not known, and it is older than any news."""
    operation = begun()
    done(operation.record, "1/1")
    shown = render_job(operation, ONE.jobs["1"]).operation_progress
    assert shown.percent == 50
    assert not shown.HasField("expected_end_time")
    assert shown.update_time == operation.record.create_time
