"""What people do to jobs beside starting and aborting one: hold, release, set a priority, abort many by a filter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from virtyard.api.jobs.v1 import job_control_pb2 as pb
from virtyard.api.jobs.v1 import job_pb2
from virtyard.jobs import job_abort, schedule
from virtyard.jobs.abort_request import AbortRequest
from virtyard.jobs.job_abort import AbortAnswer
from virtyard.jobs.model import Operation
from virtyard.jobs.render import render_job
from virtyard.jobs.scheduler import Scheduler
from virtyard.kernel.errors import InvalidRequest, NotFound, Unavailable
from virtyard.kernel.filters import compile_filter

HIGHEST_PRIORITY = 20
"""Priorities are allowed from this number below 0 to this above."""
_WOULD, _ABORTING = pb.ABORT_RESULT_WOULD_ABORT, pb.ABORT_RESULT_ABORTING


class Control:
    """Steers the operations of one scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Steer what this scheduler runs."""
        self._scheduler = scheduler

    async def hold(self, number: int, principal: str, reason: str) -> None:
        """Set an operation aside; durable when this returns.

        Raises:
            NotFound, WrongState, Unavailable: see `Scheduler.running` and `Hold.put_on`.
        """
        await (await self._scheduler.running(number)).hold.put_on(principal, reason)

    async def release(self, number: int, principal: str, reason: str) -> None:
        """Let an operation go on that was set aside; durable when this returns.

        Raises:
            NotFound, WrongState, Unavailable: see `Scheduler.running` and `Hold.lift`.
        """
        await (await self._scheduler.running(number)).hold.lift(principal, reason)

    async def set_priority(self, number: int, priority: int, principal: str, reason: str) -> None:
        """Give an operation another priority; durable when this returns.

        Raises:
            InvalidRequest: there is no such priority.
            NotFound, WrongState, Unavailable: see `Scheduler.running` and `Ranking.change`.
        """
        if abs(priority) > HIGHEST_PRIORITY:
            raise InvalidRequest.of("priority", f"{priority} is not allowed; it must be -20 to 20")
        await (await self._scheduler.running(number)).ranking.change(priority, principal, reason)

    async def abort(self, number: int, asked: AbortRequest, *, preview: bool = False) -> AbortAnswer:
        """Abort an operation, or a job of it, or tell what that would come to; durable when this returns.

        Raises:
            NotFound, WrongState, Unavailable: see `Scheduler.abort`.
        """
        operation = self._scheduler.find(number)
        expected = (
            job_abort.ending(operation.shape, operation.record, asked.job) if operation else AbortAnswer(in_time=False)
        )
        if preview:
            return expected
        in_time = await self._scheduler.abort(number, asked)
        return AbortAnswer(in_time=in_time, jobs=expected.jobs if in_time else ())

    async def abort_all(self, request: pb.AbortJobsRequest, principal: str) -> pb.AbortJobsResponse:
        """Abort every operation with a job that has not ended and matches, or tell what that would come to.

        The reason that each operation ends with names who asked.

        Raises:
            InvalidRequest: the filter is missing or wrong; nothing was aborted.
        """
        if not request.filter.strip():
            allowed = "say which jobs, as 'title = \"Create Virtual Disk\"'; 'done = false' is all of them"
            raise InvalidRequest.of("filter", f"is required: {allowed}")
        matches = compile_filter(request.filter, job_pb2.Job.DESCRIPTOR)
        found: list[tuple[Operation, list[pb.JobAbort]]] = []
        for operation in self._scheduler.open_operations():
            jobs = [job for planned in operation.shape.plan.jobs if not (job := render_job(operation, planned)).done]
            matching = {job.name for job in jobs if matches(job)}
            if matching:
                result = _expected(operation)
                found.append((operation, list(_rows(jobs, matching, result))))
        if not request.validate_only:
            asked = AbortRequest(principal=principal, reason=request.reason or "with all that match a filter")
            await asyncio.gather(*(self._abort(operation, rows, asked) for operation, rows in found))
        return pb.AbortJobsResponse(jobs=[row for _, rows in found for row in rows])

    async def _abort(self, operation: Operation, rows: list[pb.JobAbort], asked: AbortRequest) -> None:
        if rows[0].result != _WOULD:
            return
        try:
            in_time = await self._scheduler.abort(operation.number, asked)
            result = _ABORTING if in_time else pb.ABORT_RESULT_TOO_LATE
        except (Unavailable, NotFound):
            result = pb.ABORT_RESULT_NOT_RUN_YET
        for row in rows:
            row.result = result


def _expected(operation: Operation) -> pb.AbortResult.ValueType:
    """Return what an abort of an operation would come to now."""
    record = operation.record
    if record.too_late or schedule.pivot_started(operation.shape, record):
        return pb.ABORT_RESULT_TOO_LATE
    if record.abort_requested:
        return pb.ABORT_RESULT_ALREADY_ABORTING
    return pb.ABORT_RESULT_ROLLING_BACK if record.rolling_back else _WOULD


def _rows(jobs: list[job_pb2.Job], matching: set[str], result: pb.AbortResult.ValueType) -> Iterator[pb.JobAbort]:
    for job in jobs:
        yield pb.JobAbort(
            job=job.name,
            title=job.title,
            object=job.object,
            state=job.state,
            result=result,
            matches=job.name in matching,
        )
