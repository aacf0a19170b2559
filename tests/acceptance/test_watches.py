"""Every watch of real services, cut at each of its frames: the rest is told, all of it, and nothing twice.

Two clients do the same: our own, whose stream breaks after every frame, and a bare grpcio stub with tokens by hand.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.acceptance.asking import LIMIT, create_machine, list_locks, new_disk, prepare, run, wait_unlocked
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import inventory_service_pb2 as inventory
from virtyard.api.inventory.v1 import inventory_service_pb2_grpc
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2_grpc
from virtyard.api.jobs.v1 import job_service_pb2 as jobs
from virtyard.api.locks.v1 import lock_service_pb2 as locks
from virtyard.api.locks.v1 import lock_service_pb2_grpc
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.pki import Credentials, dns_name
from virtyard.runtime.resume_point import ResumePoint
from virtyard_client import client as client_module
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.watch import resume

pytestmark = pytest.mark.timeout(240)

SNAPSHOT = watch_pb2.FRAME_KIND_SNAPSHOT
BOOKMARK = watch_pb2.FRAME_KIND_BOOKMARK
CHANGED = watch_pb2.FRAME_KIND_CHANGED
GAP = watch_pb2.FRAME_KIND_GAP
REMOVED = watch_pb2.FRAME_KIND_REMOVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One watch: how it is asked for by each client."""

    service: str
    """The process that serves it."""
    bare: Callable[[grpc.aio.Channel, str, watch_pb2.WatchOptions], Any]
    """Opens it by a stub of grpcio, for an operation where it needs one."""
    ours: Callable[[Client, str, str], AsyncIterator[Any]]
    """Opens it by our client, at a token."""
    ends: bool = False
    """True if the stream ends by itself."""


async def _operation_frames(client: Client, operation: str, token: str) -> AsyncIterator[Any]:
    """Yield the frames of our client's watch of one operation, as the command line does with --json."""

    def start(options: watch_pb2.WatchOptions) -> AsyncIterator[Any]:
        return aiter(client.jobs.WatchOperation(jobs.WatchOperationRequest(name=operation, options=options)))

    async for frame in vars(client_module)["resume"](start, watch_pb2.WatchOptions(resume_token=token)):
        yield frame


WATCHES = {
    "jobs": Watched(
        service="jobs",
        bare=lambda channel, _, options: job_service_pb2_grpc.JobServiceStub(channel).WatchJobs(
            jobs.WatchJobsRequest(options=options)
        ),
        ours=lambda client, _, token: client.watch_jobs(resume_token=token),
    ),
    "operation": Watched(
        service="jobs",
        bare=lambda channel, operation, options: job_service_pb2_grpc.JobServiceStub(channel).WatchOperation(
            jobs.WatchOperationRequest(name=operation, options=options)
        ),
        ours=_operation_frames,
        ends=True,
    ),
    "summary": Watched(
        service="jobs",
        bare=lambda channel, _, options: job_service_pb2_grpc.JobServiceStub(channel).WatchJobSummary(
            jobs.WatchJobSummaryRequest(options=options)
        ),
        ours=lambda client, _, token: client.watch_job_summary(resume_token=token),
    ),
    "objects": Watched(
        service="inventory",
        bare=lambda channel, _, options: inventory_service_pb2_grpc.InventoryServiceStub(channel).WatchObjects(
            inventory.WatchObjectsRequest(options=options)
        ),
        ours=lambda client, _, token: client.watch_objects(resume_token=token),
    ),
    "locks": Watched(
        service="locks",
        bare=lambda channel, _, options: lock_service_pb2_grpc.LockServiceStub(channel).WatchLocks(
            locks.WatchLocksRequest(options=options)
        ),
        ours=lambda client, _, token: client.watch_locks(resume_token=token),
    ),
}


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


def told(frame: Any) -> tuple[Any, ...]:
    """Return what a frame tells, less what a projection adds to it at the moment at which it is sent."""
    body = type(frame)()
    body.CopyFrom(frame)
    if isinstance(body, inventory.WatchObjectsResponse) and (which := body.object.WhichOneof("object")):
        getattr(body.object, which).ClearField("activity")
    return (frame.kind, getattr(frame, "name", ""), body.SerializeToString(deterministic=True))


async def durable(frames: AsyncIterable[Any], token: str) -> AsyncIterator[Any]:
    """Yield the frames that a journal has: progress, and who locks what, bears the token of what came before it."""
    async for frame in frames:
        if frame.resume_token != token:
            yield frame
        token = frame.resume_token


class Bare:
    """A client with nothing but generated stubs."""

    def __init__(self, site: Site, watched: Watched, operation: str = "") -> None:
        credentials = Credentials.load(site.folder / "pki" / "user" / "admin").for_channel()
        options = [
            ("grpc.ssl_target_name_override", dns_name(f"service/{watched.service}")),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.aio.secure_channel(site.addresses[watched.service], credentials, options=options)
        self._watched, self._operation = watched, operation

    async def frames(self, token: str = "", *, last: str = "", skip: bool = False) -> list[Any]:
        """Return the frames from a token on, up to the one with the last token, or else up to the bookmark."""
        options = watch_pb2.WatchOptions(resume_token=token, skip_snapshot=skip)
        found: list[Any] = []
        if token and token == last:
            return found
        call = self._watched.bare(self._channel, self._operation, options)
        async with asyncio.timeout(LIMIT):
            async for frame in durable(call, token):
                found.append(frame)
                if frame.resume_token == last if last else frame.kind == BOOKMARK and not self._watched.ends:
                    break
        call.cancel()
        return found

    async def frames_until_quiet(self, token: str) -> list[Any]:
        """Return the frames from a token on, until none has come for a second: nothing is going on any more."""
        found: list[Any] = []
        call = self._watched.bare(self._channel, self._operation, watch_pb2.WatchOptions(resume_token=token))
        frames = durable(call, token)
        try:
            while True:
                async with asyncio.timeout(1.0 if found else LIMIT):
                    found.append(await anext(frames))
        except TimeoutError:
            call.cancel()
        return found

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """Our client."""
    async with site.client() as opened:
        yield opened


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the stream of our client after each frame that comes, so that it must resume each time."""
    real = resume

    async def one_frame(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for frame in stream:
            yield frame
            raise ClientError("cut by the test", code="UNAVAILABLE")

    def cut(start: Callable[[watch_pb2.WatchOptions], AsyncIterator[Any]], *more: Any) -> AsyncIterator[Any]:
        return real(lambda options: one_frame(start(options)), *more)

    monkeypatch.setattr(client_module, "resume", cut)


async def made(site: Site, client: Client, name: str) -> str:
    """Make a machine, and return its operation once nothing of it is locked any more."""
    story = await run(client, create_machine(site, name, [new_disk(2), new_disk(2)], 1))
    await wait_unlocked(client)
    return story.name


async def read_ours(frames: AsyncIterator[Any], token: str, last: str) -> list[Any]:
    """Return what our client yields, up to the frame with that token."""
    found = []
    async with asyncio.timeout(LIMIT):
        async for frame in durable(frames, token):
            found.append(frame)
            if frame.resume_token == last:
                break
    return found


async def snapshot_while_held(site: Site, client: Client, name: str, read: Callable[[], Awaitable[Any]]) -> Any:
    """Return what is read while an operation holds its locks and nothing moves; then let it go on to its end."""
    with site.paused("s1"):
        held = asyncio.ensure_future(run(client, create_machine(site, name, [new_disk(2)])))
        while not waits_for_host(await list_locks(client), await list_last_jobs(client)):
            await asyncio.sleep(0.01)
        try:
            found = await read()
        except BaseException:
            held.cancel()
            raise
    await held
    await wait_unlocked(client)
    return found


async def list_last_jobs(client: Client) -> list[Any]:
    """Return the jobs of the newest operation."""
    return list((await client.jobs.ListJobs(jobs.ListJobsRequest(page_size=10))).jobs)


def waits_for_host(held: list[Any], listed: list[Any]) -> bool:
    """Return whether locks are held and a host is being waited for."""
    steps = [step for job in listed for step in job.steps]
    started = [step for step in steps if step.state == job_pb2.STEP_STATE_STARTED]
    return len(held) > 3 and any(step.participant != "inventory" for step in started)


FEEDS = ["jobs", "objects", "locks"]


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


@pytest.mark.parametrize("name", WATCHES)
async def test_a_token_of_another_service_is_refused_and_one_of_another_database_is_a_gap(
    site: Site, client: Client, name: str
) -> None:
    """The refusal names the field; history that this database never had is told as a gap, with a snapshot behind it."""
    operation = await made(site, client, f"token-{name}")
    watched = WATCHES[name]
    bare = Bare(site, watched, operation)
    foreign = ResumePoint(service="elsewhere", incarnation="1.0", sequence=1)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await bare.frames(foreign.token())
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "resume_token" in str(refusal.value.details())
    restored = ResumePoint(service=watched.service, incarnation="9.another", sequence=1)
    frames = await bare.frames(restored.token())
    assert [frames[0].kind, frames[-1].kind] == [GAP, BOOKMARK]
    assert {frame.kind for frame in frames[1:-1]} <= {SNAPSHOT}
    # Cut at once behind the gap, the snapshot is still to come.
    again = await bare.frames(frames[0].resume_token)
    assert [told(frame)[:2] for frame in again] == [told(frame)[:2] for frame in frames[1:]]
    await bare.close()


def known_after(frames: list[Any]) -> dict[str, bytes]:
    """Return what a watcher knows after these frames, by name."""
    known: dict[str, bytes] = {}
    for frame in frames:
        if frame.kind in (SNAPSHOT, CHANGED):
            plain = type(frame).FromString(told(frame)[2])
            plain.ClearField("kind")
            plain.ClearField("resume_token")
            known[frame.name] = plain.SerializeToString(deterministic=True)
        elif frame.kind == REMOVED:
            known.pop(frame.name, None)
    return known
