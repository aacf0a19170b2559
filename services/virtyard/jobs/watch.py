"""What watchers of jobs and operations are shown: frames around states that were serialised once."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing

from google.longrunning import operations_pb2

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs.model import Operation, job_name
from virtyard.jobs.render import render_job, render_operation
from virtyard.jobs.store import OPERATION_COLUMNS, load
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.batches import messages
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.resume_point import ResumePoint

_PAGE = 500
_TOPICS = ("job", "operation")
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

    Raises:
        InvalidRequest: `options.resume_token` is not a token of this service.
    """
    # The position comes before the look: a change between the two is shown twice rather than never.
    here = feed.point(feed.head)
    point = feed.resume_point(options.resume_token) if options.resume_token else None
    operation = await look(number)
    frames = _frames(feed, operation, options, here, point)
    async for message in messages(frames, operation_frame, job_service_pb2.WatchOperationResponse.DESCRIPTOR, options):
        yield message


async def _frames(
    feed: Feed,
    operation: Operation,
    options: watch_pb2.WatchOptions,
    here: ResumePoint,
    point: ResumePoint | None,
) -> AsyncGenerator[Sequence[Frame], None]:
    """Yield the frames of one operation, as it was when it was looked at, in the batches in which they come."""
    own, jobs = operation.name, job_name(operation.number, "")

    def wanted(key: str) -> bool:
        return key == own or key.startswith(jobs)

    resumed = options
    if point is not None and point.snapshot is not None:
        # It was cut inside the snapshot: what it has not seen and has not changed since, then all that has changed.
        token = feed.point(point.sequence).token()
        changed = await feed.story(token, _TOPICS, wanted)
        if changed is not None:
            yield _snapshot(feed, operation, point, {frame.key for frame in changed})
            resumed = watch_pb2.WatchOptions(resume_token=token, mark_live=options.mark_live)
    if operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
        yield await _rest_of_story(feed, operation, resumed, here, wanted)
        return
    shown = [] if resumed.resume_token or options.skip_snapshot else _snapshot(feed, operation, here)
    # Asked for before anything is shown: a service that begins to close meanwhile still says GOODBYE.
    batches = feed.watch_batches(
        _TOPICS,
        resumed
        if resumed.resume_token
        else watch_pb2.WatchOptions(resume_token=here.token(), mark_live=options.mark_live),
        read_snapshot,
        lambda _topic, key, _body: wanted(key),
        scope=operation.name,
    )
    async with aclosing(batches):
        if shown:
            yield shown
        async for batch in batches:
            end = next((place for place, frame in enumerate(batch, 1) if _shows_end(frame)), None)
            yield batch[:end]
            if end is not None:
                return


def _shows_end(frame: Frame) -> bool:
    return frame.topic == "operation" and bool(frame.body) and operations_pb2.Operation.FromString(frame.body).done


def _snapshot(
    feed: Feed, operation: Operation, point: ResumePoint, changed: Collection[str] = frozenset()
) -> list[Frame]:
    """Return the snapshot of an operation behind a point, less what has changed since, and the bookmark.

    The operation is the last, as in a commit: who reads up to its end has then seen every job.
    """
    shown = operation.bodies
    items = []
    for planned in operation.shape.plan.jobs:
        name = job_name(operation.number, planned.id)
        items.append(("job", name, shown.get(name) or render_job(operation, planned).SerializeToString()))
    own = shown.get(operation.name) or render_operation(operation).SerializeToString()
    items.append(("operation", operation.name, own))
    places = [(topic, key) for topic, key, _ in items]
    seen = places.index(point.snapshot) + 1 if point.snapshot in places else 0
    frames = []
    for topic, key, body in items[seen:]:
        if key not in changed:
            token = feed.point(point.sequence, (topic, key)).token()
            frames.append(Frame(kind=watch_pb2.FRAME_KIND_SNAPSHOT, token=token, topic=topic, key=key, body=body))
    frames.append(Frame(kind=watch_pb2.FRAME_KIND_BOOKMARK, token=feed.point(point.sequence).token()))
    return frames


async def _rest_of_story(
    feed: Feed,
    operation: Operation,
    options: watch_pb2.WatchOptions,
    here: ResumePoint,
    wanted: Callable[[str], bool],
) -> Sequence[Frame]:
    """Return the rest of the story of an operation that has ended, or its end if the journal has forgotten it."""
    story = await feed.story(options.resume_token, _TOPICS, wanted)
    if story is not None:
        # It has left the live list since: that is no part of its story, and its end came before.
        archived = (place for place, frame in enumerate(story) if frame.topic == "operation" and not frame.body)
        return story[: next(archived, None)]
    frames = _snapshot(feed, operation, here)
    frames = frames[-2:] if options.skip_snapshot else frames
    if options.resume_token:
        frames.insert(0, Frame(kind=watch_pb2.FRAME_KIND_GAP, token=feed.point(here.sequence, ("", "")).token()))
    return frames
