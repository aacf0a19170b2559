"""The export of the history: live jobs, then archived ones, each with what the event log still has of it.

Jobs go from one to the other meanwhile, always the oldest live ones, and the archive is read last: none is left out,
and what was told as live is not told again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2
from virtyard.jobs.listing import bounds_of
from virtyard.jobs.store import JobStore
from virtyard.kernel.filters import compile_filter, restrictions_of
from virtyard.kernel.time_filters import filter_of

__all__ = ["ReadEvents", "export_jobs"]

ReadEvents = Callable[[str], Awaitable[Sequence[event_pb2.Event]]]
"""Reads the events of an operation, the oldest first."""
_PAGE = 200
_NEWEST = 1 << 62


async def export_jobs(
    store: JobStore, read_events: ReadEvents, request: job_service_pb2.ExportJobsRequest
) -> AsyncIterator[job_service_pb2.ExportJobsResponse]:
    """Yield every job that the request asks for, the newest operation first.

    Raises:
        InvalidRequest: the filter cannot be read, or the times are the wrong way round.
    """
    wanted = filter_of(request, job_pb2.Job.DESCRIPTOR)
    matches = compile_filter(wanted, job_pb2.Job.DESCRIPTOR)
    told: set[str] = set()
    events: dict[str, list[event_pb2.Event]] = {}
    operation = ""
    async for job in _jobs(store, wanted):
        if not matches(job) or job.name in told:
            continue
        if not job.archived:
            told.add(job.name)
        if job.operation != operation:
            operation = job.operation
            events = {}
            for event in await read_events(operation):
                events.setdefault(event.job or f"jobs/{operation.partition('/')[2]}-1", []).append(event)
        yield job_service_pb2.ExportJobsResponse(job=job, events=events.get(job.name, ()))


async def _jobs(store: JobStore, wanted: str) -> AsyncIterator[job_pb2.Job]:
    restrictions, _ = restrictions_of(wanted, job_pb2.Job.DESCRIPTOR)
    bounds = bounds_of(restrictions)

    async def archived(operation: int, number: int, limit: int) -> list[tuple[int, int, bytes]]:
        return await store.archived_after(operation, number, limit, bounds=bounds)

    for source in (store.jobs_after, archived):
        operation = number = _NEWEST
        while True:
            rows = await source(operation, number, _PAGE)
            for _, _, body in rows:
                yield job_pb2.Job.FromString(body)
            if len(rows) < _PAGE:
                break
            operation, number, _ = rows[-1]
