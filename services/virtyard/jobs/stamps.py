"""The times in an operation's record: asked for by what decides, and given by the process's clock at the commit (P33).

Decisions are pure and have no clock; whoever commits a record has one. So a time that is due is marked, as a time that
is there and says nothing, and filled in by the keeper before the commit. All times of one commit are the same.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.internal.jobs.v1 import record_pb2
from virtyard.kernel.job_states import StepState

__all__ = ["ask", "ask_step", "fill"]

_ASKED = Timestamp()


def ask(stamp: Timestamp) -> None:
    """Mark a time of a record as due with the commit that the change is part of."""
    stamp.CopyFrom(_ASKED)


def ask_step(step: record_pb2.StepRecord, state: StepState) -> None:
    """Mark the time of a step that is due with a change of its state; one that never began has none."""
    match state:
        case StepState.STARTED:
            ask(step.start_time)
            step.ClearField("end_time")
        case StepState.DONE | StepState.FAILED:
            ask(step.end_time)
        case StepState.UNDOING:
            ask(step.undo_start_time)
            step.ClearField("undo_end_time")
        case StepState.UNDONE | StepState.UNDO_FAILED:
            ask(step.undo_end_time)
        case _:
            step.ClearField("start_time")


def fill(record: record_pb2.OperationRecord, jobs: Collection[str], now: datetime) -> None:
    """Give the times that were asked for since the last commit.

    Args:
        record: the record that is about to be committed.
        jobs: the jobs that may have changed, they or steps of them.
        now: the present time by the process's clock.
    """
    stamps = [record.end_time] if record.HasField("end_time") else []
    if record.HasField("abort_hop") and record.abort_hop.HasField("time"):
        stamps.append(record.abort_hop.time)
    if record.HasField("hold") and record.hold.HasField("time"):
        stamps.append(record.hold.time)
    stamps += [each.hop.time for each in record.decisions]
    for job in jobs:
        own = record.jobs[job]
        stamps += [getattr(own, field) for field in ("start_time", "end_time") if own.HasField(field)]
        stamps += [own.abort_hop.time] if own.HasField("abort_hop") else []
    for reference, step in record.steps.items():
        if reference.partition("/")[0] in jobs:
            stamps += _of_step(step)
    for stamp in stamps:
        if stamp == _ASKED:
            stamp.FromDatetime(now)


def _of_step(step: record_pb2.StepRecord) -> list[Timestamp]:
    return [
        getattr(step, field)
        for field in ("start_time", "end_time", "undo_start_time", "undo_end_time")
        if step.HasField(field)
    ]
