"""The flag of an operation that is set aside: one reason at a time, and a filter's is the weakest."""

from __future__ import annotations

import pytest

from virtyard.api.jobs.v1 import hold_pb2, job_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import hold_flag


@pytest.mark.parametrize("held", [job_pb2.HELD_REASON_POISON, job_pb2.HELD_REASON_BROKEN, job_pb2.HELD_REASON_PERSON])
def test_a_filter_takes_nobodys_place(held: job_pb2.HeldReason.ValueType) -> None:
    """Whoever decided to keep one back did not know that it would be set aside before that was committed."""
    record = record_pb2.OperationRecord(held=held, hold=hold_pb2.Hold(principal="user/ann", reason="let me look"))
    before = record_pb2.OperationRecord.FromString(record.SerializeToString())
    assert hold_flag.is_aside(record)
    hold_flag.keep_back(record, "filters/calm")
    assert record == before


def test_a_filter_takes_the_place_of_another() -> None:
    """It is named, since when it keeps it back is filled in by the commit, and nobody has set the operation aside."""
    record = record_pb2.OperationRecord()
    for name in ("filters/calm", "filters/slow"):
        hold_flag.keep_back(record, name)
        assert (record.held, record.hold.principal) == (job_pb2.HELD_REASON_FILTER, name)
        assert record.hold.HasField("time")
        assert not hold_flag.is_aside(record)
