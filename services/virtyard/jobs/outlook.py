"""The outlook on an operation at a moment: how far it is, and when it and its jobs are expected to end.

The one formula for that: a step that is measured goes on at its rate, and everything else as fast as the whole came
this far, weight for weight. It says nothing while too little is done to tell, nor of what does not go on by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta

from virtyard.api.jobs.v1 import operation_pb2, plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import waiting
from virtyard.jobs.acceptance import refusals
from virtyard.jobs.model import Operation, Outlook
from virtyard.jobs.progress import job_percent, operation_percent, operation_progress
from virtyard.kernel.job_states import JobState, StepState

__all__ = ["began", "by_progress", "goes_on", "job_end", "operation_end", "take"]

_LEAST_PERCENT, _LEAST_SECONDS = 5.0, 1.0
"""With less done, or in less time, nothing can be told from progress."""


def take(operation: Operation, now: datetime) -> Outlook:
    """Return the outlook on an operation at a moment."""
    progress = operation_progress(operation)
    steady = goes_on(operation)
    end = operation_end(operation, now, progress.percent) if steady else None
    if end is not None:
        progress.expected_end_time.FromDatetime(end)
    return Outlook(time=now, progress=progress, steady=steady)


def goes_on(operation: Operation) -> bool:
    """Tell whether an operation runs forward, and nothing but its own work keeps it from its end."""
    record = operation.record
    if record.rolling_back or record.held or record.state != operation_pb2.OPERATION_STATE_ACTIVE:
        return False
    if operation.contact_lost and waiting.silent_servers(operation):
        return False
    troubled = False
    for own in record.steps.values():
        if own.stalled:
            return False
        troubled = troubled or own.HasField("error")
    # What is refused past the pivot is tried again and again, and waits for a person all the same.
    return not troubled or not any(refusals(operation, job) for job in operation.shape.plan.jobs)


def operation_end(operation: Operation, now: datetime, percent: float | None = None) -> datetime | None:
    """Return when an operation that goes on is expected to end; None if nothing can be told.

    Args:
        operation: which.
        now: the present time.
        percent: how far it is, from 0 to 100, if the caller knows that.
    """
    rated = dict(_rated(operation, operation.shape.jobs.keys()))
    ahead = now + timedelta(seconds=max(rated.values(), default=0.0))
    if rated or percent is None:
        percent = operation_percent(operation, rated.keys())
    return _end(percent, began(operation.record), ahead, measured=bool(rated))


def job_end(operation: Operation, planned: plan_pb2.PlannedJob, outlook: Outlook) -> datetime | None:
    """Return when a job of an operation is expected to end, its children included; None if nothing can be told."""
    own = operation.record.jobs[planned.id]
    if not outlook.steady or int(own.state) != JobState.RUNNING or not own.HasField("start_time"):
        return None
    rated = dict(_rated(operation, set(_family(operation, planned))))
    ahead = outlook.time + timedelta(seconds=max(rated.values(), default=0.0))
    percent = job_percent(operation, planned, rated.keys())
    return _end(percent, own.start_time.ToDatetime(UTC), ahead, measured=bool(rated))


def by_progress(percent: float, begun: datetime, now: datetime) -> datetime | None:
    """Return when something ends that goes on as fast as it came this far; None if too little is done to tell.

    Args:
        percent: how much is done, from 0 to 100.
        begun: when it began.
        now: the time at which that much is done.
    """
    spent = (now - begun).total_seconds()
    if not _LEAST_PERCENT <= percent < 100 or spent < _LEAST_SECONDS:
        return None
    return now + timedelta(seconds=spent * (100 - percent) / percent)


def began(record: record_pb2.OperationRecord) -> datetime | None:
    """Return when the first step of an operation began; None if none has."""
    starts = [job.start_time.ToDatetime(UTC) for job in record.jobs.values() if job.HasField("start_time")]
    return min(starts, default=None)


def _end(percent: float, begun: datetime | None, ahead: datetime, *, measured: bool) -> datetime | None:
    """Return the end by how far it will be at a time ahead, up to which it is measured."""
    if begun is None:
        return None
    if measured and percent >= 100:
        return ahead
    return by_progress(percent, begun, ahead)


def _rated(operation: Operation, jobs: AbstractSet[str]) -> Iterator[tuple[str, float]]:
    """Yield the steps of some jobs that are under way at a known rate, each with the seconds that it still takes."""
    steps = operation.record.steps
    for reference, live in operation.progress.items():
        if live.units_per_second <= 0 or live.total_units <= 0 or reference.partition("/")[0] not in jobs:
            continue
        if reference in steps and int(steps[reference].state) == StepState.STARTED:
            yield reference, max(live.total_units - live.done_units, 0) / live.units_per_second


def _family(operation: Operation, planned: plan_pb2.PlannedJob) -> Iterator[str]:
    yield planned.id
    for child in operation.shape.children.get(planned.id, ()):
        yield from _family(operation, child)
