"""The flag of an operation that is set aside, on its record and on what people see of it (P20)."""

from __future__ import annotations

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.internal.jobs.v1 import record_pb2


def clear(record: record_pb2.OperationRecord) -> None:
    """Take the flag off a record: what goes back is not held."""
    record.ClearField("held")
    record.ClearField("hold")


def show(record: record_pb2.OperationRecord, shown: job_pb2.Job | operation_pb2.OperationMetadata) -> None:
    """Show who set an operation aside, on it or on a job of it, until it has ended."""
    if record.HasField("hold") and record.state == operation_pb2.OPERATION_STATE_ACTIVE:
        shown.hold.CopyFrom(record.hold)
