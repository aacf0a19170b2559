"""The client that measures, in a process of its own: it submits, watches to the terminal frame, and notes the time.

Usage: python -m tools.bench.client PHASE ARGUMENTS..., prints one JSON object.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import repository_pb2, server_pb2, server_pool_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import job_service_pb2, job_service_pb2_grpc
from virtyard.api.operations.v1 import (
    create_repository_pb2,
    create_server_pool_pb2,
    create_virtual_machine_pb2,
    discover_server_pb2,
    operation_service_pb2_grpc,
)
from virtyard.api.type.v1 import watch_pb2
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import LockSet, LockWish, Release
from virtyard.locks.proxy import LocksProxy
from virtyard.runtime import loop
from virtyard.runtime.channel import open_channel
from virtyard.runtime.pki import Credentials, dns_name

IN_FLIGHT = 64
_MIB = 1 << 20
Cycle = Callable[[int], Awaitable[None]]


async def rate(cycle: Cycle, seconds: float, *, in_flight: int = IN_FLIGHT, warm_up: float = 1.0) -> float:
    """Run cycles, so many at a time, and return how many ended in each second after the warm-up."""
    numbers = itertools.count()
    clock = time.perf_counter
    begin = clock() + warm_up
    end = begin + seconds
    ended = 0

    async def work() -> None:
        nonlocal ended
        while clock() < end:
            await cycle(next(numbers))
            ended += begin <= clock() < end

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(work())
    return ended / seconds


async def latencies(cycle: Cycle, count: int, *, first: int = 1_000_000, warm_up: int = 20) -> list[float]:
    """Run cycles one after another and return how long each took, in milliseconds."""
    taken = []
    for number in range(first, first + count + warm_up):
        began = time.perf_counter()
        await cycle(number)
        taken.append(1000 * (time.perf_counter() - began))
    return taken[warm_up:]


class Site:
    """A site's control plane, as a person's program sees it."""

    def __init__(self, context: Path) -> None:
        """Dial what the context names."""
        content = json.loads(context.read_text())
        self.credentials = Credentials.load(context.parent / "pki" / "user" / "admin")
        self.channel = open_channel(content["jobs"], self.credentials, "service/jobs")
        self.locks = open_channel(
            content["locks"], Credentials.load(context.parent / "pki" / "service" / "jobs"), "service/locks"
        )
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.operations: Any = operation_service_pb2_grpc.OperationServiceStub(self.channel)

    async def close(self) -> None:
        """Hang up."""
        await self.channel.close()
        await self.locks.close()

    async def finish(self, submitted: Awaitable[Any]) -> Any:
        """Wait until the client has the frame that shows the operation's end, and return the operation."""
        operation = await submitted
        # The answer to the submission was the snapshot.
        options = watch_pb2.WatchOptions(skip_snapshot=True, batch=True)
        call = self.jobs.WatchOperation(job_service_pb2.WatchOperationRequest(name=operation.name, options=options))
        async for message in call:
            for frame in (message, *message.further):
                if frame.operation.done:
                    operation = frame.operation
        if not operation.done or operation.HasField("error"):
            raise RuntimeError(f"{operation.name} did not succeed: {operation.error}")
        return operation

    async def furnish(self, agent: str, share: str) -> None:
        """Discover the server, and create a pool and a repository."""
        server = server_pb2.Server(agent_address=agent)
        steps: list[tuple[str, Message]] = [
            ("DiscoverServer", discover_server_pb2.DiscoverServerRequest(server_id="s1", server=server)),
            (
                "CreateServerPool",
                create_server_pool_pb2.CreateServerPoolRequest(
                    server_pool_id="p", server_pool=server_pool_pb2.ServerPool(), servers=["servers/s1"]
                ),
            ),
            (
                "CreateRepository",
                create_repository_pb2.CreateRepositoryRequest(
                    repository_id="r",
                    repository=repository_pb2.Repository(path=f"{share}/r", server_pool="serverPools/p"),
                ),
            ),
        ]
        for name, request in steps:
            await self.finish(getattr(self.operations, name)(request))

    async def no_op(self, number: int) -> None:
        """Run one no-op on an object of its own."""
        from example.noop.v1 import noop_service_pb2

        submit = self.channel.unary_unary(
            "/example.noop.v1.NoOpService/NoOp",
            request_serializer=noop_service_pb2.NoOpRequest.SerializeToString,
            response_deserializer=_operation,
        )
        # Names of one width: a row has its target's name seven times, and should not grow by the number of the job.
        target = f"repositories/no-op-{number:08}"
        await self.finish(submit(noop_service_pb2.NoOpRequest(server="servers/s1", target=target)))

    async def create_vm(self, number: int, disks: int) -> None:
        """Create one virtual machine with so many disks and a network card."""
        request = create_virtual_machine_pb2.CreateVirtualMachineRequest(
            virtual_machine_id=f"vm{number}",
            virtual_machine=virtual_machine_pb2.VirtualMachine(
                server_pool="serverPools/p",
                memory_bytes=64 * _MIB,
                cpus=1,
                boot=virtual_machine_pb2.BootSource(kernel_path="/storage/vmlinuz"),
            ),
            disks=[create_virtual_machine_pb2.NewVirtualDisk(repository="repositories/r", size_bytes=_MIB)] * disks,
            vnics=[create_virtual_machine_pb2.NewVnic()],
        )
        await self.finish(self.operations.CreateVirtualMachine(request))


def _operation(raw: bytes) -> Message:
    from google.longrunning import operations_pb2

    return operations_pb2.Operation.FromString(raw)


async def furnish(context: str, agent: str, share: str) -> dict[str, float]:
    """Prepare the site; measures nothing."""
    site = Site(Path(context))
    await site.furnish(agent, share)
    await site.close()
    return {}


async def no_ops(context: str, seconds: str, alone_count: str) -> dict[str, float]:
    """Measure no-ops: the rate with 64 in flight, the time of one alone."""
    site = Site(Path(context))
    alone = sorted(await latencies(site.no_op, int(alone_count)))
    found = {
        "rate": await rate(site.no_op, float(seconds)),
        "p50_ms": statistics.median(alone),
        "p99_ms": alone[int(len(alone) * 0.99)],
    }
    await site.close()
    return found


async def many_no_ops(context: str, first: str, count: str) -> dict[str, float]:
    """Run so many no-ops with 64 in flight, each on a target of its own, and return the rate."""
    site = Site(Path(context))
    numbers = iter(range(int(first), int(first) + int(count)))
    began = time.perf_counter()

    async def work() -> None:
        for number in numbers:
            await site.no_op(number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(work())
    await site.close()
    return {"rate": int(count) / (time.perf_counter() - began)}


async def machines(context: str, seconds: str) -> dict[str, float]:
    """Measure the creation of machines: rates with 64 in flight, with two disks and with one; the time of one alone."""
    site = Site(Path(context))

    async def seven_jobs(number: int) -> None:
        await site.create_vm(number, disks=2)

    async def five_jobs(number: int) -> None:
        await site.create_vm(2_000_000 + number, disks=1)

    alone = await latencies(seven_jobs, 60, warm_up=5)
    found = {
        "rate": await rate(seven_jobs, float(seconds)),
        "five_jobs_rate": await rate(five_jobs, float(seconds)),
        "p50_ms": statistics.median(alone),
    }
    await site.close()
    return found


async def lock_cycles(context: str, seconds: str) -> dict[str, float]:
    """Measure acquiring and releasing five objects by rpc."""
    site = Site(Path(context))
    async with LocksProxy(site.locks) as locks:

        async def cycle(number: int) -> None:
            owner = f"operations/{10_000_000 + number}"
            wishes = tuple(LockWish(object=f"virtualDisks/b{number}-{each}", mode=LockMode.X) for each in range(5))
            await locks.acquire(LockSet(owner=owner, epoch=1, locks=wishes, purpose="bench"))
            await locks.release([Release(owner=owner, epoch=1)])

        found = {"rate": await rate(cycle, float(seconds))}
    await site.close()
    return found


class Target:
    """One of the plain servers that are measured without a site: where it is, and as whom it is dialled."""

    def __init__(self, address: str, credentials: str) -> None:
        """Keep the address and the folder of the caller's certificate."""
        self._address = address
        self._credentials = Credentials.load(credentials)

    def dial(self) -> grpc.aio.Channel:
        """Return a channel with a connection of its own."""
        return open_channel(self._address, self._credentials, "service/jobs")

    def dial_as_others_do(self) -> grpc.aio.Channel:
        """Return a channel with grpcio's own options, so with a window that grows to 4 MiB."""
        name = ("grpc.ssl_target_name_override", dns_name("service/jobs"))
        pool = ("grpc.use_local_subchannel_pool", 1)
        return grpc.aio.secure_channel(self._address, self._credentials.for_channel(), options=(name, pool))


async def bare(address: str, credentials: str, seconds: str) -> dict[str, float]:
    """Measure plain unary calls, 64 in flight, and messages of one plain stream."""
    channel = Target(address, credentials).dial()
    echo: Any = channel.unary_unary("/bench.Bare/Echo")
    payload = bytes(200)

    async def cycle(_: int) -> None:
        await echo(payload)

    unary = await rate(cycle, float(seconds))
    stream: Any = channel.unary_stream("/bench.Bare/Stream")
    begin, count = 0.0, 0
    call = stream(b"")
    async for _ in call:
        count += 1
        if count == 1000:
            begin = time.perf_counter()
        if begin and time.perf_counter() - begin > float(seconds):
            break
    taken = time.perf_counter() - begin
    call.cancel()
    await channel.close()
    return {"unary": unary, "stream": (count - 1000) / taken}


async def fanout(address: str, credentials: str, kind: str, readers: str, seconds: str) -> dict[str, float]:
    """Measure how many frames all readers together get in a second; each chunk is acknowledged when all have it."""
    target = Target(address, credentials)
    channels = [target.dial() for _ in range(10)]
    wanted, chunk = int(readers), chunk_of(int(readers))
    method, request = METHODS[kind]
    got = [-1] * wanted
    arrived: asyncio.Event = asyncio.Event()

    async def read(index: int) -> None:
        watch: Any = channels[index % len(channels)].unary_stream(method)
        # The first frame says that the watch stands; it is none of those that are counted.
        async for raw in watch(request):
            if raw.startswith(KEEPALIVE):
                continue
            got[index] += 1
            if got[index] % chunk == 0:
                arrived.set()

    async def all_have(count: int) -> None:
        async with asyncio.timeout(60):
            while min(got) < count:
                arrived.clear()
                await arrived.wait()

    publish: Any = channels[0].unary_unary("/bench.Bare/Publish")
    message = f"{kind} {chunk}".encode()
    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(index)) for index in range(wanted)]
        await all_have(0)
        sent, began = 0, time.perf_counter()
        while time.perf_counter() - began < float(seconds):
            await publish(message)
            sent += chunk
            # Two chunks are on their way at any time.
            await all_have(sent - chunk)
        await all_have(sent)
        taken = time.perf_counter() - began
        for task in reading:
            task.cancel()
    for channel in channels:
        await channel.close()
    return {"rate": wanted * sent / taken}


def chunk_of(readers: int) -> int:
    """Return how many frames are published at once, so that about 5,000 deliveries or more come of it."""
    return max(5_000 // readers, 10)


KEEPALIVE = job_service_pb2.WatchJobsResponse(kind=watch_pb2.FRAME_KIND_KEEPALIVE).SerializeToString()
"""How a message begins that tells of nothing; on a busy machine it comes before everybody has dialled."""
_NEWS_ONLY = job_service_pb2.WatchJobsRequest(options=watch_pb2.WatchOptions(skip_snapshot=True)).SerializeToString()
METHODS = {
    "bare": ("/bench.Bare/Watch", b""),
    "feed": ("/virtyard.api.jobs.v1.JobService/WatchJobs", _NEWS_ONLY),
}


PHASES: dict[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "furnish": furnish,
    "no-ops": no_ops,
    "many-no-ops": many_no_ops,
    "machines": machines,
    "locks": lock_cycles,
    "bare": bare,
    "fanout": fanout,
}


async def _main(words: list[str]) -> None:
    print(json.dumps(await PHASES[words[0]](*words[1:])))


if __name__ == "__main__":
    loop.run(_main(sys.argv[1:]))
