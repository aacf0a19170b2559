"""Watches of a real site, each as it is opened by our client and by a bare one with nothing but generated stubs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from tests.acceptance.asking import LIMIT, create_machine, list_locks, new_disk, run, wait_unlocked
from tests.acceptance.site import Site
from virtyard.api.inventory.v1 import inventory_service_pb2 as inventory
from virtyard.api.inventory.v1 import inventory_service_pb2_grpc
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2_grpc
from virtyard.api.jobs.v1 import job_service_pb2 as jobs
from virtyard.api.locks.v1 import lock_service_pb2 as locks
from virtyard.api.locks.v1 import lock_service_pb2_grpc
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.pki import Credentials, dns_name
from virtyard_client.client import Client

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


def _operation_frames(client: Client, operation: str, token: str) -> AsyncIterator[Any]:
    """Return our client's watch of one operation, frame by frame."""
    options = watch_pb2.WatchOptions(resume_token=token)
    return client.watch(client.jobs.WatchOperation, jobs.WatchOperationRequest(name=operation, options=options))


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
    "events": Watched(
        service="inventory",
        bare=lambda channel, _, options: inventory_service_pb2_grpc.InventoryServiceStub(channel).WatchEvents(
            inventory.WatchEventsRequest(options=options)
        ),
        ours=lambda client, _, token: client.watch_events(resume_token=token),
    ),
    "locks": Watched(
        service="locks",
        bare=lambda channel, _, options: lock_service_pb2_grpc.LockServiceStub(channel).WatchLocks(
            locks.WatchLocksRequest(options=options)
        ),
        ours=lambda client, _, token: client.watch_locks(resume_token=token),
    ),
}


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

    def open(self, token: str = "", *, mark_live: bool = False) -> AsyncIterator[Any]:
        """Open the stream behind a token."""
        options = watch_pb2.WatchOptions(resume_token=token, mark_live=mark_live)
        return aiter(self._watched.bare(self._channel, self._operation, options))

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
