"""The pause between two tries of a step: it grows with their number, and what is left of it outlives the scheduler.

Pure. The time of the next try is written with its intent, so it costs no commit. It is capped by the longest pause when
it is read, as a clock may have jumped while nobody ran (P33).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from virtyard.internal.jobs.v1 import record_pb2

__all__ = ["note", "pause_of", "remaining"]

_MOST_DOUBLINGS = 10


def pause_of(attempt: int, *, first: float, longest: float) -> float:
    """Return the pause before an attempt, in seconds: it doubles with each, from `first` seconds on."""
    return min(first * float(2 ** min(attempt, _MOST_DOUBLINGS)), longest)


def note(step: record_pb2.StepRecord, now: datetime, pause: float) -> None:
    """Note in a step when its next try is due, `pause` seconds from now."""
    step.retry_time.FromDatetime(now + timedelta(seconds=pause))


def remaining(record: record_pb2.OperationRecord, reference: str, now: datetime, *, longest: float) -> float:
    """Return for how many seconds yet a step is to wait for its next try, at most `longest`; 0 if it is due.

    An operation that is on trial waits for nothing: what it does is to be seen while it is tried (P21).
    """
    step = record.steps[reference]
    if record.trying or not step.HasField("retry_time"):
        return 0.0
    return min(max((step.retry_time.ToDatetime(UTC) - now).total_seconds(), 0.0), longest)
