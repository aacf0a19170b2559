"""The watch over the six counters: they are counted once for all who watch, whoever and however many those are.

Its tokens carry the counters that were shown last, so that who comes back is told nothing that it knows.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from virtyard.api.jobs.v1 import job_service_pb2, operation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs.listing import summarise
from virtyard.runtime.batches import messages
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.resume_point import ResumePoint

__all__ = ["SummaryWatch"]

_PAUSE = 0.1
_INSIDE, _BEHIND = "snapshot", "summary"
"""What a token says of the bookmark: it is still to come, or has come."""
_SNAPSHOT, _BOOKMARK = watch_pb2.FRAME_KIND_SNAPSHOT, watch_pb2.FRAME_KIND_BOOKMARK
_CHANGED = watch_pb2.FRAME_KIND_CHANGED
_BARE = (_BOOKMARK, watch_pb2.FRAME_KIND_KEEPALIVE, watch_pb2.FRAME_KIND_GOODBYE)
"""Frames about the stream, which bring no counters."""
_SUMMARY_FIELD = job_service_pb2.WatchJobSummaryResponse.SUMMARY_FIELD_NUMBER

Count = Callable[[], Awaitable[tuple[int, dict[int, int]]]]
"""Returns the sequence of the feed and how many jobs there were in each state then."""


class _Counted:
    """The counters at a sequence, with the frames that all their watchers share."""

    def __init__(self, feed: Feed, sequence: int, summary: operation_pb2.JobSummary) -> None:
        self.sequence = sequence
        self.counters = " ".join(str(getattr(summary, field.name)) for field in summary.DESCRIPTOR.fields)
        self._feed = feed
        self._body = summary.SerializeToString()
        self._frames: dict[int, Frame] = {}

    def summary(self) -> operation_pb2.JobSummary:
        """Return the counters."""
        return operation_pb2.JobSummary.FromString(self._body)

    def frame(self, kind: watch_pb2.FrameKind.ValueType) -> Frame:
        """Return the frame of that kind, whose token says that these counters are known."""
        made = self._frames.get(kind)
        if made is None:
            place = (_INSIDE if kind == _SNAPSHOT else _BEHIND, self.counters)
            token = self._feed.point(self.sequence, place).token()
            body = b"" if kind in _BARE else self._body
            made = self._frames[kind] = Frame(kind=kind, token=token, body=body, sequence=self.sequence)
        return made


class SummaryWatch:
    """Shows the counters: as they are, and whenever they have changed, at most ten times a second."""

    def __init__(self, feed: Feed, count: Count) -> None:
        """Look again by `count` whenever the feed tells of a job."""
        self._feed = feed
        self._count = count
        self._counting = asyncio.Lock()
        self._known: _Counted | None = None

    def messages(self, options: watch_pb2.WatchOptions) -> AsyncGenerator[bytes, None]:
        """Return the messages of WatchJobSummary.

        Raises:
            InvalidRequest: `options.resume_token` is not a token of this service.
        """
        response = job_service_pb2.WatchJobSummaryResponse.DESCRIPTOR
        return messages(self._batches(options), _encode, response, options)

    async def now(self) -> operation_pb2.JobSummary:
        """Return the counters, none older than the feed's head."""
        return (await self._now()).summary()

    async def _now(self) -> _Counted:
        """Return the counters, none older than the feed's head; counted once for all who ask at the same time."""
        wanted = self._feed.head
        async with self._counting:
            if self._known is None or self._known.sequence < wanted:
                sequence, counts = await self._count()
                self._known = _Counted(self._feed, sequence, summarise(counts))
            return self._known

    async def _batches(self, options: watch_pb2.WatchOptions) -> AsyncGenerator[Sequence[Frame], None]:
        point = self._feed.resume_point(options.resume_token) if options.resume_token else None
        # Subscribed to first, so that no change falls between it and the first look.
        from_now = watch_pb2.WatchOptions(resume_token=self._feed.token(), mark_live=options.mark_live)
        async with aclosing(self._feed.watch_batches(["job"], from_now, _no_snapshot, doorbell=True)) as bell:
            shown = await self._now()
            beginning = self._resumed(point, shown) if point is not None else self._begun(options, shown)
            if beginning:
                yield beginning
            async for batch in bell:
                kind = batch[-1].kind
                if kind in _BARE:
                    yield [shown.frame(kind)]
                    continue
                before, shown = shown, await self._now()
                if shown.counters != before.counters:
                    yield [shown.frame(_CHANGED)]
                    await asyncio.sleep(_PAUSE)

    def _begun(self, options: watch_pb2.WatchOptions, now: _Counted) -> Sequence[Frame]:
        """Return what a watcher is told first that knows nothing, or nothing of this history."""
        whole = [now.frame(_SNAPSHOT), now.frame(_BOOKMARK)]
        if options.resume_token:
            return [self._bare(watch_pb2.FRAME_KIND_GAP, now, (_INSIDE, "")), *whole]
        return whole[1:] if options.skip_snapshot else whole

    def _resumed(self, point: ResumePoint, now: _Counted) -> Sequence[Frame]:
        """Return what has to be told at once to a watcher that comes back."""
        # A token of another watch of this service says nothing of counters: they are told.
        inside, known = point.snapshot or (_BEHIND, "")
        if inside == _INSIDE and not known:
            return [now.frame(_SNAPSHOT), now.frame(_BOOKMARK)]
        frames = [self._bare(_BOOKMARK, now, (_BEHIND, known))] if inside == _INSIDE else []
        return frames if known == now.counters else [*frames, now.frame(_CHANGED)]

    def _bare(self, kind: watch_pb2.FrameKind.ValueType, now: _Counted, place: tuple[str, str]) -> Frame:
        """Return a frame without counters that says which ones its watcher knows."""
        return Frame(kind=kind, token=self._feed.point(now.sequence, place).token(), sequence=now.sequence)


def _encode(frame: Frame) -> bytes:
    head = job_service_pb2.WatchJobSummaryResponse(kind=frame.kind, resume_token=frame.token)
    if frame.kind in (_SNAPSHOT, _CHANGED) and not frame.body:
        # Nothing is counted, which serialises to nothing: that is told, too, when the last job is gone.
        head.summary.SetInParent()
    return with_body(head, _SUMMARY_FIELD, frame.body)


def _no_snapshot(_: sqlite3.Connection, __: str, ___: str, ____: int) -> list[tuple[str, bytes]]:
    """Return nothing: the counters are looked up."""
    return []
