"""The services of the scheduler as they are called: jobs, operation types, and google.longrunning.Operations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, cast

from google.longrunning import operations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from virtyard.api.jobs.v1 import job_control_pb2, job_pb2, job_service_pb2, operation_pb2, wait_explanation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs import listing, watch
from virtyard.jobs.abort_request import AbortRequest
from virtyard.jobs.automatic import InnerRequests
from virtyard.jobs.control import Control
from virtyard.jobs.decisions import Decision
from virtyard.jobs.explaining import Explainer, person_of
from virtyard.jobs.export import ReadEvents, export_jobs
from virtyard.jobs.model import Operation, job_name
from virtyard.jobs.render import render_job, render_operation
from virtyard.jobs.scheduler import Scheduler
from virtyard.jobs.store import JobStore
from virtyard.jobs.submission import Submission
from virtyard.jobs.summaries import JobSummaries
from virtyard.kernel.any import type_of, unpack
from virtyard.kernel.errors import InvalidRequest, NotFound, Unsupported
from virtyard.kernel.permissions import Principal, permit
from virtyard.runtime import telemetry
from virtyard.runtime.call import Call
from virtyard.runtime.feed import Feed
from virtyard.runtime.rpc import role_of

_JOB = re.compile(r"jobs/(\d{1,18})-(\d{1,9})")
_OPERATION = re.compile(r"operations/(\d{1,18})")
_LONGEST_WAIT = 3600.0


def operation_number(name: str) -> int:
    """Return the number of an operation's name.

    Raises:
        InvalidRequest: it is not the name of an operation.
    """
    match = _OPERATION.fullmatch(name)
    if match is None:
        raise InvalidRequest.of("name", f"{name!r} is not the name of an operation; allowed is operations/NUMBER")
    return int(match[1])


def job_numbers(name: str) -> tuple[int, int]:
    """Return the operation's and the job's number of a job's name.

    Raises:
        InvalidRequest: it is not the name of a job.
    """
    match = _JOB.fullmatch(name)
    if match is None:
        raise InvalidRequest.of("name", f"{name!r} is not the name of a job; allowed is jobs/NUMBER-NUMBER")
    return int(match[1]), int(match[2])


def _decision(
    request: job_service_pb2.RetryJobRequest | job_service_pb2.AcceptJobRequest, job: int, call: Call
) -> Decision:
    return Decision(principal=call.principal.identity, reason=request.reason, job=str(job))


class OperationServices:
    """Serves every rpc of every operation service: one way for all."""

    def __init__(
        self, submission: Submission, check_under: Callable[[str, Principal], None], inner: InnerRequests
    ) -> None:
        """Submit what is asked for, once a lock that it is to run under is found usable, and what it holds allowed."""
        self._submission = submission
        self._check_under = check_under
        self._inner = inner

    async def handle(self, method: MethodDescriptor, request: Message, call: Call) -> operations_pb2.Operation | bytes:
        """Submit the request of a typed method."""
        self._inner.admit(request, call.principal)
        under = cast(Any, request).options.under
        check = partial(self._check_under, under, call.principal) if under else None
        trace = telemetry.inject() or call.trace
        return await self._submission.submit(method.full_name, request, call.principal.identity, trace, check=check)


class JobService:
    """Reads, watches and steers jobs."""

    def __init__(
        self, store: JobStore, scheduler: Scheduler, feed: Feed, services: OperationServices, read_events: ReadEvents
    ) -> None:
        """Serve from these."""
        self._read_events = read_events
        self._store = store
        self._scheduler = scheduler
        self._feed = feed
        self._services = services
        self._control = Control(scheduler)
        self._explainer = Explainer(scheduler, partial(person_of, scheduler.people))
        self._summaries = JobSummaries(feed, store)
        self._methods: dict[str, MethodDescriptor] = {}

    def know(self, method: MethodDescriptor) -> None:
        """Let `SubmitOperation` take requests of this method."""
        self._methods[method.input_type.full_name] = method

    async def GetJob(self, request: job_service_pb2.GetJobRequest, call: Call) -> job_pb2.Job:
        """Return a job; one that runs with its live progress."""
        return await self._job(*job_numbers(request.name))

    async def ListJobs(self, request: job_service_pb2.ListJobsRequest, call: Call) -> job_service_pb2.ListJobsResponse:
        """Return a page of jobs."""
        token = self._feed.token()
        answer = await listing.list_jobs(self._store, request)
        for job in answer.jobs:
            live = self._live(*job_numbers(job.name))
            if live is not None:
                job.CopyFrom(live)
        answer.watch_token = token
        return answer

    async def ExportJobs(
        self, request: job_service_pb2.ExportJobsRequest, call: Call
    ) -> AsyncIterator[job_service_pb2.ExportJobsResponse]:
        """Yield the jobs of the history with their events."""
        async for exported in export_jobs(self._store, self._read_events, request):
            yield exported

    async def GetJobSummary(
        self, request: job_service_pb2.GetJobSummaryRequest, call: Call
    ) -> operation_pb2.JobSummary:
        """Return the six counters, of all jobs or of those that match."""
        return await self._summaries.now(request.filter)

    async def AbortJob(self, request: job_service_pb2.AbortJobRequest, call: Call) -> job_service_pb2.AbortJobResponse:
        """Abort a job with what is lost without it, or its whole operation, or tell what that would come to."""
        number, job = job_numbers(request.name)
        await self._store.get_job(number, job)
        only = "" if request.whole_operation else str(job)
        asked = AbortRequest(principal=call.principal.identity, reason=request.reason, job=only)
        answer = await self._control.abort(number, asked, preview=request.validate_only)
        jobs = [job_name(number, each) for each in answer.jobs]
        return job_service_pb2.AbortJobResponse(
            job=await self._job(number, job), too_late=not answer.in_time, jobs=jobs
        )

    async def RetryJob(self, request: job_service_pb2.RetryJobRequest, call: Call) -> job_pb2.Job:
        """Try the refused undos of a job, or its refused steps past the pivot, again."""
        number, job = job_numbers(request.name)
        await self._store.get_job(number, job)
        await self._scheduler.retry(number, _decision(request, job, call))
        return await self._job(number, job)

    async def AcceptJob(self, request: job_service_pb2.AcceptJobRequest, call: Call) -> job_pb2.Job:
        """Accept what the refused undos of a job, or its refused steps past the pivot, left."""
        number, job = job_numbers(request.name)
        await self._store.get_job(number, job)
        await self._scheduler.accept(number, _decision(request, job, call))
        return await self._job(number, job)

    async def HoldJob(self, request: job_control_pb2.HoldJobRequest, call: Call) -> job_pb2.Job:
        """Set a job aside with its operation."""
        number, job = job_numbers(request.name)
        await self._store.get_job(number, job)
        await self._control.hold(number, call.principal.identity, request.reason)
        return await self._job(number, job)

    async def ReleaseJob(self, request: job_control_pb2.ReleaseJobRequest, call: Call) -> job_pb2.Job:
        """Let a job go on that was set aside."""
        number, job = job_numbers(request.name)
        await self._store.get_job(number, job)
        await self._control.release(number, call.principal.identity, request.reason)
        return await self._job(number, job)

    async def SetJobPriority(self, request: job_control_pb2.SetJobPriorityRequest, call: Call) -> job_pb2.Job:
        """Move a job in the queues for locks."""
        number, job = job_numbers(request.name)
        await self._store.get_job(number, job)
        await self._control.set_priority(number, request.priority, call.principal.identity, request.reason)
        return await self._job(number, job)

    async def AbortJobs(
        self, request: job_control_pb2.AbortJobsRequest, call: Call
    ) -> job_control_pb2.AbortJobsResponse:
        """Abort every operation with a job that matches, or tell what that would come to."""
        return await self._control.abort_all(request, call.principal.identity)

    async def ExplainWait(
        self, request: wait_explanation_pb2.ExplainWaitRequest, call: Call
    ) -> wait_explanation_pb2.WaitExplanation:
        """Explain why a job does not go on."""
        return await self._explainer.explain(*job_numbers(request.name))

    async def WatchJobs(self, request: job_service_pb2.WatchJobsRequest, call: Call) -> AsyncIterator[bytes]:
        """Yield jobs as they change."""
        async for frame in watch.watch_jobs(self._feed, request):
            yield frame

    async def WatchOperation(self, request: job_service_pb2.WatchOperationRequest, call: Call) -> AsyncIterator[bytes]:
        """Yield one operation and its jobs as they change, up to the end."""
        number = operation_number(request.name)
        async for frame in watch.watch_operation(self._feed, self._scheduler.look, number, request.options):
            yield frame

    async def WatchJobSummary(
        self, request: job_service_pb2.WatchJobSummaryRequest, call: Call
    ) -> AsyncIterator[bytes]:
        """Yield the six counters as they change."""
        async for frame in self._summaries.messages(request.options, request.filter):
            yield frame

    async def SubmitOperation(
        self, request: job_service_pb2.SubmitOperationRequest, call: Call
    ) -> operations_pb2.Operation | bytes:
        """Submit the request inside, authorised as its own method."""
        method = self._methods.get(type_of(request.request))
        if method is None:
            raise InvalidRequest.of("request", f"{type_of(request.request)!r} is not the request of an operation")
        permit(call.principal, role_of(method), method.full_name)
        return await self._services.handle(method, unpack(request.request), call)

    async def _job(self, number: int, job: int) -> job_pb2.Job:
        return self._live(number, job) or await self._store.get_job(number, job)

    def _live(self, number: int, job: int) -> job_pb2.Job | None:
        operation = self._scheduler.find(number)
        planned = operation.shape.jobs.get(str(job)) if operation is not None else None
        return render_job(operation, planned) if operation is not None and planned is not None else None


class Operations:
    """google.longrunning.Operations over the same operations; google's own clients poll it."""

    def __init__(self, store: JobStore, scheduler: Scheduler, feed: Feed) -> None:
        """Serve from these."""
        self._store = store
        self._scheduler = scheduler
        self._feed = feed

    async def GetOperation(self, request: operations_pb2.GetOperationRequest, call: Call) -> operations_pb2.Operation:
        """Return an operation with its plan."""
        return render_operation(await self._operation(operation_number(request.name)), with_plan=True)

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, call: Call
    ) -> operations_pb2.ListOperationsResponse:
        """Return a page of operations."""
        if request.name not in ("", "operations"):
            raise NotFound(f"{request.name!r} is no collection of operations", resource=request.name)
        return await listing.list_operations(self._store, request)

    async def WaitOperation(self, request: operations_pb2.WaitOperationRequest, call: Call) -> operations_pb2.Operation:
        """Return the operation when it has ended, or as it is when the time is up."""
        number = operation_number(request.name)
        limit = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else _LONGEST_WAIT
        remaining = call.remaining()
        # A margin, so that an answer goes out before the caller's own deadline.
        limit = min(limit, remaining * 0.9 if remaining is not None else _LONGEST_WAIT)
        try:
            async with asyncio.timeout(max(limit, 0.0)):
                frames = watch.watch_operation(self._feed, self._scheduler.look, number, watch_pb2.WatchOptions())
                async for _ in frames:
                    pass
        except TimeoutError:
            pass
        return render_operation(await self._operation(number), with_plan=True)

    async def CancelOperation(self, request: operations_pb2.CancelOperationRequest, call: Call) -> Empty:
        """Ask for an abort; what comes of it is seen in the operation."""
        await self._scheduler.abort(operation_number(request.name), AbortRequest(principal=call.principal.identity))
        return Empty()

    async def DeleteOperation(self, request: operations_pb2.DeleteOperationRequest, call: Call) -> Empty:
        """Refuse: history is kept, and goes by age."""
        raise Unsupported("operations are kept as history; they cannot be deleted", resource=request.name)

    async def _operation(self, number: int) -> Operation:
        return await self._scheduler.look(number)
