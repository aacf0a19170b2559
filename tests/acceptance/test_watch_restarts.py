"""Watches whose services are killed under them, whose history is forgotten, or that begin when the story has ended."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.acceptance.asking import LIMIT, ask, create_machine, list_objects, new_disk, prepare, run, wait_unlocked
from tests.acceptance.site import ROOT, SPLIT, Site, open_site
from tests.acceptance.watching import (
    BOOKMARK,
    CHANGED,
    GAP,
    SNAPSHOT,
    WATCHES,
    Bare,
    known_after,
    told,
)
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.jobs.v1 import job_service_pb2 as jobs
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.resume_point import ResumePoint
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.watch import Watch

GUIDE = ROOT / "docs/api-guide.md"
pytestmark = pytest.mark.timeout(240)

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
MANY = [name for name in WATCHES if name not in ("summary", "operation")]
"""The watches over many things, none of which ends."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A split site with one server."""
    with open_site("split") as running:
        yield running


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """Our client, on a site that has a pool and a repository."""
    async with site.client() as opened:
        if not (site.shared / "shared").exists():
            await prepare(site, opened)
        yield opened


class Ours:
    """Our client's watch, followed beside the test."""

    def __init__(self, client: Client, name: str, token: str = "") -> None:
        """Begin to watch, from the snapshot or behind a token."""
        self.frames: list[Any] = []
        self.live: list[bool] = []
        watch = WATCHES[name].ours(client, "", token)
        assert isinstance(watch, Watch)
        watch.on_live = lambda one: self.live.append(one.live)
        self.watch = watch
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for frame in self.watch:
            self.frames.append(frame)


class ByHand:
    """A bare client's watch, opened again behind the last frame whenever it breaks."""

    def __init__(self, bare: Bare) -> None:
        """Begin to watch, from the snapshot."""
        self.frames: list[Any] = []
        self.breaks = 0
        self._bare = bare
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            token = self.frames[-1].resume_token if self.frames else ""
            try:
                async for frame in self._bare.open(token):
                    self.frames.append(frame)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _PASSING:
                    raise
                self.breaks += 1
                await asyncio.sleep(0.05)


@asynccontextmanager
async def ended(*tasks: asyncio.Task[None]) -> AsyncIterator[None]:
    """Cancel the tasks at the end; one that failed before fails the test."""
    try:
        yield
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def present(bare: Bare) -> dict[str, bytes]:
    """Return what is there now, as a new watcher is shown it."""
    return known_after(await bare.frames())


def sequences(frames: Sequence[Any]) -> list[int]:
    """Return the places in the feed that the frames stand for, from the bookmark on."""
    return [ResumePoint.parse(frame.resume_token).sequence for frame in frames if frame.kind != SNAPSHOT]


def is_subsequence(part: Sequence[Any], whole: Sequence[Any]) -> bool:
    """Return whether the parts come in the whole in this order."""
    rest = iter(whole)
    return all(any(one == other for other in rest) for one in part)


async def caught_up(bare: Bare, *follower: Any) -> dict[str, bytes]:
    """Wait until the followers know what a new watcher is shown, and return that."""
    async with asyncio.timeout(LIMIT):
        while True:
            now = await present(bare)
            if all(known_after(one.frames) == now for one in follower):
                return now
            await asyncio.sleep(0.05)


async def test_a_kill_in_mid_stream_loses_nothing_and_repeats_nothing(site: Site, client: Client) -> None:
    """Proves for each watch and both clients: a service is killed while an operation runs, and its watchers go on."""
    bares = {name: Bare(site, WATCHES[name]) for name in MANY}
    ours = {name: Ours(client, name) for name in MANY}
    hands = {name: ByHand(bare) for name, bare in bares.items()}
    tasks = [*(one.task for one in ours.values()), *(one.task for one in hands.values())]
    async with ended(*tasks):
        for name, bare in bares.items():
            await caught_up(bare, ours[name], hands[name])
        for number, service in enumerate(SPLIT):
            operation = await ask(client, create_machine(site, f"killed-{number}", [new_disk(2), new_disk(2)], 1))
            site.kill(service)
            site.start(service)
            assert (await client.wait(operation, timeout=LIMIT)).state == operation_pb2.OPERATION_STATE_SUCCEEDED
        await wait_unlocked(client)
        for name, bare in bares.items():
            known = await caught_up(bare, ours[name], hands[name])
            assert known or name == "locks"
            for frames in (ours[name].frames, hands[name].frames):
                check(name, frames, await whole(bare, frames))
            assert hands[name].breaks, f"the stream of {name} did not break"
            assert ours[name].watch.gaps == 0
            assert (ours[name].live[:3], ours[name].watch.live) == ([True, False, True], True)
    for bare in bares.values():
        await bare.close()


async def whole(bare: Bare, frames: Sequence[Any]) -> list[Any]:
    """Return all changes behind a follower's bookmark up to its last frame, read without a cut."""
    bookmark = next(frame for frame in frames if frame.kind == BOOKMARK)
    changes = [frame for frame in frames if frame.kind in (CHANGED, watch_pb2.FRAME_KIND_REMOVED)]
    return await bare.frames(bookmark.resume_token, last=changes[-1].resume_token)


def check(name: str, frames: Sequence[Any], uncut: Sequence[Any]) -> None:
    """See that a follower was told what happened, in its order, each once."""
    places = sequences(frames)
    assert places == sorted(places), name
    assert not {frame.kind for frame in frames} & {GAP}, name
    expected = [told(frame) for frame in uncut]
    # Progress, and who uses a lock, is told beside the journal; a journalled frame that came twice is no subsequence.
    journalled = [one for one in map(told, frames) if one in expected]
    assert is_subsequence(journalled, expected), name
    if name == "events":
        assert journalled == expected


async def test_history_that_is_forgotten_is_a_gap_and_a_snapshot(site: Site, client: Client) -> None:
    """Proves for every watch: a token from before the retained history gives GAP and then what is there now."""
    operation = (await run(client, create_machine(site, "forgotten", [new_disk(2)], 1))).name
    await wait_unlocked(client)
    bares = {name: Bare(site, watched, operation) for name, watched in WATCHES.items()}
    old = {name: (await bares[name].frames(skip=True))[-1].resume_token for name in WATCHES if name != "operation"}
    started = jobs.WatchOperationRequest(name=operation)
    old["operation"] = next(iter([frame async for frame in client.jobs.WatchOperation(started)])).resume_token
    await run(client, create_machine(site, "since", [new_disk(2)], 1))
    await wait_unlocked(client)
    for service in SPLIT:
        site.kill(service)
    for path in site.folder.glob("state/**/*.db"):
        if path.stem in SPLIT:
            forget_journal(path)
    for service in SPLIT:
        site.start(service)
    for name in MANY:
        fresh = await present(bares[name])
        frames = await bares[name].frames(old[name])
        assert [frames[0].kind, frames[-1].kind] == [GAP, BOOKMARK], name
        assert {frame.kind for frame in frames[1:-1]} <= {SNAPSHOT}, name
        if name == "events":
            # A log has no last state: the snapshot goes on behind the token.
            assert is_subsequence(list(known_after(frames)), list(fresh))
            assert len(known_after(frames)) < len(fresh)
        else:
            assert known_after(frames) == fresh, name
        follower = Ours(client, name, old[name])
        async with ended(follower.task), asyncio.timeout(LIMIT):
            while not follower.watch.live:
                await asyncio.sleep(0.01)
            assert follower.watch.gaps == 1
            assert [told(frame)[:2] for frame in follower.frames] == [told(frame)[:2] for frame in frames], name
    told_end = await bares["operation"].frames(old["operation"])
    assert told_end[0].kind == GAP
    assert told_end[-2].operation.done
    # The token of the counters says what they were; nothing of the journal is needed to tell that they differ.
    (counters,) = await bares["summary"].frames_until_quiet(old["summary"])
    assert counters.summary == await client.jobs.GetJobSummary(jobs.GetJobSummaryRequest())
    for bare in bares.values():
        await bare.close()


def forget_journal(path: Any) -> None:
    """Have a database that nobody has open forget its journal, as it does when that has grown long."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DELETE FROM journal")
        connection.execute("UPDATE feed SET oldest = sequence + 1")
    connection.close()


async def test_the_token_of_an_answer_tells_the_whole_story_however_late(site: Site, client: Client) -> None:
    """Proves that the token is from before the change: ended, followed by other work, restarted, the story is whole."""
    operation = await ask(client, create_machine(site, "story", [new_disk(2), new_disk(2)], 1))
    metadata = operation_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    token = metadata.resume_tokens["jobs"]
    bare = Bare(site, WATCHES["operation"], operation.name)
    live = await bare.frames(token)
    assert live[-1].operation.done
    for number in range(3):
        await run(client, create_machine(site, f"after-story-{number}", [new_disk(2)]))
    later = await bare.frames(token)
    site.kill("jobs")
    site.start("jobs")
    after_restart = await bare.frames(token)
    assert [told(frame) for frame in after_restart] == [told(frame) for frame in later]
    assert is_subsequence([told(frame) for frame in live], [told(frame) for frame in later])
    states: dict[str, list[int]] = {}
    for frame in later:
        if frame.HasField("job"):
            known = states.setdefault(frame.job.name, [])
            known += [frame.job.state] if known[-1:] != [frame.job.state] else []
    first = {seen[0] for seen in states.values()}
    assert len(states) == 7
    assert all(len(seen) >= 2 for seen in states.values()), states
    assert first <= {jobs_state("PENDING"), jobs_state("WAITING_FOR_LOCKS")}, states
    assert {seen[-1] for seen in states.values()} == {jobs_state("COMPLETED")}
    # And so do the watches over everything, each from the token of its feed.
    job, machine = operation.name.replace("operations", "jobs"), "virtualMachines/story"
    for name, feed, key in (("jobs", "jobs", f"{job}-"), ("objects", "inventory", machine)):
        every = Bare(site, WATCHES[name])
        told_all = await every.frames_until_quiet(metadata.resume_tokens[feed])
        assert any(frame.name.startswith(key) for frame in told_all), name
        await every.close()
    await bare.close()


async def test_the_example_of_the_guide_keeps_what_is_there(site: Site, client: Client) -> None:
    """Proves that the code in docs/api-guide.md runs as it stands, over a kill, and says when it is not live."""
    code = re.search(r"```python\n([^`]*async def follow_machines.*?)```", GUIDE.read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(compile(code[1], str(GUIDE), "exec"), names)
    known: dict[str, Any] = {}
    said: list[str] = []
    following = asyncio.create_task(names["follow_machines"](client, known, said.append))
    async with ended(following), asyncio.timeout(LIMIT):
        await run(client, create_machine(site, "shown", []))
        while "virtualMachines/shown" not in known:
            await asyncio.sleep(0.01)
        site.kill("inventory")
        site.start("inventory")
        request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/shown")
        while True:
            try:
                await run(client, request)
                break
            except ClientError as error:
                # The scheduler dials the inventory anew only after its back-off.
                if not error.unreachable:
                    raise
        while "virtualMachines/shown" in known or said[-1] != "live":
            await asyncio.sleep(0.01)
        assert sorted(known) == sorted(one.name for one in await list_objects(client, "VirtualMachines"))
    assert said[0] == "live"
    assert said[1].startswith("not live: ")


def jobs_state(name: str) -> int:
    """Return the number of a job's state."""
    return int(job_pb2.JobState.Value(f"JOB_STATE_{name}"))
