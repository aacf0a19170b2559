"""Every watch of a real site when nothing happens, when its service stops, and when its filter is wrong."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.asking import LIMIT, ask, create_machine, new_disk, prepare, wait_unlocked
from tests.acceptance.site import Site, open_site
from tests.acceptance.watching import BOOKMARK, GAP, SNAPSHOT, WATCHES, Bare
from tools import processes
from virtyard.api.inventory.v1 import inventory_service_pb2 as inventory
from virtyard.api.jobs.v1 import job_service_pb2 as jobs
from virtyard.api.locks.v1 import lock_service_pb2 as locks
from virtyard.api.type.v1 import watch_pb2
from virtyard_client.errors import ClientError

GOODBYE, KEEPALIVE = watch_pb2.FRAME_KIND_GOODBYE, watch_pb2.FRAME_KIND_KEEPALIVE
REMOVED, CHANGED = watch_pb2.FRAME_KIND_REMOVED, watch_pb2.FRAME_KIND_CHANGED
SERVICES = ("jobs", "inventory", "locks")
pytestmark = pytest.mark.timeout(240)


async def read_until(frames: Any, kind: int) -> list[Any]:
    """Return the frames up to the first of a kind."""
    found: list[Any] = []
    async with asyncio.timeout(LIMIT):
        while not found or found[-1].kind != kind:
            found.append(await anext(frames))
    return found


async def read_to_end(frames: Any) -> list[Any]:
    """Return all frames until the stream ends."""
    async with asyncio.timeout(LIMIT):
        return [frame async for frame in frames]


async def test_each_watch_is_kept_alive_says_goodbye_and_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent stream is heard of; at a stop the last frame is GOODBYE, whose token needs no snapshot afterwards."""
    monkeypatch.setenv("VIRTYARD_FEEDS_KEEPALIVE_SECONDS", "0.5")
    with open_site("split") as site:
        async with site.client() as client:
            await prepare(site, client)
            with site.paused("s1"):
                name = (await ask(client, create_machine(site, "web", [new_disk(2)]))).name
                last = await stop_under_watch(site, name)
        for service in SERVICES:
            site.start(service)
        for which, token in last.items():
            bare = Bare(site, WATCHES[which], name)
            frames = bare.open(token, mark_live=True)
            # An operation goes on to its end, with which its watch ends too.
            again = await (read_to_end(frames) if WATCHES[which].ends else read_until(frames, KEEPALIVE))
            assert again, which
            assert not {frame.kind for frame in again} & {GAP, SNAPSHOT, BOOKMARK}, which
            await bare.close()


async def stop_under_watch(site: Site, operation: str) -> dict[str, str]:
    """Stop the control plane while every watch is quiet, and return the token of each goodbye."""
    opened = {which: Bare(site, watched, operation) for which, watched in WATCHES.items()}
    streams: dict[str, Any] = {which: bare.open() for which, bare in opened.items()}
    for which, frames in streams.items():
        begun = await read_until(frames, KEEPALIVE)
        assert BOOKMARK in [frame.kind for frame in begun], which
        assert begun[-1].resume_token, which
    for service in SERVICES:
        processes.send(site.record(service), signal.SIGTERM)
    ends = await asyncio.gather(*(read_to_end(frames) for frames in streams.values()))
    for which, frames in zip(streams, ends, strict=True):
        assert [frame.kind for frame in frames].count(GOODBYE) == 1, which
        assert frames[-1].kind == GOODBYE, which
    for bare in opened.values():
        await bare.close()
    async with asyncio.timeout(LIMIT):
        while any(site.is_alive(service) for service in SERVICES):
            await asyncio.sleep(0.01)
    return {which: frames[-1].resume_token for which, frames in zip(streams, ends, strict=True)}


async def test_a_job_that_a_filter_lets_pass_no_more_is_told_as_removed() -> None:
    """A watch of jobs that run is shown one when it begins to run, and told when it has ended; others are not in it."""
    with open_site() as site:
        async with site.client() as client:
            await prepare(site, client)
            request = jobs.WatchJobsRequest(filter="state = RUNNING")
            frames = aiter(client.jobs.WatchJobs(request))
            await read_until(frames, BOOKMARK)
            with site.paused("s1"):
                name = (await ask(client, create_machine(site, "web", [new_disk(2)]))).name
                shown = await read_until(frames, CHANGED)
            gone = await read_until(frames, REMOVED)
            await client.wait(name, timeout=LIMIT)
            assert shown[-1].job.operation == name
            assert {frame.name.partition("-")[0] for frame in gone} == {name.replace("operations", "jobs")}
            await wait_unlocked(client)


BAD = "no_such_field = 1"


@pytest.fixture(name="refusing", scope="module")
def _refusing() -> Any:
    """A site that is asked nothing good."""
    with open_site(servers=()) as site:
        yield site


@pytest.mark.parametrize("which", ["jobs", "summary", "objects", "events", "locks"])
async def test_a_filter_that_is_wrong_is_refused_by_the_service_itself(refusing: Site, which: str) -> None:
    """The refusal names the field, before any frame comes."""
    async with refusing.client() as client:
        calls: dict[str, Callable[[], Any]] = {
            "jobs": lambda: client.jobs.WatchJobs(jobs.WatchJobsRequest(filter=BAD)),
            "summary": lambda: client.jobs.WatchJobSummary(jobs.WatchJobSummaryRequest(filter=BAD)),
            "objects": lambda: client.inventory.WatchObjects(inventory.WatchObjectsRequest(filter=BAD)),
            "events": lambda: client.inventory.WatchEvents(inventory.WatchEventsRequest(filter=BAD)),
            "locks": lambda: client.locks.WatchLocks(locks.WatchLocksRequest(filter=BAD)),
        }
        with pytest.raises(ClientError) as refused:
            await anext(aiter(calls[which]()))
    said = refused.value
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert [each.field for each in said.violations] == ["filter"]
