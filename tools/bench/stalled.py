"""Stalled readers: what ten subscribers who never read cost the others, and the service, beside a bare grpcio stream.

A thousand subscribers of `WatchJobs` are shown bursts of changes; each notes how long a frame took from the beginning
of its commit. Then the same beside ten others who read one frame and never another one, then without them again. The
bare fan-out sends the same bytes in the same bursts to as many readers, none of which stalls; it commits nothing.

Four such turns are a round, each with a server of its own, as a process does not give back all memory that it had. A
ratio is taken within a round, so that a machine that gets busier does not count, and the median of all rounds is told
with the least and the most. What two equal turns of a round differ by is told as well: a ratio within that means none.

Usage: python -m tools.bench.stalled FOLDER ROUNDS SECONDS, prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from tools.bench.client import KEEPALIVE, METHODS, Target
from tools.bench.plain import Plain
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.processes.site import prepare_authority
from virtyard.runtime import loop

READERS, STALLED = 1000, 10
_CHUNK = 5
"""Frames of a burst: 5,000 deliveries, about a third of a second for one processor."""
_FLOOD = 24_000
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
        self._state: Any = self._channels[0].unary_unary("/bench.Bare/State")
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

    async def state(self) -> dict[str, float]:
        """Return the server's own memory, what its feed keeps waiting, and how far the slowest reader is behind."""
        found: dict[str, float] = json.loads(await self._state(b""))
        return found

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
        await publish(b"feed 500", wait_for_ready=True)
    await channel.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn came to."""

    p50_ms: float
    """The median time of a delivery."""
    p99_ms: float
    """The time within which 99 of 100 deliveries came."""
    cpu_us: float
    """Processor time of the server for each delivery: what others do on the machine is no part of it."""
    rss_mib: float
    """The memory of the server at the end, with all readers there."""
    buffered_kib: float
    """What its feed kept waiting then, for all readers together."""


async def turn(folder: Path, kind: str, stalling: int, seconds: float) -> Turn:
    """Return how deliveries went beside so many who do not read."""
    async with Plain.started(folder) as server, stalled(server.target, stalling):
        # More than the windows of those who do not read can hold; without them too, so that memory can be compared.
        await flood(server.target, _FLOOD)
        crowd = Crowd(server.target, kind, READERS)
        async with crowd.open():
            for _ in range(2):
                await crowd.burst()
            before = server.cpu_s
            taken = await crowd.bursts(seconds)
            cpu_us = 1e6 * (server.cpu_s - before) / len(taken)
            after = await crowd.state()
    # Else their windows hold it all, and what was measured is not what it is called.
    if stalling and after["lag"] < len(taken) / READERS:
        raise RuntimeError(f"nobody was behind by more than {after['lag']:.0f} changes")
    return Turn(
        p50_ms=percentile(taken, 0.5),
        p99_ms=percentile(taken, 0.99),
        cpu_us=cpu_us,
        rss_mib=after["rss_mib"],
        buffered_kib=after["buffered"] / 1024,
    )


def percentile(taken: Sequence[float], part: float) -> float:
    """Return a percentile of sorted values."""
    return taken[min(len(taken) - 1, int(len(taken) * part))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Turns that came one after another."""

    bare: Turn
    """The bare fan-out."""
    before: Turn
    """`WatchJobs` without stalled readers."""
    beside: Turn
    """The same beside ten of them."""
    after: Turn
    """Without them again."""


async def run_round(folder: Path, seconds: float) -> Round:
    """Take four turns, so that the one with stalled readers is between two without."""
    return Round(
        bare=await turn(folder, "bare", 0, seconds),
        before=await turn(folder, "feed", 0, seconds),
        beside=await turn(folder, "feed", STALLED, seconds),
        after=await turn(folder, "feed", 0, seconds),
    )


def spread(key: str, values: Iterable[float]) -> dict[str, float]:
    """Return the median, the least and the most of the rounds."""
    ordered = sorted(values)
    return {key: statistics.median(ordered), f"{key}_least": ordered[0], f"{key}_most": ordered[-1]}


def effect(what: str, values: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    """Return the ratio of the turns with stalled readers to those around them, and of these to each other."""
    return {
        **spread(f"stalled_{what}_ratio", (2 * beside / (before + after) for before, beside, after in values)),
        **spread(f"equal_{what}_ratio", (after / before for before, _, after in values)),
    }


def summary(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the medians of all rounds, and the ratios with their spread."""

    def median(of: Callable[[Round], float]) -> float:
        return statistics.median(map(of, rounds))

    return {
        "bare_readers_p99_ms": median(lambda one: one.bare.p99_ms),
        "readers_p99_ms": median(lambda one: one.before.p99_ms),
        "readers_beside_stalled_p99_ms": median(lambda one: one.beside.p99_ms),
        **spread("readers_p99_of_bare", (one.before.p99_ms / one.bare.p99_ms for one in rounds)),
        **spread("readers_cpu_of_bare", (one.before.cpu_us / one.bare.cpu_us for one in rounds)),
        **effect("p99", [(one.before.p99_ms, one.beside.p99_ms, one.after.p99_ms) for one in rounds]),
        **effect("cpu", [(one.before.cpu_us, one.beside.cpu_us, one.after.cpu_us) for one in rounds]),
        **effect("rss", [(one.before.rss_mib, one.beside.rss_mib, one.after.rss_mib) for one in rounds]),
        "bare_readers_rss_mib": median(lambda one: one.bare.rss_mib),
        "readers_rss_mib": median(lambda one: one.before.rss_mib),
        "readers_beside_stalled_rss_mib": median(lambda one: one.beside.rss_mib),
        "stalled_buffered_kib": max(one.beside.buffered_kib for one in rounds),
    }


async def measure(folder: Path, rounds: int, seconds: float) -> dict[str, float]:
    """Run so many rounds with turns of so many seconds."""
    prepare_authority(folder, hosts=["127.0.0.1"])
    return summary([await run_round(folder, seconds) for _ in range(rounds)])


if __name__ == "__main__":
    print(json.dumps(loop.run(measure(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))))
