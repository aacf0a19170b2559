"""Decisions of people about an operation that is under way: kept in its record, told in its trail, and as events.

Who decided, what, when and why is durable in the commit that makes the decision count, so neither is there without the
other. An abort is a decision too, but only the first counts, and it stands last; see `abort_request`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from virtyard.api.type.v1.submission_pb2 import ReasonHop
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import stamps
from virtyard.jobs.control_events import event_of
from virtyard.jobs.model import Operation, job_name
from virtyard.kernel.event_types import EventType

__all__ = ["ACCEPTED", "RETRIED", "Decision", "hops_of", "note", "tell"]

KEPT = 50
"""How many decisions about an operation are kept: one that is retried for weeks must not grow without bound."""
RETRIED = "had what is refused tried again"
ACCEPTED = "accepted what is refused as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided about an operation, or about one job of it."""

    principal: str
    """The person, as user/admin."""
    reason: str = ""
    """Why, in the person's own words."""
    job: str = ""
    """The id in the plan of the job that it is about; empty if it is about the whole operation."""


def note(record: record_pb2.OperationRecord, asked: Decision, what: str) -> None:
    """Put a decision into a record.

    Args:
        record: of the operation; written in the commit that makes the decision count.
        asked: who decided, and why.
        what: the decision, in words that follow the person's name, as "set it aside".
    """
    about = f"{what} ({job_name(record.number, asked.job)})" if asked.job else what
    decision = record.decisions.add(job=asked.job)
    decision.hop.source = asked.principal
    decision.hop.reason = f"{about}: {asked.reason}" if asked.reason else about
    stamps.ask(decision.hop.time)
    del record.decisions[:-KEPT]


def hops_of(record: record_pb2.OperationRecord, job: str = "") -> Iterator[ReasonHop]:
    """Yield what was decided about an operation; of a job only what is about that one, or about all of it."""
    for decision in record.decisions:
        if not job or decision.job in ("", job):
            yield decision.hop


def tell(operation: Operation, asked: Decision, kind: EventType, what: str) -> control_service_pb2.RaiseEventsRequest:
    """Return the event of a decision about one job, on the object of that job; see `note`."""
    title = operation.shape.jobs[asked.job].title
    text = f"{asked.principal} {what} in {job_name(operation.number, asked.job)} ({title})"
    return event_of(operation, kind, text, asked.reason, asked.job)
