"""The SDK's watch against a real server over mutual TLS: it goes on, tells of gaps, and says when it is not live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2

from tests.integration.client.fake_site import Cut, Site
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard_client import Client, ClientError, Watch
from virtyard_client.watch import Patience

PATH = "/virtyard.api.jobs.v1.JobService/WatchJobs"
QUICK = Patience(first_pause=0.001, longest_pause=0.01, outage=5, silence=5)
SNAPSHOT, BOOKMARK = watch_pb2.FRAME_KIND_SNAPSHOT, watch_pb2.FRAME_KIND_BOOKMARK
CHANGED, KEEPALIVE = watch_pb2.FRAME_KIND_CHANGED, watch_pb2.FRAME_KIND_KEEPALIVE
GAP, GOODBYE = watch_pb2.FRAME_KIND_GAP, watch_pb2.FRAME_KIND_GOODBYE


def frame(kind: int, token: str, name: str = "", *further: Any) -> Any:
    """Return a frame of WatchJobs, with further ones in the same message."""
    job = job_pb2.Job(name=name) if name else None
    return job_service_pb2.WatchJobsResponse(kind=kind, resume_token=token, name=name, job=job, further=further)  # type: ignore[arg-type] # a number is an enum value


def for_ever() -> Callable[[], Awaitable[Any]]:
    """Return what keeps a stream open and silent."""
    return asyncio.Event().wait


class Read:
    """What was read, and what the watch said of itself meanwhile."""

    def __init__(self, client: Client, token: str = "") -> None:
        """Watch jobs."""
        self.said: list[tuple[bool, str]] = []
        options = watch_pb2.WatchOptions(resume_token=token)
        request = job_service_pb2.WatchJobsRequest(options=options, filter="state = RUNNING")
        self.watch = client.watch(client.jobs.WatchJobs, request, on_live=self._note)

    def _note(self, watch: Watch) -> None:
        self.said.append((watch.live, watch.cause.message if watch.cause else ""))

    async def take(self, count: int) -> list[str]:
        """Return the next frames by their tokens."""
        async with asyncio.timeout(5):
            return [(await anext(self.watch)).resume_token for _ in range(count)]

    async def until_said(self, count: int) -> None:
        """Go on reading until the watch has said so much."""
        reading = asyncio.ensure_future(anext(self.watch))
        async with asyncio.timeout(5):
            while len(self.said) < count:
                await asyncio.sleep(0.002)
        reading.cancel()
        await asyncio.wait({reading})


async def test_it_says_when_it_is_live(site: Site) -> None:
    """Live with the bookmark, not after a cut, again once the resumed stream has told all; each with its reason."""
    site.streams[PATH] = [
        [frame(SNAPSHOT, "s1", "jobs/1-1"), frame(BOOKMARK, "b"), frame(CHANGED, "c1", "jobs/1-1"), Cut()],
        [frame(CHANGED, "c2", "jobs/1-1"), frame(KEEPALIVE, "k"), frame(GOODBYE, "g")],
        [frame(KEEPALIVE, "k2"), for_ever()],
    ]
    async with Client.connect(site.context, patience=QUICK) as client:
        read = Read(client)
        assert await read.take(1) == ["s1"]
        assert read.said == []
        assert await read.take(1) == ["b"]
        assert read.said == [(True, "")]
        assert await read.take(2) == ["c1", "c2"]
        assert len(read.said) == 2
        await read.until_said(5)
        said = [(live, "cut" in cause or "goodbye" in cause) for live, cause in read.said[:5]]
        assert said == [(True, False), (False, True), (True, False), (False, True), (True, False)]
        asked = site.requests(job_service_pb2.WatchJobsRequest)
        assert [one.options.resume_token for one in asked] == ["", "c1", "g"]
        assert all(one.filter == "state = RUNNING" and one.options.mark_live for one in asked)
        assert read.watch.token == "k2"


async def test_it_counts_gaps_and_is_not_live_before_the_snapshot_behind_one_is_whole(site: Site) -> None:
    """Proves that a reader can see that what it knows is to be forgotten, and when it knows everything again."""
    site.streams[PATH] = [
        [frame(GAP, "gap"), frame(SNAPSHOT, "s", "jobs/2-1"), frame(BOOKMARK, "b"), frame(GAP, "gap2"), for_ever()]
    ]
    async with Client.connect(site.context, patience=QUICK) as client:
        read = Read(client, "old")
        states = []
        for token in ("gap", "s", "b", "gap2"):
            assert await read.take(1) == [token]
            states.append((read.watch.gaps, read.watch.live))
        assert states == [(1, False), (1, False), (1, True), (2, False)]


async def test_it_is_not_live_when_not_even_a_keepalive_comes(site: Site) -> None:
    """Proves that a dead connection shows before it counts as broken, and that the next frame ends that."""
    site.streams[PATH] = [[frame(BOOKMARK, "b"), for_ever()], [frame(KEEPALIVE, "k"), for_ever()]]
    patience = Patience(first_pause=0.001, longest_pause=0.01, outage=5, silence=0.4, stale=0.1)
    async with Client.connect(site.context, patience=patience) as client:
        read = Read(client)
        assert await read.take(1) == ["b"]
        await read.until_said(2)
        assert read.said[1] == (False, "no frame for 0.1 s")
        await read.until_said(3)
        assert read.said[2] == (True, "")


async def test_a_cancelled_step_loses_nothing(site: Site) -> None:
    """Proves that a timeout around one step, in the middle of a message too, is no loss: the next goes on behind it."""
    batch = frame(CHANGED, "c1", "jobs/1-1", frame(CHANGED, "c2", "jobs/1-2"))
    site.streams[PATH] = [
        [frame(BOOKMARK, "b"), for_ever()],
        [batch, for_ever()],
        [frame(CHANGED, "c3", "jobs/1-3"), for_ever()],
    ]
    async with Client.connect(site.context, patience=QUICK) as client:
        read = Read(client)
        assert await read.take(1) == ["b"]
        for tokens in (["c1", "c2"], ["c3"]):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(read.watch)
            assert await read.take(len(tokens)) == tokens
    asked = [one.options.resume_token for one in site.requests(job_service_pb2.WatchJobsRequest)]
    assert asked == ["", "b", "c2"]


async def test_a_stream_that_the_service_cancels_is_opened_again(site: Site) -> None:
    """Proves that CANCELLED by the other side, as from a server that stops, is no cancellation of the reader's task."""
    site.streams[PATH] = [
        [frame(BOOKMARK, "b"), status_pb2.Status(code=code_pb2.CANCELLED, message="stopping")],
        [frame(CHANGED, "c", "jobs/1-1"), for_ever()],
    ]
    async with Client.connect(site.context, patience=QUICK) as client:
        read = Read(client)
        assert await read.take(2) == ["b", "c"]
        stub = client.jobs.WatchJobs(job_service_pb2.WatchJobsRequest())
        site.streams[PATH] = [[status_pb2.Status(code=code_pb2.CANCELLED, message="stopping")]]
        with pytest.raises(ClientError) as refused:
            async for _ in client.jobs.WatchJobs(job_service_pb2.WatchJobsRequest()):
                pass
        assert refused.value.code == "CANCELLED"
        stub.cancel()


async def test_a_refusal_is_raised_at_once_and_an_outage_after_the_patience(site: Site) -> None:
    """Proves that what a new stream cannot mend ends the watch, which then says that it is not live."""
    site.streams[PATH] = [[frame(BOOKMARK, "b"), Cut()], [status_pb2.Status(code=code_pb2.PERMISSION_DENIED)]]
    async with Client.connect(site.context, patience=QUICK) as client:
        read = Read(client)
        await read.take(1)
        with pytest.raises(ClientError) as refused:
            await read.take(1)
        assert refused.value.code == "PERMISSION_DENIED"
        assert not read.watch.live
        with pytest.raises(StopAsyncIteration):
            await read.take(1)
        site.streams[PATH] = [[Cut()]]
        quick = Patience(first_pause=0.001, longest_pause=0.01, outage=0.05, silence=5)
    async with Client.connect(site.context, patience=quick) as client:
        with pytest.raises(ClientError) as away:
            await Read(client).take(1)
        assert away.value.unreachable
