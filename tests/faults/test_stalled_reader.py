"""A foreign client that never reads: bare grpcio with its own options, over a hundred thousand changes of real TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tools.bench.client import Target
from tools.bench.plain import Plain
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.processes.site import prepare_authority
from virtyard.runtime.subscription import BOUNDS

WATCH = "/virtyard.api.jobs.v1.JobService/WatchJobs"
CHANGES, HALF, PORTION = 100_000, 50_000, 500
PATIENCE = 180
GROWTH_MIB = 8
"""What the service's memory may grow by over the second half, of which the changes alone are 22 MB."""
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Return a folder with certificates."""
    prepare_authority(tmp_path, hosts=["127.0.0.1"])
    return tmp_path


@asynccontextmanager
async def reading_nothing(target: Target) -> AsyncIterator[Any]:
    """Yield a call of WatchJobs of which the first frame was read, and no other is."""
    async with target.dial_as_others_do() as channel:
        options = watch_pb2.WatchOptions(skip_snapshot=True, batch=True)
        watch: Any = channel.unary_stream(WATCH)
        call = watch(job_service_pb2.WatchJobsRequest(options=options).SerializeToString(), wait_for_ready=True)
        assert await call.read() is not grpc.aio.EOF
        yield call
        call.cancel()


class Server:
    """The feed of jobs in a process of its own, told what to publish."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Use `serving`."""
        self._publish: Any = channel.unary_unary("/bench.Bare/Publish")
        self._state: Any = channel.unary_unary("/bench.Bare/State")
        self.published = 0

    async def publish_up_to(self, count: int) -> dict[str, float]:
        """Commit changes, each of a job of its own, until there were so many; return the most of each thing it said."""
        most: dict[str, float] = {}
        while self.published < count:
            await self._publish(f"feed {PORTION}".encode())
            self.published += PORTION
            if self.published % 5_000 == 0:
                said = json.loads(await self._state(b""))
                most = {key: max(value, most.get(key, 0)) for key, value in said.items()}
        return most


@asynccontextmanager
async def serving(folder: Path, *words: str) -> AsyncIterator[tuple[Server, Any]]:
    """Yield a server, and the call of a client that does not read from it."""
    async with (
        asyncio.timeout(PATIENCE),
        Plain.started(folder, *words) as plain,
        reading_nothing(plain.target) as call,
        plain.target.dial() as channel,
    ):
        yield Server(channel), call


async def test_a_client_that_never_reads_costs_no_memory_and_is_then_told_everything(folder: Path) -> None:
    """The service keeps what its bounds allow and no more; once it reads, every change comes, in its order."""
    async with serving(folder) as (server, call):
        first = await server.publish_up_to(HALF)
        then = await server.publish_up_to(CHANGES)
        assert max(first["buffered"], then["buffered"]) <= BOUNDS.size
        assert then["rss_mib"] - first["rss_mib"] <= GROWTH_MIB, (first, then)
        assert then["lag"] >= CHANGES - HALF, "its window took all of it: nothing was proved"
        told: list[int] = []
        while not told or told[-1] < CHANGES:
            answer = job_service_pb2.WatchJobsResponse.FromString(await call.read())
            names = [frame.job.name for frame in (answer, *answer.further) if frame.HasField("job")]
            told += [int(name.removeprefix("jobs/").removesuffix("-1")) for name in names]
        assert told == list(range(1, CHANGES + 1))


async def test_without_bounds_the_same_client_is_seen_to_cost_memory(folder: Path) -> None:
    """The bounds switched off: what waits for it is far above what may."""
    async with serving(folder, "unbounded") as (server, _):
        said = await server.publish_up_to(HALF)
        assert said["buffered"] > 2 * BOUNDS.size
