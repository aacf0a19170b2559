"""Frames of the watch over events: a log, whose every entry is shown once, however far back its watcher begins.

An event comes when it is recorded, and again for whatever becomes of it. One that a filter lets through no more is
REMOVED, if the filter let it through before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.inventory.belonging import Belonging
from virtyard.inventory.event_changes import TOPIC, number_of, place_of, set_open
from virtyard.inventory.event_log import Tail
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.batches import messages
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.resume_point import ResumePoint

__all__ = ["watch_events"]

_EVENT_FIELD = inventory_service_pb2.WatchEventsResponse.EVENT_FIELD_NUMBER
_REMOVED = watch_pb2.FRAME_KIND_REMOVED
_WHOLE = (watch_pb2.FRAME_KIND_BOOKMARK, watch_pb2.FRAME_KIND_KEEPALIVE)
"""Frames after which a watcher has been told everything up to their sequence."""

_BECOMES: Final = (
    "acknowledged_by",
    "acknowledge_time",
    "comment",
    "forced",
    "still_held",
    "cleared",
    "clear_time",
    "cleared_by",
)
"""The fields that say what became of an event."""

Wanted = Callable[[event_pb2.Event], bool]


def watch_events(
    feed: Feed, request: inventory_service_pb2.WatchEventsRequest, belonging: Belonging
) -> AsyncGenerator[bytes, None]:
    """Return the messages of WatchEvents; `belonging` says what is within an object, and what an object belongs to.

    The journal of the feed is shorter than the log. A watcher whose place it has forgotten is told GAP, and the
    snapshot that follows begins behind that place: what it misses is only what the log itself has forgotten.

    Raises:
        InvalidRequest: the token or the filter cannot be read.
    """
    response = inventory_service_pb2.WatchEventsResponse.DESCRIPTOR
    batches = _batches(feed, request, belonging)
    if not request.show_belongs_to:
        return messages(batches, _encode, response, request.options)
    return messages(_own(batches), partial(_encode_with_owners, belonging), response, request.options)


async def _own(batches: AsyncGenerator[Sequence[Frame], None]) -> AsyncGenerator[Sequence[Frame], None]:
    """Yield the same as frames of this watcher's own: what they are told with is not so for the next one."""
    async with aclosing(batches):
        async for batch in batches:
            yield [replace(frame) for frame in batch]


async def _batches(
    feed: Feed, request: inventory_service_pb2.WatchEventsRequest, belonging: Belonging
) -> AsyncGenerator[Sequence[Frame], None]:
    """Yield the frames, and note how far the watcher was told."""
    wanted = compile_filter(request.filter, event_pb2.Event.DESCRIPTOR) if request.filter.strip() else None
    inside = partial(belonging.is_within, outer=request.within) if request.within else None
    matches = _matches(wanted, inside) if wanted is not None or inside is not None else None
    tail = Tail(request.filter, _seen(feed, request.options.resume_token), request.within, inside)
    batches = feed.watch_batches([TOPIC], request.options, tail, matches, fold=False)
    async with aclosing(batches):
        async for batch in batches:
            yield batch if wanted is None else [_told(frame, wanted) for frame in batch]
            last = batch[-1]
            if last.key:
                tail.seen = place_of(last.key)
            elif last.kind in _WHOLE:
                tail.seen = last.sequence


def _told(frame: Frame, wanted: Wanted) -> Frame:
    """Return what a watcher is told of a frame: that the event is gone, if its filter does not let it pass any more."""
    if not frame.body or wanted(event_pb2.Event.FromString(frame.body)):
        return frame
    return replace(frame, kind=_REMOVED, body=b"")


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


def _matches(wanted: Wanted | None, inside: Callable[[str], bool] | None) -> Callable[[str, str, bytes], bool]:
    def matches(_topic: str, key: str, body: bytes) -> bool:
        event = event_pb2.Event.FromString(body)
        if inside is not None and not inside(event.object):
            return False
        if wanted is None:
            return True
        return wanted(event) or (number_of(key) != place_of(key) and any(map(wanted, _before(event))))

    return matches


def _before(event: event_pb2.Event) -> Iterator[event_pb2.Event]:
    """Yield how an event may have been shown before the last thing became of it: as it was recorded, and cleared."""
    earlier = event_pb2.Event()
    earlier.CopyFrom(event)
    for field in _BECOMES:
        earlier.ClearField(field)
    set_open(earlier)
    yield earlier
    earlier.cleared = True
    set_open(earlier)
    yield earlier


def _encode(frame: Frame) -> bytes:
    head = inventory_service_pb2.WatchEventsResponse(kind=frame.kind, resume_token=frame.token)
    if frame.key:
        number = number_of(frame.key)
        head.name, head.revised = f"events/{number}", number != place_of(frame.key)
    return with_body(head, _EVENT_FIELD, frame.body)


def _encode_with_owners(belonging: Belonging, frame: Frame) -> bytes:
    if not frame.body:
        return _encode(frame)
    owners = belonging.around(event_pb2.Event.FromString(frame.body).object)
    # Messages that are put behind each other are merged when they are read.
    return _encode(frame) + inventory_service_pb2.WatchEventsResponse(belongs_to=owners).SerializeToString()
