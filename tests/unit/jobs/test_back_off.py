"""The pause between two tries: how long it is, and what is left of it later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import back_off

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_a_pause_doubles_up_to_the_longest() -> None:
    """In seconds, for the attempt that it comes before."""
    pauses = [back_off.pause_of(attempt, first=0.5, longest=9.0) for attempt in (1, 2, 3, 4, 5, 5000)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 9.0, 9.0]


@pytest.mark.parametrize(("later", "left"), [(0, 8.0), (3, 5.0), (8, 0.0), (900, 0.0), (-900, 30.0)])
def test_what_is_left_is_never_more_than_the_longest_nor_below_zero(later: int, left: float) -> None:
    """Also where the clock was set back in between; a step that waits for no try is due at once."""
    record = record_pb2.OperationRecord()
    assert back_off.remaining(record, "1/1", NOW, longest=30.0) == 0.0
    back_off.note(record.steps["1/1"], NOW, 8.0)
    assert back_off.remaining(record, "1/1", NOW + timedelta(seconds=later), longest=30.0) == left


def test_on_trial_nothing_is_waited_for() -> None:
    """Else what brings the scheduler down would do so after its trial, and never be found."""
    record = record_pb2.OperationRecord(trying=True)
    back_off.note(record.steps["1/1"], NOW, 8.0)
    assert back_off.remaining(record, "1/1", NOW, longest=30.0) == 0.0
