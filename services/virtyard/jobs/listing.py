"""Lists of jobs and operations, the newest first, a page at a time; and the six counters."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.jobs.archive import Bounds
from virtyard.jobs.job_rows import JobRow, Narrow
from virtyard.jobs.model import operation_number
from virtyard.jobs.render import render_operation
from virtyard.jobs.store import JobStore
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import Restriction, compile_filter, restrictions_of
from virtyard.kernel.job_states import JobState

_USUAL, _MOST = 100, 1000
_CHUNK = 500
_NEWEST = 1 << 62


def page_size_of(size: int) -> int:
    """Return how many items a page is to have.

    Raises:
        InvalidRequest: the size is negative.
    """
    if size < 0:
        raise InvalidRequest.of("page_size", f"{size} is not allowed; it must be 0 to {_MOST}")
    return min(size or _USUAL, _MOST)


def encode_page(filter_text: str, *place: int) -> str:
    """Return a page token: the place after which the next page begins, bound to the filter."""
    return base64.urlsafe_b64encode("\0".join([filter_text, *map(str, place)]).encode()).decode().rstrip("=")


def decode_page(token: str, filter_text: str, parts: int) -> tuple[int, ...]:
    """Return the place of a page token; the newest for an empty one.

    Raises:
        InvalidRequest: it is not a token of this list and filter.
    """
    if not token:
        return (_NEWEST,) * parts
    try:
        bound, *place = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split("\0")
        numbers = tuple(map(int, place))
    except (ValueError, binascii.Error):
        raise InvalidRequest.of("page_token", "is not the next_page_token of a page of this list") from None
    if bound != filter_text or len(numbers) != parts:
        raise InvalidRequest.of("page_token", "belongs to a list with another filter")
    return numbers


async def list_jobs(store: JobStore, request: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:
    """Return a page of jobs."""
    matches: Callable[[Message], bool] = compile_filter(request.filter, job_pb2.Job.DESCRIPTOR)
    size = page_size_of(request.page_size)
    operation, number = decode_page(request.page_token, request.filter, 2)
    narrow, source = narrow_of(request.filter), _source(store, request)
    answer = job_service_pb2.ListJobsResponse()
    while True:
        limit = max(_CHUNK, size + 1) if request.filter else size + 1
        rows = await source(operation, number, limit, narrow)
        for next_operation, next_number, body in rows:
            job = job_pb2.Job.FromString(body)
            if matches(job):
                if len(answer.jobs) == size:
                    answer.next_page_token = encode_page(request.filter, operation, number)
                    return answer
                answer.jobs.append(job)
            operation, number = next_operation, next_number
        if len(rows) < limit:
            return answer


def _source(
    store: JobStore, request: job_service_pb2.ListJobsRequest
) -> Callable[[int, int, int, Narrow | None], Awaitable[list[JobRow]]]:
    """Return what the rows are read by: the live jobs, or those of the archive within the filter's times."""
    restrictions, _ = restrictions_of(request.filter, job_pb2.Job.DESCRIPTOR)
    if not request.archived and ("archived", "=", True) not in {(r.path, r.operator, r.value) for r in restrictions}:
        return store.jobs_after
    return partial(store.archived_after, bounds=bounds_of(restrictions))


def bounds_of(restrictions: Iterable[Restriction]) -> Bounds:
    """Return the times between which a filter demands jobs to have been accepted, in whole seconds around them."""
    times = [each for each in restrictions if each.path == "create_time"]
    lower = [math.floor(each.value.timestamp()) for each in times if each.operator in ("=", ">", ">=")]
    upper = [math.ceil(each.value.timestamp()) for each in times if each.operator in ("=", "<", "<=")]
    return Bounds(since=max(lower, default=None), until=min(upper, default=None))


def narrow_of(text: str) -> Narrow | None:
    """Return what a filter demands of all jobs that an index can find, the rarest first."""
    restrictions, _ = restrictions_of(text, job_pb2.Job.DESCRIPTOR)
    equal = {each.path: each.value for each in restrictions if each.operator == "="}
    number = operation_number(str(equal.get("operation", "")))
    if number:
        return Narrow(column="operation", value=number)
    for column in ("object", "state"):
        if column in equal:
            return Narrow(column=column, value=equal[column])
    return None


async def list_operations(
    store: JobStore, request: operations_pb2.ListOperationsRequest
) -> operations_pb2.ListOperationsResponse:
    """Return a page of operations; the filter is over the fields of their metadata."""
    matches = compile_filter(request.filter, operation_pb2.OperationMetadata.DESCRIPTOR)
    size = page_size_of(request.page_size)
    (number,) = decode_page(request.page_token, request.filter, 1)
    answer = operations_pb2.ListOperationsResponse()
    while True:
        found = await store.operations_before(number, size + 1)
        for operation in found:
            rendered = render_operation(operation)
            if matches(operation_pb2.OperationMetadata.FromString(rendered.metadata.value)):
                if len(answer.operations) == size:
                    answer.next_page_token = encode_page(request.filter, number)
                    return answer
                answer.operations.append(rendered)
            number = operation.number
        if len(found) < size + 1:
            return answer


def summarise(counts: dict[int, int]) -> operation_pb2.JobSummary:
    """Return the six counters from how many jobs there are in each state."""
    return operation_pb2.JobSummary(
        total=sum(counts.values()),
        pending=counts.get(JobState.PENDING, 0) + counts.get(JobState.WAITING_FOR_LOCKS, 0),
        in_progress=counts.get(JobState.RUNNING, 0) + counts.get(JobState.ROLLING_BACK, 0),
        failed=counts.get(JobState.FAILED, 0) + counts.get(JobState.ROLLBACK_FAILED, 0),
        aborted=counts.get(JobState.ABORTED, 0),
        complete=counts.get(JobState.COMPLETED, 0),
    )
