"""What the scheduler shows in metrics: jobs by type and state, and how long they took; a type is a title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.jobs.model import Operation
from virtyard.kernel.job_states import JobState
from virtyard.runtime.metrics import Metrics

__all__ = ["observe_end", "show_open"]

_STATE = "OPERATION_STATE_"


def observe_end(metrics: Metrics, operation: Operation) -> None:
    """Count an operation that has ended, and its jobs."""
    record = operation.record
    ended = operation_pb2.OperationState.Name(record.state).removeprefix(_STATE)
    metrics.operation_duration.observe(_seconds(record.create_time, record.end_time), record.title, ended)
    for job in operation.shape.plan.jobs:
        kept = record.jobs[job.id]
        began = kept.start_time if kept.HasField("start_time") else kept.end_time
        metrics.job_duration.observe(_seconds(began, kept.end_time), job.title, JobState(kept.state).name)


def show_open(metrics: Metrics, operations: Iterable[Operation]) -> None:
    """Set the gauges to what is being run."""
    found: Counter[tuple[str, ...]] = Counter()
    count = 0
    for operation in operations:
        count += 1
        jobs = operation.shape.jobs
        found.update((jobs[job].title, JobState(kept.state).name) for job, kept in operation.record.jobs.items())
    metrics.jobs.replace(found)
    metrics.operations_running.set(count)


def _seconds(began: Timestamp, ended: Timestamp) -> float:
    """Return the seconds between two times; a clock that was set back in between makes none."""
    return max(0.0, (ended.ToNanoseconds() - began.ToNanoseconds()) / 1e9)
