"""The flag of an operation that is set aside, on its record and on what people see of it (P20)."""

from __future__ import annotations

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import stamps

FILTER = job_pb2.HELD_REASON_FILTER


def keep_back(record: record_pb2.OperationRecord, name: str) -> None:
    """Put the flag on for a filter; one that something else holds is held for that alone."""
    if record.held in (job_pb2.HELD_REASON_UNSPECIFIED, FILTER):
        record.held = FILTER
        record.hold.Clear()
        record.hold.principal = name
        stamps.ask(record.hold.time)


def is_aside(record: record_pb2.OperationRecord) -> bool:
    """Tell whether an operation is set aside by something else than a filter."""
    return bool(record.held) and record.held != FILTER


def clear(record: record_pb2.OperationRecord) -> None:
    """Take the flag off a record: what goes back is not held, but that its locks were broken stays to be seen."""
    if record.held == job_pb2.HELD_REASON_BROKEN:
        return
    record.ClearField("held")
    record.ClearField("hold")


def show(record: record_pb2.OperationRecord, shown: job_pb2.Job | operation_pb2.OperationMetadata) -> None:
    """Show the flag on an operation that has not ended, or on a job of it, completed ones too: they may be undone."""
    if not record.held or record.state != operation_pb2.OPERATION_STATE_ACTIVE:
        return
    shown.held = record.held
    if record.HasField("hold"):
        shown.hold.CopyFrom(record.hold)
