"""The plain server: unary calls, a stream and a fan-out with nothing of Virtyard but TLS, and Virtyard's own fan-out.

Both fan-outs send the same bytes to the same readers, a chunk whenever the client asks for one by `Publish`.

Usage: python -m tools.bench.bare FOLDER [unbounded], prints the address of the server. With the second word all that a
reader has not read is kept waiting for it in memory, as a feed without bounds would.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2
from virtyard.api.type.v1 import annotations_pb2, watch_pb2
from virtyard.jobs.watch import job_frame, watch_jobs
from virtyard.kernel.permissions import Principal
from virtyard.runtime import loop
from virtyard.runtime.call import Call
from virtyard.runtime.channel_options import SERVER_OPTIONS
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed, Frame
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.subscription import BOUNDS, Bounds
from virtyard.runtime.wire import Wire

_QUEUE = 64
UNBOUNDED = Bounds(items=1 << 40, entries=1 << 40, size=1 << 60)
_CHANGED = watch_pb2.FRAME_KIND_CHANGED
PRINCIPAL = Principal.of("user/admin", frozenset({annotations_pb2.ROLE_ADMINISTRATOR}))


def body_of(number: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a job as a watcher is shown it, about 400 of them."""
    job = job_pb2.Job(
        name=f"jobs/{number}-1",
        operation=f"operations/{number}",
        title="Create Virtual Machine",
        object=f"virtualMachines/vm{number}",
        state=job_pb2.JOB_STATE_RUNNING,
        principal="user/admin",
        steps=[job_pb2.Step(id=str(step), title="Record the machine", participant="inventory") for step in range(1, 6)],
    )
    job.create_time.GetCurrentTime()
    return job.name, job.SerializeToString()


def resident_mib() -> float:
    """Return the memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


class Bare:
    """What plain grpcio does."""

    def __init__(self) -> None:
        """Start without readers."""
        self._queues: set[asyncio.Queue[bytes]] = set()

    async def echo(self, raw: bytes, context: Any) -> bytes:
        """Answer with what was asked."""
        del context
        return raw

    async def stream(self, raw: bytes, context: Any) -> AsyncIterator[bytes]:
        """Send messages as fast as they are taken."""
        del raw, context
        _, body = body_of(1)
        while True:
            yield body

    async def watch(self, raw: bytes, context: Any) -> AsyncIterator[bytes]:
        """Send what is published, after one message that says that the reader stands."""
        del raw, context
        queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE)
        self._queues.add(queue)
        try:
            yield b"\x08\x01"
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)

    async def publish(self, frame: bytes) -> None:
        """Give every reader a frame, and wait for those whose queue is full."""
        for queue in self._queues:
            if queue.full():
                await queue.put(frame)
            else:
                queue.put_nowait(frame)


class Watched:
    """JobService as far as WatchJobs goes, over a feed that is fed by the measurement."""

    def __init__(self, feed: Feed) -> None:
        """Serve this feed."""
        self._feed = feed

    async def WatchJobs(  # noqa: N802 - the rpc's name
        self, request: job_service_pb2.WatchJobsRequest, call: Call
    ) -> AsyncIterator[bytes]:
        """Yield jobs as they change."""
        del call
        async for frame in watch_jobs(self._feed, request):
            yield frame


class Measured:
    """The server with both fan-outs."""

    def __init__(self, feed: Feed, database: Database) -> None:
        """Publish into this feed by its database."""
        self._feed = feed
        self._database = database
        self._bare = Bare()
        self._number = 0

    def handlers(self, scope: TaskScope) -> list[grpc.GenericRpcHandler]:
        """Return what the server serves."""
        service = Service(job_service_pb2.DESCRIPTOR.services_by_name["JobService"], Watched(self._feed))
        plain: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._bare.echo),
            "Stream": grpc.unary_stream_rpc_method_handler(self._bare.stream),
            "Watch": grpc.unary_stream_rpc_method_handler(self._bare.watch),
            "Publish": grpc.unary_unary_rpc_method_handler(self._publish),
            "State": grpc.unary_unary_rpc_method_handler(self._state),
        }
        wire = Wire(scope, lambda _: PRINCIPAL)
        return [wire.handler(service), grpc.method_handlers_generic_handler("bench.Bare", plain)]

    async def _state(self, raw: bytes, context: Any) -> bytes:
        """Tell how much memory this process has, and what its feed keeps waiting and is behind with."""
        del raw, context
        feed = self._feed
        return json.dumps({"rss_mib": resident_mib(), "buffered": feed.buffered, "lag": feed.lag}).encode()

    async def _publish(self, raw: bytes, context: Any) -> bytes:
        """Publish a chunk: to plain readers, or as one commit of the feed's database."""
        del context
        kind, _, count = raw.decode().partition(" ")
        chunk = []
        for _ in range(int(count)):
            self._number += 1
            chunk.append(body_of(self._number))
        if kind == "feed":
            await self._database.write(
                lambda transaction: [transaction.append("job", name, body) for name, body in chunk]
            )
        else:
            token = self._feed.token()
            for name, body in chunk:
                await self._bare.publish(job_frame(Frame(kind=_CHANGED, token=token, topic="job", key=name, body=body)))
        return b""


async def _main(folder: Path, bounds: Bounds) -> None:
    feed = Feed("jobs", bounds=bounds)
    async with (
        await Database.open(folder / "feed.db", "virtyard.jobs.migrations", feed, SystemClock()) as database,
        TaskScope("bench") as scope,
    ):
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers(Measured(feed, database).handlers(scope))
        credentials = Credentials.load(folder / "service" / "jobs")
        port = server.add_secure_port("127.0.0.1:0", credentials.for_server())
        await server.start()
        print(f"127.0.0.1:{port}", flush=True)
        try:
            # Until the one who started it closes the pipe.
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        finally:
            await server.stop(0.2)


if __name__ == "__main__":
    loop.run(_main(Path(sys.argv[1]), UNBOUNDED if sys.argv[2:] == ["unbounded"] else BOUNDS))
