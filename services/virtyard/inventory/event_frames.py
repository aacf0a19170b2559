"""Frames of the watch over events: a log, whose every entry is shown once, however far back its watcher begins.

An event comes when it is recorded, and again for whatever becomes of it. One that a filter lets through no more is
REMOVED, if the filter let it through before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.inventory.event_changes import TOPIC, number_of, place_of, set_open
from virtyard.inventory.event_log import Tail
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.resume_point import ResumePoint

__all__ = ["watch_events"]

_EVENT_FIELD = inventory_service_pb2.WatchEventsResponse.EVENT_FIELD_NUMBER
_REMOVED = watch_pb2.FRAME_KIND_REMOVED
_WHOLE = (watch_pb2.FRAME_KIND_BOOKMARK, watch_pb2.FRAME_KIND_KEEPALIVE)
"""Frames after which a watcher has been told everything up to their sequence."""

Wanted = Callable[[event_pb2.Event], bool]


async def watch_events(feed: Feed, request: inventory_service_pb2.WatchEventsRequest) -> AsyncGenerator[bytes, None]:
    """Yield the frames of WatchEvents.

    The journal of the feed is shorter than the log. A watcher whose place it has forgotten is told GAP, and the
    snapshot that follows begins behind that place: what it misses is only what the log itself has forgotten.

    Raises:
        InvalidRequest: the token or the filter cannot be read.
    """
    wanted = compile_filter(request.filter, event_pb2.Event.DESCRIPTOR) if request.filter.strip() else None
    matches = _matches(wanted) if wanted is not None else None
    tail = Tail(request.filter, _seen(feed, request.options.resume_token))
    frames = feed.watch([TOPIC], request.options, tail, matches, fold=False)
    try:
        async for frame in frames:
            gone = wanted is not None and bool(frame.body) and not wanted(event_pb2.Event.FromString(frame.body))
            yield frame.encoded(_encode_gone if gone else _encode)
            if frame.key:
                tail.seen = place_of(frame.key)
            elif frame.kind in _WHOLE:
                tail.seen = frame.sequence
    finally:
        await frames.aclose()


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
    return place_of(key) if topic == TOPIC and key else None


def _matches(wanted: Wanted) -> Callable[[str, str, bytes], bool]:
    def matches(_topic: str, key: str, body: bytes) -> bool:
        event = event_pb2.Event.FromString(body)
        return wanted(event) or (number_of(key) != place_of(key) and any(map(wanted, _before(event))))

    return matches


def _before(event: event_pb2.Event) -> Iterator[event_pb2.Event]:
    """Yield how an event may have been shown before the last thing became of it: as it was recorded, and cleared."""
    earlier = event_pb2.Event()
    earlier.CopyFrom(event)
    for field in ("acknowledged_by", "acknowledge_time", "comment", "forced", "cleared", "clear_time", "cleared_by"):
        earlier.ClearField(field)
    set_open(earlier)
    yield earlier
    earlier.cleared = True
    set_open(earlier)
    yield earlier


def _encode(frame: Frame) -> bytes:
    return with_body(_head(frame, frame.kind), _EVENT_FIELD, frame.body)


def _encode_gone(frame: Frame) -> bytes:
    return _head(frame, _REMOVED).SerializeToString()


def _head(frame: Frame, kind: watch_pb2.FrameKind.ValueType) -> inventory_service_pb2.WatchEventsResponse:
    head = inventory_service_pb2.WatchEventsResponse(kind=kind, resume_token=frame.token)
    if frame.key:
        number = number_of(frame.key)
        head.name, head.revised = f"events/{number}", number != place_of(frame.key)
    return head
