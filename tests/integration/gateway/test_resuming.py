"""The multiplexed watch, cut at each of its responses: the rest is told, all of it, and nothing twice (R5)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from tests.integration.gateway.conftest import House
from tests.integration.gateway.test_watch import make_filter, watch
from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.operations.v1 import delete_filter_pb2
from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.gateway.composite_token import split_token
from virtyard.runtime.resume_point import ResumePoint

GONE, GAP, BOOKMARK = FrameKind.FRAME_KIND_REMOVED, FrameKind.FRAME_KIND_GAP, FrameKind.FRAME_KIND_BOOKMARK
ALL = [
    pb.Subscription(id="objects", objects=inventory_service_pb2.WatchObjectsRequest()),
    pb.Subscription(id="batched", objects=inventory_service_pb2.WatchObjectsRequest(options=WatchOptions(batch=True))),
    pb.Subscription(id="jobs", jobs=job_service_pb2.WatchJobsRequest()),
    pb.Subscription(id="locks", locks=lock_service_pb2.WatchLocksRequest()),
    pb.Subscription(id="events", events=inventory_service_pb2.WatchEventsRequest()),
    pb.Subscription(id="counters", job_summary=job_service_pb2.WatchJobSummaryRequest()),
]


@dataclass(kw_only=True)
class View:
    """What a tab shows after the responses that it has handled."""

    items: dict[str, dict[str, bytes]] = field(default_factory=lambda: {one.id: {} for one in ALL})
    events: list[str] = field(default_factory=list)
    token: str = ""

    def copy(self) -> View:
        """Return a tab that was left behind here."""
        return View(
            items={name: dict(found) for name, found in self.items.items()}, events=list(self.events), token=self.token
        )

    def handle(self, response: pb.WatchResponse) -> None:
        """Show one response more."""
        self.token = response.resume_token
        which = str(response.WhichOneof("frame"))
        if which in ("status", "keepalive"):
            assert response.status.state in (pb.SOURCE_STATE_UNSPECIFIED, pb.SOURCE_STATE_LIVE)
            return
        frame: Any = getattr(response, which)
        for one in (frame, *getattr(frame, "further", ())):
            assert one.kind != GAP
            self._show(response.subscription, one)

    def _show(self, subscription: str, frame: Any) -> None:
        shown = self.items[subscription]
        if subscription == "counters":
            if frame.HasField("summary"):
                shown["counters"] = frame.summary.SerializeToString(deterministic=True)
        elif not frame.name:
            return
        elif frame.kind == GONE:
            shown.pop(frame.name, None)
        elif subscription == "events":
            assert frame.name not in self.events, "an event is told once"
            self.events.append(frame.name)
        else:
            shown[frame.name] = _without_activity(frame).SerializeToString(deterministic=True)

    @property
    def sequences(self) -> dict[str, int]:
        """Return how far each subscription has come."""
        return {name: ResumePoint.parse(token).sequence for (name, _), token in split_token(self.token).items()}


def _without_activity(frame: Any) -> Any:
    """Return the item of a frame; locks on objects are a projection, which may be told late or not at all."""
    item = frame.__class__.FromString(frame.SerializeToString())
    item.ClearField("further")
    item.ClearField("resume_token")
    item.ClearField("kind")
    if item.DESCRIPTOR.fields_by_name.get("object") is not None:
        kind = item.object.WhichOneof("object")
        if kind is not None:
            getattr(item.object, kind).ClearField("activity")
    return item


async def story(house: House) -> list[View]:
    """Return what a tab showed after each response while objects came and went."""
    view, views = View(), [View()]
    done = asyncio.Event()

    async def play() -> None:
        for name in ("one", "two"):
            await make_filter(house, name)
        deleted = await house.client.operations.DeleteFilter(delete_filter_pb2.DeleteFilterRequest(name="filters/one"))
        assert (await house.client.wait(deleted, timeout=30)).error is None
        done.set()

    uncut = watch(house, pb.WatchRequest(subscriptions=ALL))
    async with asyncio.TaskGroup() as group, asyncio.timeout(60), aclosing(uncut) as stream:
        bookmarks, playing = 0, False
        async for response in stream:
            view.handle(response)
            views.append(view.copy())
            bookmarks += has_bookmark(response)
            if bookmarks == len(ALL) and not playing:
                playing = True
                _ = group.create_task(play())
            if done.is_set() and not view.items["locks"]:
                return views
    raise AssertionError("the stream ended by itself")


def has_bookmark(response: pb.WatchResponse) -> bool:
    """Return whether a snapshot is complete with this response."""
    frame = getattr(response, str(response.WhichOneof("frame")))
    return any(getattr(one, "kind", 0) == BOOKMARK for one in (frame, *getattr(frame, "further", ())))


async def truth(house: House) -> View:
    """Return what a new tab shows, once nothing is going on."""
    while True:
        view, bookmarks = View(), 0
        async with aclosing(watch(house, pb.WatchRequest(subscriptions=ALL))) as stream:
            while bookmarks < len(ALL):
                response = await anext(stream)
                view.handle(response)
                bookmarks += has_bookmark(response)
        if not view.items["locks"]:
            return view


async def test_a_watch_that_is_cut_anywhere_goes_on_exactly(house: House) -> None:
    """From the token of each response a new watch leads to what is, without a snapshot again."""
    views = await story(house)
    assert len(views) > 20
    async with asyncio.timeout(90):
        wanted = await truth(house)
        for left in views[1:]:
            view, known = left.copy(), left.sequences
            request = pb.WatchRequest(subscriptions=ALL, resume_token=left.token)
            async with aclosing(watch(house, request)) as stream:
                while view.items != wanted.items or sorted(view.events) != sorted(wanted.events):
                    view.handle(await anext(stream))
                    for name, sequence in view.sequences.items():
                        assert sequence >= known.get(name, 0), "nothing is told again"
                    known = view.sequences
