"""Stalled readers: what ten subscribers who never read cost the others, and the service, beside a bare grpcio stream.

A thousand subscribers of `WatchJobs` are shown bursts of changes; each notes how long a frame took from the beginning
of its commit. Then the same beside ten others who read one frame and never another one. The bare fan-out sends the same
bytes in the same bursts to as many readers, none of which stalls.

Usage: python -m tools.bench.stalled ADDRESS CREDENTIALS SECONDS, prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from tools.bench.client import KEEPALIVE, METHODS, Target
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime import loop

READERS, STALLED = 1000, 10
_CHUNK = 5
"""Frames of a burst: 5,000 deliveries, about a third of a second for one processor."""
_CONNECTIONS = 10
_PATIENCE = 120.0


class Crowd:
    """Readers of one fan-out over ten connections, and how long each delivery took."""

    def __init__(self, target: Target, kind: str, readers: int) -> None:
        """Dial for so many readers; `open` has them read."""
        self._channels = [target.dial() for _ in range(_CONNECTIONS)]
        self._kind = kind
        self._got = [-1] * readers
        self._began = 0.0
        self._arrived = asyncio.Event()
        self._publish: Any = self._channels[0].unary_unary("/bench.Bare/Publish")
        self.taken: list[float] = []
        """Milliseconds from the beginning of a burst to a frame of it, for each delivery."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have everybody read, until the end of the block."""
        for channel in self._channels:
            await channel.channel_ready()
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(self._read(index)) for index in range(len(self._got))]
            await self._all_have(0)
            yield
            for task in reading:
                task.cancel()
        for channel in self._channels:
            await channel.close()

    async def _read(self, index: int) -> None:
        method, request = METHODS[self._kind]
        watch: Any = self._channels[index % _CONNECTIONS].unary_stream(method)
        # The first frame says that the watch stands; it is none of those that are counted.
        async for raw in watch(request, wait_for_ready=True):
            if raw.startswith(KEEPALIVE):
                continue
            self._got[index] += 1
            if self._got[index]:
                self.taken.append(1000 * (time.perf_counter() - self._began))
            if self._got[index] % _CHUNK == 0:
                self._arrived.set()

    async def _all_have(self, count: int) -> None:
        async with asyncio.timeout(_PATIENCE):
            while min(self._got) < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def burst(self) -> None:
        """Publish a burst and wait until everybody has it."""
        sent = max(self._got)
        self._began = time.perf_counter()
        await self._publish(f"{self._kind} {_CHUNK}".encode())
        await self._all_have(sent + _CHUNK)

    async def bursts(self, seconds: float) -> list[float]:
        """Measure bursts for so long, one after another, and return how long the deliveries took, sorted."""
        self.taken = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await self.burst()
        return sorted(self.taken)


@asynccontextmanager
async def stalled(target: Target, count: int) -> AsyncIterator[None]:
    """Keep subscribers, each on a connection of its own with grpcio's own options, who read one frame and no more."""
    method, _ = METHODS["feed"]
    options = watch_pb2.WatchOptions(skip_snapshot=True, batch=True)
    request = job_service_pb2.WatchJobsRequest(options=options).SerializeToString()
    channels = [target.dial_as_others_do() for _ in range(count)]
    calls = []
    for channel in channels:
        watch: Any = channel.unary_stream(method)
        calls.append(watch(request, wait_for_ready=True))
        assert await calls[-1].read() is not grpc.aio.EOF
    try:
        yield
    finally:
        for call in calls:
            call.cancel()
        for channel in channels:
            await channel.close()


async def flood(target: Target, frames: int) -> None:
    """Publish so many frames, of about 450 bytes each."""
    channel = target.dial()
    publish: Any = channel.unary_unary("/bench.Bare/Publish")
    for _ in range(frames // 500):
        await publish(b"feed 500")
    await channel.close()


async def state(target: Target) -> dict[str, float]:
    """Return the server's own memory and what its feed keeps waiting."""
    channel = target.dial()
    ask: Any = channel.unary_unary("/bench.Bare/State")
    found: dict[str, float] = json.loads(await ask(b""))
    await channel.close()
    return found


async def turn(target: Target, kind: str, stalling: int, seconds: float) -> tuple[list[float], dict[str, float]]:
    """Return how long deliveries took beside so many who do not read, and the server's state at the end of it."""
    async with stalled(target, stalling):
        # More than the windows of those who do not read can hold; without them too, so that memory can be compared.
        await flood(target, 12_000)
        crowd = Crowd(target, kind, READERS)
        async with crowd.open():
            for _ in range(2):
                await crowd.burst()
            taken = await crowd.bursts(seconds)
            return taken, await state(target)


def percentile(taken: Sequence[float], part: float) -> float:
    """Return a percentile of sorted values."""
    return taken[min(len(taken) - 1, int(len(taken) * part))]


async def measure(address: str, credentials: str, seconds: float) -> dict[str, float]:
    """Measure bare readers, watchers, and watchers beside stalled ones, in turns so that none has the better hour."""
    target = Target(address, credentials)
    kinds = {"bare": ("bare", 0), "alone": ("feed", 0), "beside": ("feed", STALLED)}
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    memory: dict[str, dict[str, float]] = {}
    for _ in range(2):
        for name, (kind, stalling) in kinds.items():
            some, memory[name] = await turn(target, kind, stalling, seconds / 2)
            taken[name] += some
    found = {f"{name}_rss_mib": memory[name]["rss_mib"] for name in ("alone", "beside")}
    found["buffered_kib"] = memory["beside"]["buffered"] / 1024
    for name, values in taken.items():
        values.sort()
        found[f"{name}_p50_ms"], found[f"{name}_p99_ms"] = percentile(values, 0.5), percentile(values, 0.99)
    return found


if __name__ == "__main__":
    print(json.dumps(loop.run(measure(sys.argv[1], sys.argv[2], float(sys.argv[3])))))
