"""The wait of an operation for its locks: known to the scheduler that asks, and written with the next commit there is.

All locks of an operation are asked for and granted at once, so its jobs share one wait. It is asked for before anything
of it is durable but its acceptance; who adopts it asks anew, and the wait that is told begins there.
"""

from __future__ import annotations

from datetime import datetime

from virtyard.api.jobs.v1 import job_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import LockWait, Operation

__all__ = ["asked", "fill", "granted", "show"]


def asked(operation: Operation, now: datetime) -> None:
    """Note that the locks are asked for; where they are for another plan, the wait goes on from the first time."""
    begin = operation.lock_wait.begin if operation.lock_wait is not None else now
    operation.lock_wait = LockWait(begin=begin)


def granted(operation: Operation, now: datetime) -> None:
    """Note that the locks that were asked for are granted."""
    if operation.lock_wait is not None:
        operation.lock_wait = LockWait(begin=operation.lock_wait.begin, end=now)


def fill(record: record_pb2.OperationRecord, operation: Operation) -> None:
    """Put what is known of the wait into a record that is about to be committed."""
    wait = operation.lock_wait
    if wait is None:
        return
    record.lock_request_time.FromDatetime(wait.begin)
    record.ClearField("lock_grant_time")
    if wait.end is not None:
        record.lock_grant_time.FromDatetime(wait.end)


def show(operation: Operation, job: job_pb2.Job) -> None:
    """Show the wait in a job: as it is durable, or while it lasts as it is known."""
    record = operation.record
    if record.HasField("lock_request_time"):
        job.lock_request_time.CopyFrom(record.lock_request_time)
    elif operation.lock_wait is not None:
        job.lock_request_time.FromDatetime(operation.lock_wait.begin)
    if record.HasField("lock_grant_time"):
        job.lock_grant_time.CopyFrom(record.lock_grant_time)
