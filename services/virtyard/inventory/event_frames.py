"""Frames of the watch over events: a log, whose every entry is shown once, however far back its watcher begins."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.inventory.event_log import Tail
from virtyard.inventory.events import TOPIC
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.batches import messages
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.resume_point import ResumePoint

__all__ = ["watch_events"]

_EVENT_FIELD = inventory_service_pb2.WatchEventsResponse.EVENT_FIELD_NUMBER
_WHOLE = (watch_pb2.FRAME_KIND_BOOKMARK, watch_pb2.FRAME_KIND_KEEPALIVE)
"""Frames after which a watcher has been told everything up to their sequence."""


def watch_events(feed: Feed, request: inventory_service_pb2.WatchEventsRequest) -> AsyncGenerator[bytes, None]:
    """Return the messages of WatchEvents.

    The journal of the feed is shorter than the log. A watcher whose place it has forgotten is told GAP, and the
    snapshot that follows begins behind that place: what it misses is only what the log itself has forgotten.

    Raises:
        InvalidRequest: the token or the filter cannot be read.
    """
    response = inventory_service_pb2.WatchEventsResponse.DESCRIPTOR
    return messages(_batches(feed, request), _encode, response, request.options)


async def _batches(
    feed: Feed, request: inventory_service_pb2.WatchEventsRequest
) -> AsyncGenerator[Sequence[Frame], None]:
    """Yield the frames, and note how far the watcher was told."""
    tail = Tail(request.filter, _seen(feed, request.options.resume_token))
    batches = feed.watch_batches([TOPIC], request.options, tail, _matches(request.filter), fold=False)
    async with aclosing(batches):
        async for batch in batches:
            yield batch
            last = batch[-1]
            if last.key:
                tail.seen = _number(last.key)
            elif last.kind in _WHOLE:
                tail.seen = last.sequence


def _seen(feed: Feed, token: str) -> int | None:
    """Return the place in the feed that a token stands for; None if it is of another history, or of objects."""
    if not token:
        return None
    point = ResumePoint.parse(token)
    if point.service != feed.service or not feed.is_ours(point):
        return None
    if point.snapshot is None:
        return point.sequence
    topic, key = point.snapshot
    return _number(key) if topic == TOPIC and key else None


def _matches(text: str) -> Callable[[str, str, bytes], bool] | None:
    if not text.strip():
        return None
    wanted = compile_filter(text, event_pb2.Event.DESCRIPTOR)
    return lambda _topic, _key, body: wanted(event_pb2.Event.FromString(body))


def _number(key: str) -> int:
    # An older release had the event's name for its key.
    return int(key.rpartition("/")[2])


def _encode(frame: Frame) -> bytes:
    name = f"events/{_number(frame.key)}" if frame.key else ""
    head = inventory_service_pb2.WatchEventsResponse(kind=frame.kind, resume_token=frame.token, name=name)
    return with_body(head, _EVENT_FIELD, frame.body)
