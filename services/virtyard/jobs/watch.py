"""What watchers of jobs and operations are shown: frames around states that were serialised once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

from google.longrunning import operations_pb2

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs.listing import summarise
from virtyard.jobs.model import Operation, job_name
from virtyard.jobs.render import render_job, render_operation
from virtyard.jobs.store import OPERATION_COLUMNS, JobStore, load
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.batches import messages
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.subscription import Matches

_PAGE = 500
_SUMMARY_PAUSE = 0.1
_JOB_FIELD = job_service_pb2.WatchJobsResponse.JOB_FIELD_NUMBER
_ITEM_FIELDS = {
    "operation": job_service_pb2.WatchOperationResponse.OPERATION_FIELD_NUMBER,
    "job": job_service_pb2.WatchOperationResponse.JOB_FIELD_NUMBER,
}


def read_snapshot(connection: sqlite3.Connection, topic: str, after: str, _sequence: int) -> list[tuple[str, bytes]]:
    """Return a page of jobs or operations by name, as the feed asks for it."""
    if topic == "job":
        sql = "SELECT name, body FROM job WHERE name > ? ORDER BY name LIMIT ?"
        return connection.execute(sql, (after, _PAGE)).fetchall()
    sql = f"SELECT {OPERATION_COLUMNS} FROM operation WHERE name > ? ORDER BY name LIMIT ?"  # noqa: S608 - constants
    found = [load(row) for row in connection.execute(sql, (after, _PAGE))]
    return [(operation.name, render_operation(operation).SerializeToString()) for operation in found]


def job_frame(frame: Frame) -> bytes:
    """Return a frame of WatchJobs."""
    head = job_service_pb2.WatchJobsResponse(kind=frame.kind, resume_token=frame.token, name=frame.key)
    return with_body(head, _JOB_FIELD, frame.body)


def operation_frame(frame: Frame) -> bytes:
    """Return a frame of WatchOperation."""
    head = job_service_pb2.WatchOperationResponse(
        kind=frame.kind,
        resume_token=frame.token,
        name=frame.key,
    )
    return with_body(head, _ITEM_FIELDS.get(frame.topic, 0), frame.body)


def watch_jobs(feed: Feed, request: job_service_pb2.WatchJobsRequest) -> AsyncGenerator[bytes, None]:
    """Return the messages of WatchJobs."""
    matches = None
    if request.filter:
        wanted = compile_filter(request.filter, job_pb2.Job.DESCRIPTOR)

        def matches(_topic: str, _key: str, body: bytes) -> bool:
            return wanted(job_pb2.Job.FromString(body))

    batches = feed.watch_batches(["job"], request.options, read_snapshot, matches)
    return messages(batches, job_frame, job_service_pb2.WatchJobsResponse.DESCRIPTOR, request.options)


async def watch_operation(
    feed: Feed, look: Callable[[int], Awaitable[Operation]], number: int, options: watch_pb2.WatchOptions
) -> AsyncIterator[bytes]:
    """Yield the messages of WatchOperation, up to the one that shows the end.

    Args:
        feed: the news of jobs and operations.
        look: returns an operation, never as it was before the feed's last news.
        number: which operation.
        options: where to start.
    """
    # The token comes before the look: a change between the two is shown twice rather than never.
    token = feed.token()
    operation = await look(number)
    own, jobs = operation.name, job_name(number, "")

    def matches(topic: str, key: str, _body: bytes) -> bool:
        return key == own if topic == "operation" else key.startswith(jobs)

    frames = _frames(feed, operation, options, token, matches)
    async for message in messages(frames, operation_frame, job_service_pb2.WatchOperationResponse.DESCRIPTOR, options):
        yield message


async def _frames(
    feed: Feed, operation: Operation, options: watch_pb2.WatchOptions, token: str, matches: Matches
) -> AsyncGenerator[Sequence[Frame], None]:
    """Yield the frames of one operation, as it was when it was looked at, in the batches in which they come."""
    if operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
        yield await _rest_of_story(feed, operation, options)
        return
    resumed = options
    if not options.resume_token:
        if not options.skip_snapshot:
            yield _snapshot(operation, token)
        resumed = watch_pb2.WatchOptions(resume_token=token)
    batches = feed.watch_batches(["job", "operation"], resumed, read_snapshot, matches, scope=operation.name)
    async with aclosing(batches):
        async for batch in batches:
            end = next((place for place, frame in enumerate(batch, 1) if _shows_end(frame)), None)
            yield batch[:end]
            if end is not None:
                return


def _shows_end(frame: Frame) -> bool:
    return frame.topic == "operation" and bool(frame.body) and operations_pb2.Operation.FromString(frame.body).done


def _snapshot(operation: Operation, token: str) -> list[Frame]:
    shown = operation.bodies
    items = []
    for planned in operation.shape.plan.jobs:
        name = job_name(operation.number, planned.id)
        items.append(("job", name, shown.get(name) or render_job(operation, planned).SerializeToString()))
    # The operation last, as in a commit: who reads up to its end has then seen every job.
    own = shown.get(operation.name) or render_operation(operation).SerializeToString()
    items.append(("operation", operation.name, own))
    kind = watch_pb2.FRAME_KIND_SNAPSHOT
    frames = [Frame(kind=kind, token=token, topic=topic, key=key, body=body) for topic, key, body in items]
    frames.append(Frame(kind=watch_pb2.FRAME_KIND_BOOKMARK, token=token))
    return frames


async def _rest_of_story(feed: Feed, operation: Operation, options: watch_pb2.WatchOptions) -> Sequence[Frame]:
    """Return the rest of the story of an operation that has ended, or its end if the journal has forgotten it."""
    entries = await feed.story(
        options.resume_token,
        {"operation", "job"},
        lambda key: key == operation.name or key.startswith(f"jobs/{operation.number}-"),
    )
    if entries is None:
        shown = _snapshot(operation, feed.token())
        return shown[-2:] if options.skip_snapshot else shown
    return entries


async def watch_summary(feed: Feed, store: JobStore) -> AsyncIterator[job_service_pb2.WatchJobSummaryResponse]:
    """Yield the six counters whenever they have changed, at most ten times a second."""
    shown = None
    options = watch_pb2.WatchOptions(skip_snapshot=True)
    async for frame in feed.watch(["job"], options, read_snapshot):
        summary = summarise(await store.count_jobs())
        if frame.kind in (watch_pb2.FRAME_KIND_KEEPALIVE, watch_pb2.FRAME_KIND_GOODBYE) or summary != shown:
            first = shown is None
            kind = watch_pb2.FRAME_KIND_SNAPSHOT if first else watch_pb2.FRAME_KIND_CHANGED
            if frame.kind in (watch_pb2.FRAME_KIND_KEEPALIVE, watch_pb2.FRAME_KIND_GOODBYE):
                kind = frame.kind
            shown = summary
            yield job_service_pb2.WatchJobSummaryResponse(kind=kind, resume_token=frame.token, summary=summary)
            await asyncio.sleep(_SUMMARY_PAUSE)
