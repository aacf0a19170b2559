"""The multiplexed watch, over Connect, gRPC-Web and native gRPC: many sources, one stream, one token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import pytest

from tests.integration.gateway.browser import END, TRAILERS
from tests.integration.gateway.conftest import GATEWAY, House
from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.gateway.v1 import gateway_service_pb2_grpc
from virtyard.api.inventory.v1 import filter_pb2, inventory_service_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import create_filter_pb2
from virtyard.api.type.v1.watch_pb2 import FrameKind

WATCH = f"/{GATEWAY}/Watch"
OBJECTS = pb.Subscription(id="objects", objects=inventory_service_pb2.WatchObjectsRequest(filter="kind = filters"))
JOBS = pb.Subscription(id="jobs", jobs=job_service_pb2.WatchJobsRequest())


async def watch(house: House, request: pb.WatchRequest) -> AsyncGenerator[pb.WatchResponse, None]:
    """Yield the responses to a request, natively."""
    async with house.channel() as channel:
        call = gateway_service_pb2_grpc.GatewayServiceStub(channel).Watch(request, metadata=house.bearer)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()


async def make_filter(house: House, name: str) -> None:
    """Make an object, by an operation with one job."""
    request = create_filter_pb2.CreateFilterRequest(
        filter_id=name, filter=filter_pb2.Filter(matches="title = none", action=filter_pb2.FILTER_ACTION_PAUSE)
    )
    story = await house.client.wait(await house.client.operations.CreateFilter(request), timeout=30)
    assert story.error is None


def seen(response: pb.WatchResponse) -> tuple[str, str]:
    """Return what a response says, short: the subscription, and its kind of frame with the name of the item."""
    which = response.WhichOneof("frame")
    if which == "status":
        return response.subscription, pb.SourceState.Name(response.status.state)
    frame = getattr(response, str(which))
    if which in ("objects", "jobs"):
        return response.subscription, f"{FrameKind.Name(frame.kind)} {frame.name}".strip()
    return response.subscription, str(which)


@pytest.mark.parametrize("kind", ["application/connect+proto", "application/grpc-web+proto"])
async def test_a_browser_sees_sources_side_by_side(house: House, kind: str) -> None:
    """Each subscription tells first that it is live, then its snapshot; then what happens, as it happens."""
    page = await house.signed_in()
    async with asyncio.timeout(30):
        async with page.stream(WATCH, pb.WatchRequest(subscriptions=[OBJECTS, JOBS]), kind) as envelopes:
            told: list[tuple[str, str]] = []
            started = False
            async for flags, body in envelopes:
                assert not flags & (END | TRAILERS), body
                told.append(seen(pb.WatchResponse.FromString(body)))
                bookmarks = [one for one in told if one[1] == "FRAME_KIND_BOOKMARK"]
                if len(bookmarks) == 2 and not started:
                    started = True
                    await make_filter(house, "seen")
                if ("objects", "FRAME_KIND_CHANGED filters/seen") in told and any(
                    "CHANGED jobs" in one for _, one in told
                ):
                    break
    for name in ("objects", "jobs"):
        mine = [what for who, what in told if who == name]
        assert mine[0] == "SOURCE_STATE_LIVE"
        assert mine[1].startswith(("FRAME_KIND_SNAPSHOT", "FRAME_KIND_BOOKMARK"))


async def test_a_changed_set_goes_on_where_it_is_the_same(house: House) -> None:
    """With the last token a subscription goes on without a snapshot; another filter under its id begins anew."""
    async with asyncio.timeout(30), aclosing(watch(house, pb.WatchRequest(subscriptions=[OBJECTS, JOBS]))) as stream:
        token, bookmarks = "", 0
        async for response in stream:
            token = response.resume_token
            bookmarks += seen(response)[1] == "FRAME_KIND_BOOKMARK"
            if bookmarks == 2:
                break
    await make_filter(house, "later")
    other = pb.Subscription(id="jobs", jobs=job_service_pb2.WatchJobsRequest(filter='title = "Create Filter"'))
    request = pb.WatchRequest(subscriptions=[OBJECTS, other], resume_token=token)
    told: list[tuple[str, str]] = []
    async with asyncio.timeout(30), aclosing(watch(house, request)) as stream:
        async for response in stream:
            told.append(seen(response))
            if ("jobs", "FRAME_KIND_BOOKMARK") in told and ("objects", "FRAME_KIND_CHANGED filters/later") in told:
                break
    objects = [what for who, what in told if who == "objects"]
    assert objects[:2] == ["SOURCE_STATE_LIVE", "FRAME_KIND_CHANGED filters/later"]
    assert [what for who, what in told if who == "jobs"][1].startswith("FRAME_KIND_SNAPSHOT jobs/")


BAD = [
    (pb.WatchRequest(), "subscriptions"),
    (pb.WatchRequest(subscriptions=[OBJECTS, OBJECTS]), "is there twice"),
    (pb.WatchRequest(subscriptions=[pb.Subscription(id="a b", jobs=JOBS.jobs)]), "subscriptions.id"),
    (pb.WatchRequest(subscriptions=[pb.Subscription(id="a")]), "must say what is to be watched"),
    (pb.WatchRequest(subscriptions=[OBJECTS], resume_token="nonsense"), "resume_token"),
]


async def test_a_bad_request_is_refused_by_field(house: House) -> None:
    """Nothing is watched, and the answer names what is wrong."""
    for request, said in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            _ = [response async for response in watch(house, request)]
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert said in str(refusal.value.details())


async def test_one_bad_filter_does_not_stop_the_others(house: House) -> None:
    """The source is told as refused, with the reason; the other one is live."""
    bad = pb.Subscription(id="bad", objects=inventory_service_pb2.WatchObjectsRequest(filter="kind ="))
    told = set()
    async with asyncio.timeout(30), aclosing(watch(house, pb.WatchRequest(subscriptions=[bad, JOBS]))) as stream:
        async for response in stream:
            told.add(seen(response))
            if response.status.state == pb.SOURCE_STATE_REFUSED:
                assert "filter" in response.status.error.message
            if {("bad", "SOURCE_STATE_REFUSED"), ("jobs", "FRAME_KIND_BOOKMARK")} <= told:
                break
