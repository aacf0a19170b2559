"""The request to abort one operation: who asked and why, kept in its record, told in its trail, and as an event.

The first request counts; a later one changes nothing and leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.rpc import code_pb2, status_pb2

from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule, stamps
from virtyard.jobs.control_events import event_of
from virtyard.jobs.model import Operation, Shape
from virtyard.jobs.preemption import is_bound
from virtyard.kernel import event_types
from virtyard.kernel.errors import Cancelled
from virtyard.runtime.status import to_status

__all__ = ["AbortRequest", "cancelled_status", "must_abort", "note", "note_left_alone", "note_yield", "tell"]

Record = record_pb2.OperationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortRequest:
    """Who or what wants an operation aborted."""

    principal: str = ""
    """The person who asked, as user/admin; empty if it was none."""
    cause: str = ""
    """What asked if it was no person: the word deadline."""
    reason: str = ""
    """Why, in the person's own words."""
    job: str = ""
    """The id in the plan of the job to abort with what is lost without it; empty for the whole operation."""


def note(record: Record, asked: AbortRequest, shape: Shape) -> bool:
    """Put a request into a record, and whether it came too late; tell if it is the first one."""
    if record.abort_requested:
        return False
    record.abort_requested, record.abort_reason, record.abort_cause = True, asked.reason, asked.cause
    record.too_late = schedule.pivot_started(shape, record) or is_bound(record)
    _add_hop(record, asked.principal or asked.cause, asked.reason)
    return True


def must_abort(record: Record) -> bool:
    """Tell whether an operation goes back, as an abort was asked for in time."""
    return record.abort_requested and not record.too_late


def note_yield(record: Record, by: str) -> None:
    """Put into a record that its operation has to yield to another one (P12)."""
    record.abort_requested, record.superseded_by = True, by
    if not record.HasField("abort_hop"):
        _add_hop(record, by, "it yields to that")


def note_left_alone(record: Record) -> None:
    """Put into a record that what its operation had to yield to is gone, so that it is undone like any aborted one."""
    by, record.superseded_by = record.superseded_by, ""
    if record.abort_hop.source == by:
        record.abort_reason = f"it yielded to {by}, which did not take over"
    record.error.CopyFrom(cancelled_status(record))


def tell(operation: Operation, asked: AbortRequest, *, first: bool) -> control_service_pb2.RaiseEventsRequest:
    """Return the event that a person asked, whatever comes of it; none of a request that changed nothing."""
    if not first or not asked.principal:
        return control_service_pb2.RaiseEventsRequest()
    late = ", too late" if operation.record.too_late else ""
    text = f"{asked.principal} asked to abort {operation.name} ({operation.record.title}){late}"
    return event_of(operation, event_types.ABORT_REQUESTED, text, asked.reason)


def cancelled_status(record: Record) -> status_pb2.Status:
    """Return the error of an operation that somebody aborted, or that had to yield."""
    if record.superseded_by:
        by = record.superseded_by
        return to_status(Cancelled(f"superseded by {by}", metadata={"superseded_by": by}))
    if record.abort_cause:
        cause = {"cause": record.abort_cause}
        return to_status(Cancelled(f"aborted, as {record.abort_reason}", metadata=cause))
    reason = f": {record.abort_reason}" if record.abort_reason else ""
    # One that was asked for before the request was kept has no hop.
    who = f" ({record.abort_hop.source})" if record.HasField("abort_hop") else ""
    return status_pb2.Status(code=code_pb2.CANCELLED, message=f"aborted on request{reason}{who}")


def _add_hop(record: Record, source: str, reason: str) -> None:
    record.abort_hop.source, record.abort_hop.reason = source, reason
    stamps.ask(record.abort_hop.time)
