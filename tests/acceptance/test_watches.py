"""Every watch of real services, cut at each of its frames: the rest is told, all of it, and nothing twice.

Two clients do the same: our own, whose stream breaks after every frame, and a bare grpcio stub with tokens by hand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from tests.acceptance.asking import prepare
from tests.acceptance.site import Site, open_site
from tests.acceptance.watching import (
    BOOKMARK,
    CHANGED,
    GAP,
    REMOVED,
    SNAPSHOT,
    WATCHES,
    Bare,
    known_after,
    list_last_jobs,
    made,
    read_ours,
    snapshot_while_held,
    told,
)
from virtyard.api.jobs.v1 import job_service_pb2 as jobs
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.resume_point import ResumePoint
from virtyard_client import client as client_module
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.watch import Start, Watch

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A split site with one server."""
    with open_site("split") as running:
        yield running


@pytest.fixture(autouse=True)
async def pool(site: Site) -> None:
    """The pool and the repository, made once."""
    async with site.client() as client:
        if not (site.shared / "shared").exists():
            await prepare(site, client)


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """Our client."""
    async with site.client() as opened:
        yield opened


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the stream of our client after each frame that comes, so that it must resume each time."""

    async def one_frame(start: Start, options: watch_pb2.WatchOptions) -> AsyncIterator[Any]:
        single = watch_pb2.WatchOptions()
        single.CopyFrom(options)
        single.batch = single.mark_live = False
        async for frame in start(single):
            yield frame
            raise ClientError("cut by the test", code="UNAVAILABLE")

    def cut(start: Start, *more: Any) -> Watch:
        return Watch(lambda options: one_frame(start, options), *more)

    monkeypatch.setattr(client_module, "Watch", cut)


FEEDS = ["jobs", "objects", "events", "locks"]


@pytest.mark.parametrize("name", FEEDS)
async def test_a_watch_cut_anywhere_goes_on_with_the_exact_rest(site: Site, client: Client, name: str) -> None:
    """Snapshot, bookmark, changes: resumed behind each frame, a bare client is told exactly what follows it."""
    bare = Bare(site, WATCHES[name])

    async def read() -> list[Any]:
        whole = await bare.frames()
        for number, frame in enumerate(whole):
            rest = await bare.frames(frame.resume_token, last=whole[-1].resume_token)
            assert [told(one) for one in rest] == [told(one) for one in whole[number + 1 :]], number
        return whole

    await made(site, client, f"before-{name}")
    snapshot = await snapshot_while_held(site, client, f"held-{name}", read)
    assert [frame.kind for frame in snapshot] == [SNAPSHOT] * (len(snapshot) - 1) + [BOOKMARK]
    assert len(snapshot) > 3
    (bookmark,) = await bare.frames(skip=True)
    assert bookmark.kind == BOOKMARK
    await made(site, client, f"after-{name}")

    changes = await bare.frames_until_quiet(snapshot[-1].resume_token)
    assert len(changes) > 5
    assert not {frame.kind for frame in changes} - {CHANGED, REMOVED}
    last = changes[-1].resume_token
    for number, frame in enumerate(changes):
        rest = await bare.frames(frame.resume_token, last=last)
        assert [told(one) for one in rest] == [told(one) for one in changes[number + 1 :]], number
    # Cut inside the snapshot and resumed only now: what has not changed, then all that has, and the end is the same.
    for number, frame in enumerate(snapshot[:-1]):
        rest = await bare.frames(frame.resume_token, last=last)
        assert known_after([*snapshot[: number + 1], *rest]) == known_after([*snapshot, *changes]), number
    await bare.close()


@pytest.mark.usefixtures("cutting")
@pytest.mark.parametrize("name", FEEDS)
async def test_our_client_is_told_the_same_though_its_stream_breaks_after_every_frame(
    site: Site, client: Client, name: str
) -> None:
    """The SDK resumes by itself: what a program reads is what a bare client reads without a cut."""
    watched = WATCHES[name]
    bare = Bare(site, watched)

    async def read() -> tuple[list[Any], list[Any]]:
        whole = await bare.frames()
        return whole, await read_ours(watched.ours(client, "", ""), "", whole[-1].resume_token)

    whole, ours = await snapshot_while_held(site, client, f"ours-{name}", read)
    assert [told(one) for one in ours] == [told(one) for one in whole]
    changes = await bare.frames_until_quiet(whole[-1].resume_token)
    ours = await read_ours(
        watched.ours(client, "", whole[-1].resume_token), whole[-1].resume_token, changes[-1].resume_token
    )
    assert [told(one) for one in ours] == [told(one) for one in changes]
    await bare.close()


@pytest.mark.usefixtures("cutting")
async def test_an_operation_is_told_to_its_end_wherever_its_watch_was_cut(site: Site, client: Client) -> None:
    """While it is held, and after it has ended: inside the snapshot, and at every change."""
    watched = WATCHES["operation"]

    async def read() -> tuple[str, list[Any]]:
        (newest, *_) = await list_last_jobs(client)
        bare = Bare(site, dataclasses.replace(watched, ends=False), newest.operation)
        whole = await bare.frames()
        for number, frame in enumerate(whole):
            rest = await bare.frames(frame.resume_token, last=whole[-1].resume_token)
            assert [told(one) for one in rest] == [told(one) for one in whole[number + 1 :]], number
        await bare.close()
        return newest.operation, whole

    operation, snapshot = await snapshot_while_held(site, client, "watched", read)
    assert [frame.kind for frame in snapshot] == [SNAPSHOT] * (len(snapshot) - 1) + [BOOKMARK]
    bare = Bare(site, watched, operation)
    changes = await bare.frames(snapshot[-1].resume_token)
    assert changes[-1].operation.done
    for number, frame in enumerate(changes):
        rest = await bare.frames(frame.resume_token)
        assert [told(one) for one in rest] == [told(one) for one in changes[number + 1 :]], number
    for number, frame in enumerate(snapshot[:-1]):
        rest = await bare.frames(frame.resume_token)
        assert known_after([*snapshot[: number + 1], *rest]) == known_after([*snapshot, *changes]), number

    # One that has ended long ago, watched without a token: its snapshot is cut, too.
    ended = await bare.frames()
    assert [frame.kind for frame in ended] == [SNAPSHOT] * (len(ended) - 1) + [BOOKMARK]
    for number, frame in enumerate(ended):
        rest = await bare.frames(frame.resume_token)
        assert [told(one) for one in rest] == [told(one) for one in ended[number + 1 :]], number
    # Our own client, broken after each frame, from the moment of the snapshot to the end.
    token = snapshot[-1].resume_token
    ours = await read_ours(watched.ours(client, operation, token), token, changes[-1].resume_token)
    assert [told(one) for one in ours] == [told(one) for one in changes]
    await bare.close()


async def test_the_counters_are_told_once_and_again_when_they_differ(site: Site, client: Client) -> None:
    """WatchJobSummary has a snapshot, a bookmark and changes; a token says which counters were seen last."""
    bare = Bare(site, WATCHES["summary"])

    async def read() -> list[Any]:
        whole = await bare.frames()
        assert [frame.kind for frame in whole] == [SNAPSHOT, BOOKMARK]
        assert whole[0].summary == await client.jobs.GetJobSummary(jobs.GetJobSummaryRequest())
        assert not whole[1].HasField("summary")
        (bookmark,) = await bare.frames(skip=True)
        assert bookmark.kind == BOOKMARK
        # Cut before the bookmark, that is still to come.
        assert [told(frame) for frame in await bare.frames(whole[0].resume_token)] == [told(whole[1])]
        return [*whole, bookmark]

    before = await snapshot_while_held(site, client, "counted", read)
    live = asyncio.ensure_future(bare.frames_until_quiet(before[-1].resume_token))
    await made(site, client, "counted-too")
    changes = await live
    now = await client.jobs.GetJobSummary(jobs.GetJobSummaryRequest())
    assert {frame.kind for frame in changes} == {CHANGED}
    assert changes[-1].summary == now
    shown = [frame.summary.SerializeToString() for frame in changes]
    assert all(one != other for one, other in itertools.pairwise(shown)), "the same counters were told twice"
    assert [frame.summary.total for frame in changes] == sorted(frame.summary.total for frame in changes)

    last = changes[-1].resume_token
    for frame in (*before[1:], *changes[:-1]):
        if frame.HasField("summary") and frame.summary == now:
            continue  # they were so at that moment, too, so that there is nothing to tell
        (told_again,) = await bare.frames(frame.resume_token, last=last)
        assert (told_again.kind, told_again.summary) == (CHANGED, now)
    # Who knows them is told nothing: the next thing to come is the change that comes next.
    resumed = asyncio.ensure_future(bare.frames_until_quiet(last))
    await made(site, client, "counted-last")
    assert all(frame.summary != now for frame in await resumed)
    await bare.close()


async def test_counters_of_a_filter_are_of_the_jobs_that_it_lists(site: Site, client: Client) -> None:
    """Those of one operation are told up to its end, and are the same when they are asked for."""
    matching = f'operation = "{await made(site, client, "counted-alone")}"'
    listed = await client.jobs.ListJobs(jobs.ListJobsRequest(filter=matching))
    now = await client.jobs.GetJobSummary(jobs.GetJobSummaryRequest(filter=matching))
    assert now.total == len(listed.jobs) > 0
    async with asyncio.timeout(60):
        async for frame in client.watch_job_summary(matching=matching):
            if frame.summary.complete == now.total:
                break
    with pytest.raises(ClientError) as refusal:
        await client.jobs.GetJobSummary(jobs.GetJobSummaryRequest(filter="colour = 1"))
    assert [each.field for each in refusal.value.violations] == ["filter"]


@pytest.mark.parametrize("name", WATCHES)
async def test_a_token_of_another_service_is_refused_and_one_of_another_database_is_a_gap(
    site: Site, client: Client, name: str
) -> None:
    """The refusal names the field; history that this database never had is told as a gap, with a snapshot behind it."""
    operation = await made(site, client, f"token-{name}")
    watched = WATCHES[name]
    bare = Bare(site, watched, operation)
    foreign = ResumePoint(service="elsewhere", incarnation="1.0", sequence=1)
    for refused in (foreign.token(), "no token at all", "bm9uc2Vuc2U"):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await bare.frames(refused)
        assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "resume_token" in str(refusal.value.details())
    ours = ResumePoint.parse((await bare.frames())[-1].resume_token)
    for history in (
        dataclasses.replace(ours, incarnation="9.another", snapshot=None),
        dataclasses.replace(ours, incarnation="9.another", sequence=1, snapshot=("a", "b")),
        dataclasses.replace(ours, sequence=ours.sequence + 1_000_000, snapshot=None),
    ):
        frames = await bare.frames(history.token())
        assert [frames[0].kind, frames[-1].kind] == [GAP, BOOKMARK]
        assert {frame.kind for frame in frames[1:-1]} <= {SNAPSHOT}
        # Cut at once behind the gap, the snapshot is still to come.
        again = await bare.frames(frames[0].resume_token)
        assert [told(frame)[:2] for frame in again] == [told(frame)[:2] for frame in frames[1:]]
    await bare.close()
