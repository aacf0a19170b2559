"""Causes: on whose behalf an operation is submitted that nobody asked for at that moment, and what led to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.type.v1 import submission_pb2
from virtyard.jobs.model import Operation
from virtyard.runtime.database import Transaction

__all__ = ["MOST_HOPS", "Cause", "began_since", "hop"]

MOST_HOPS = 8
"""How long a chain of causes may become before a trigger adds nothing to it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What an operation comes from that no person submits."""

    origin: job_pb2.Origin.ValueType
    """The kind of cause."""
    trail: Sequence[submission_pb2.ReasonHop]
    """The chain of causes, the first one first; the last one is who submits."""
    also: Callable[[Transaction, Operation], None]
    """Writes in the operation's first commit what must not be durable without it, nor it without that (P31).

    Called too where the request id belongs to an operation that is there already; see `began_since`.
    """


def hop(source: str, reason: str, time: datetime) -> submission_pb2.ReasonHop:
    """Return one link of a chain of causes."""
    link = submission_pb2.ReasonHop(source=source, reason=reason)
    link.time.FromDatetime(time)
    return link


def began_since(operation: Operation, time: datetime) -> bool:
    """Return whether an operation was submitted at this time or later; False for one that a repetition has met."""
    return operation.record.create_time.ToDatetime(UTC) >= time
