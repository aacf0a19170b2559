"""The chain of causes of operations and jobs: who or what asked, the operation, the jobs above a job, and who decided.

An operation that a person asked for begins with that person. For any other its record has the hops up to its
submission; whoever submits it knows them. Behind these stands what people decided while it was under way, and at last
who aborted it.
"""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.type.v1.submission_pb2 import ReasonHop
from virtyard.jobs import decisions
from virtyard.jobs.model import Operation, job_name

__all__ = ["causes_of"]


def causes_of(operation: Operation, planned: plan_pb2.PlannedJob | None = None) -> list[ReasonHop]:
    """Return the chain of an operation, or of a job of it, the first cause first."""
    record = operation.record
    last = [record.abort_hop] if record.HasField("abort_hop") else []
    hops = list(record.reason_trail) or [
        ReasonHop(source=record.principal, reason=record.options.reason, time=record.create_time)
    ]
    if planned is None:
        return [*hops, *decisions.hops_of(record), *last]
    hops.append(ReasonHop(source=operation.name, reason=record.title, time=record.create_time))
    above: list[ReasonHop] = []
    parent = planned.parent
    while parent:
        cause = operation.shape.jobs[parent]
        began: Timestamp | None = record.jobs[parent].start_time if record.jobs[parent].HasField("start_time") else None
        above.append(ReasonHop(source=job_name(record.number, parent), reason=cause.title, time=began))
        parent = cause.parent
    own = record.jobs[planned.id]
    last = [own.abort_hop, *last] if own.HasField("abort_hop") else last
    return [*hops, *above[::-1], *decisions.hops_of(record, planned.id), *last]
