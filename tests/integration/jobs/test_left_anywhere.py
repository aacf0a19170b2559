"""Whoever asks for a change leaves, or its service stops, at each await of it: all of it is durable, or nothing (P30).

For each rpc that changes something a driver interrupts the callee's coroutine at its first await, its second, and so on
until it gets through. What was accepted goes on without whoever asked; a repeated request is answered as if nothing had
been.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.fakes.awaits import Driven, Place
from tests.integration.crash.stage import TORTURE
from tests.integration.jobs.site import Site, furnish, machine, running
from tests.integration.jobs.test_failure import Gate, Tries
from tests.integration.jobs.test_stuck import Refusal
from virtyard.api.jobs.v1 import job_control_pb2, job_pb2, job_service_pb2, lock_control_service_pb2
from virtyard.api.jobs.v1.lock_control_service_pb2_grpc import LockControlServiceStub
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.api.operations.v1 import rename_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1.participant_service_pb2_grpc import ParticipantServiceStub
from virtyard.jobs import rollback
from virtyard.kernel.errors import DefectError, VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import pack
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.status import named

pytestmark = pytest.mark.timeout(6000 if TORTURE else 300)
WEB = "virtualMachines/web"
_MOST = 60
"""No rpc that changes something waits so often."""


@dataclass(kw_only=True)
class Asked:
    """A call that is interrupted, and what must hold whatever came of it."""

    channel: LocalChannel
    path: str
    call: Callable[[], Any]
    """Makes the call, the same one each time."""
    see: Callable[[], Awaitable[None]]
    """Sees that it has happened once, and puts back what is needed for the next."""
    halfway: Callable[[], Awaitable[None]] | None = None
    """Sees that all of it or nothing is there, before it is asked for again."""


class Stage:
    """A site with a machine that a person has locked, and what is asked for on it."""

    def __init__(self, site: Site, agent: LocalChannel) -> None:
        """Use the channel for what an agent is asked."""
        self.site = site
        self.agent = agent
        self.jobs = site._near["jobs"]
        self.locks: Any = LockControlServiceStub(self.jobs)
        self.count = 0

    async def count_requests(self, request_id: str) -> int:
        """Return how many operations a request id has, as jobs.db says."""
        sql = "SELECT count(*) FROM operation WHERE request_id = ?"
        rows = await self.site.jobs.database.read(lambda sqlite: sqlite.execute(sql, (request_id,)).fetchall())
        return int(rows[0][0])

    def job(self, name: str, number: int = 1) -> str:
        """Return the name of a job of an operation."""
        return f"jobs/{name.partition('/')[2]}-{number}"

    async def get(self, name: str) -> Any:
        """Return the first job of an operation."""
        return await self.site.service.GetJob(job_service_pb2.GetJobRequest(name=self.job(name)))

    def rename(self) -> Any:
        """Return a request that has to wait for the person's lock."""
        self.count += 1
        request = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=WEB, display_name=f"Name {self.count}")
        request.request_id = str(uuid.uuid4())
        return request

    async def wait_queued(self) -> str:
        """Return an operation that waits for its locks."""
        name = (await self.site.submit(self.rename())).name
        await self.site.wait_until(lambda: self._is(name, job_pb2.JOB_STATE_WAITING_FOR_LOCKS))
        return str(name)

    async def _is(self, name: str, state: int) -> bool:
        return bool((await self.get(name)).state == state)

    async def end(self, name: str) -> None:
        """Abort an operation, and wait for its end."""
        await self.site.service.AbortJob(job_service_pb2.AbortJobRequest(name=self.job(name)))
        await self.site.wait(name)

    async def begin(self) -> str:
        """Return an operation that stands inside an action of a host."""
        self.count += 1
        gate = self.site.faults.before["CreateDiskFile"] = Gate()
        name = (await self.site.submit(machine(f"m{self.count}", disks=1))).name
        await gate.reached.wait()
        del self.site.faults.before["CreateDiskFile"]
        return str(name)

    async def get_stuck(self) -> str:
        """Return an operation of which the undo of job 3 was refused, and is refused no more."""
        self.count += 1
        refusal = Refusal()
        self.site.faults.before |= {"CreateDiskFile": Tries(2), "undo RemoveDiskFile": refusal}
        name = (await self.site.submit(machine(f"m{self.count}"))).name

        async def is_stuck() -> bool:
            return "ROLLBACK_FAILED" in await self.site.job_states(name)

        await self.site.wait_until(is_stuck)
        self.site.faults.before.clear()
        return str(name)

    async def see_gone(self, name: str) -> None:
        """See that an operation comes to its end, and leaves nothing behind."""
        operation = await self.site.wait(name)
        assert operation.HasField("error")
        assert f"virtualMachines/m{self.count}" not in await self.site.objects()

    async def take(self, target: str) -> Any:
        """Take a person's lock."""
        request = lock_control_service_pb2.TakeLockRequest(
            object=target, purpose="a test", duration=Duration(seconds=99)
        )
        return await self.locks.TakeLock(request)

    async def held_by_people(self) -> Counter[str]:
        """Return how often people hold each object."""
        answer = await self.locks.ListPersonLocks(lock_control_service_pb2.ListPersonLocksRequest())
        return Counter(lock.object for lock in answer.locks)


# --- what is asked for


async def submit(stage: Stage) -> Asked:
    """Submit an operation, which is one however often it is asked for."""
    request = stage.rename()
    asked = job_service_pb2.SubmitOperationRequest(request=pack(request))
    names = set()

    async def halfway() -> None:
        assert await stage.count_requests(request.request_id) <= 1

    async def see() -> None:
        for _ in range(2):
            names.add((await stage.site.service.SubmitOperation(asked)).name)
        (name,) = names
        assert await stage.count_requests(request.request_id) == 1
        # It goes on, with or without whoever asked: it queues for what a person has locked.
        await stage.site.wait_until(lambda: stage._is(name, job_pb2.JOB_STATE_WAITING_FOR_LOCKS))
        await stage.end(name)

    path = "/virtyard.api.jobs.v1.JobService/SubmitOperation"
    call = lambda: stage.site.service.SubmitOperation(asked)  # noqa: E731
    return Asked(channel=stage.jobs, path=path, call=call, see=see, halfway=halfway)


def of_jobs(stage: Stage, method: str, request: Any, see: Callable[[], Awaitable[None]]) -> Asked:
    """Return a call of JobService."""
    path = f"/virtyard.api.jobs.v1.JobService/{method}"
    return Asked(channel=stage.jobs, path=path, call=lambda: getattr(stage.site.service, method)(request), see=see)


async def abort(stage: Stage) -> Asked:
    """Abort an operation that stands inside an action."""
    name = await stage.begin()
    request = job_service_pb2.AbortJobRequest(name=stage.job(name))
    return of_jobs(stage, "AbortJob", request, lambda: stage.see_gone(name))


async def hold(stage: Stage) -> Asked:
    """Set aside an operation that waits."""
    name = await stage.wait_queued()

    async def see() -> None:
        assert (await stage.get(name)).held == job_pb2.HELD_REASON_PERSON
        await stage.end(name)

    request = job_control_pb2.HoldJobRequest(name=stage.job(name), reason="a test")
    return of_jobs(stage, "HoldJob", request, see)


async def release(stage: Stage) -> Asked:
    """Let an operation go on that was set aside."""
    name = await stage.wait_queued()
    await stage.site.service.HoldJob(job_control_pb2.HoldJobRequest(name=stage.job(name), reason="a test"))

    async def see() -> None:
        assert not (await stage.get(name)).held
        await stage.site.wait_until(lambda: stage._is(name, job_pb2.JOB_STATE_WAITING_FOR_LOCKS))
        await stage.end(name)

    return of_jobs(stage, "ReleaseJob", job_control_pb2.ReleaseJobRequest(name=stage.job(name)), see)


async def move(stage: Stage) -> Asked:
    """Move an operation in the queue."""
    name = await stage.wait_queued()

    async def see() -> None:
        record = (await stage.site.jobs.scheduler.look(int(name.partition("/")[2]))).record
        assert record.options.priority == 5
        await stage.end(name)

    request = job_control_pb2.SetJobPriorityRequest(name=stage.job(name), priority=5)
    return of_jobs(stage, "SetJobPriority", request, see)


async def retry(stage: Stage) -> Asked:
    """Try a refused undo again, which is done then."""
    name = await stage.get_stuck()
    request = job_service_pb2.RetryJobRequest(name=stage.job(name, 3))
    return of_jobs(stage, "RetryJob", request, lambda: stage.see_gone(name))


async def accept(stage: Stage) -> Asked:
    """Accept what a refused undo has left."""
    name = await stage.get_stuck()

    async def see() -> None:
        assert (await stage.site.wait(name)).HasField("error")
        (left,) = [job for job in await stage.site.jobs_of(name) if job.residue]
        assert left.outcome == job_pb2.OUTCOME_PARTIAL

    return of_jobs(stage, "AcceptJob", job_service_pb2.AcceptJobRequest(name=stage.job(name, 3)), see)


def of_people(stage: Stage, method: str, request: Any, see: Callable[[], Awaitable[None]]) -> Asked:
    """Return a call of LockControlService."""
    path = f"/virtyard.api.jobs.v1.LockControlService/{method}"
    return Asked(channel=stage.jobs, path=path, call=lambda: getattr(stage.locks, method)(request), see=see)


async def let_go(stage: Stage) -> Asked:
    """Release a person's lock."""
    lock = await stage.take("servers/s2")

    async def see() -> None:
        await stage.site.wait_until(lambda: _is_free(stage, "servers/s2"))

    request = lock_control_service_pb2.ReleaseLockRequest(name=lock.name)
    return of_people(stage, "ReleaseLock", request, see)


async def _is_free(stage: Stage, target: str) -> bool:
    return target not in await stage.site.held_locks() and not (await stage.held_by_people())[target]


async def break_lock(stage: Stage) -> Asked:
    """Break the locks of an operation that stands inside an action."""
    name = await stage.begin()
    request = lock_control_service_pb2.BreakLockRequest(target=name, reason="a test")
    return of_people(stage, "BreakLock", request, lambda: stage.see_gone(name))


async def close_owner(stage: Stage) -> Asked:
    """Close an owner at the lock service, which is final."""
    stage.count += 1
    stub: Any = LockServiceStub(stage.site._near["locks"])
    release = lock_service_pb2.OwnerRelease(owner=f"operations/{900_000 + stage.count}", epoch=1)
    request = lock_service_pb2.ReleaseRequest(owners=[release])

    async def see() -> None:
        answers = [await stub.Release(request) for _ in range(2)]
        assert answers[0] == answers[1]

    path = "/virtyard.api.locks.v1.LockService/Release"
    return Asked(channel=stage.site._near["locks"], path=path, call=lambda: stub.Release(request), see=see)


def settling(stage: Stage, channel: LocalChannel) -> Asked:
    """Settle a step that never came, which refuses its key for ever."""
    stage.count += 1
    stub: Any = ParticipantServiceStub(channel)
    key = f"{900_000 + stage.count}/1/1"
    request = participant.SettleRequest(step_key=key, phase=participant.PHASE_DO, attempt=1, epoch=1, stop=True)

    async def see() -> None:
        records = [(await stub.Settle(request)).record for _ in range(2)]
        assert records[0] == records[1]
        assert records[0].state == participant.EFFECT_STATE_NOT_BEGUN

    path = "/virtyard.api.participant.v1.ParticipantService/Settle"
    return Asked(channel=channel, path=path, call=lambda: stub.Settle(request), see=see)


async def settle_at_inventory(stage: Stage) -> Asked:
    """Settle at the inventory."""
    return settling(stage, stage.site._near["inventory"])


async def settle_at_agent(stage: Stage) -> Asked:
    """Settle at a host."""
    return settling(stage, stage.agent)


CASES = (
    submit,
    abort,
    hold,
    release,
    move,
    retry,
    accept,
    let_go,
    break_lock,
    close_owner,
    settle_at_inventory,
    settle_at_agent,
)

# --- how it is interrupted


def leave(call: Any) -> None:
    """Whoever asked stops waiting."""
    call.cancel()


def expire(call: Any) -> None:
    """The deadline passes."""
    call._expire()


def stop(_: Any) -> None:
    """The callee's own task ends, as where a service stops."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A site with the machine `web`, which a person has locked."""
    monkeypatch.setattr(rollback, "_PAUSE", 0.001)
    async with running(tmp_path, "s1", "s2") as site:
        await furnish(site)
        await site.succeed(machine("web", disks=1))
        await site.wait_released()
        async with LocalChannel(site.agents["s1"].services, Principal.of("service/jobs")) as agent:
            stage = Stage(site, agent)
            await stage.take(WEB)
            yield stage


async def interrupted(asked: Asked, place: int, how: Callable[[Any], None]) -> bool:
    """Make a call that is interrupted at its await of this number; tell whether there was one."""
    method, at, calls = asked.channel.methods[asked.path], Place(), list[Any]()
    unary, over = method.unary, asyncio.Event()

    async def driven(raw: bytes, call: Any) -> bytes:
        at.arm(place, lambda: how(calls[0]))
        try:
            return await Driven(unary(raw, call), at)
        finally:
            over.set()

    method.unary = driven  # type: ignore[method-assign]
    try:
        calls.append(asked.call())
        answered = not isinstance(await outcome_of(calls[0]), Exception)
        async with asyncio.timeout(20):
            await over.wait()  # whoever left waits no more, and the callee goes on
    finally:
        method.unary = unary  # type: ignore[method-assign]
    assert answered or at.reached
    return at.reached


async def outcome_of(call: Any) -> Any:
    """Return the answer, or what the caller is told instead: it has left, or it is refused."""
    try:
        return await call
    except asyncio.CancelledError:
        return VirtyardError("it has left")
    except grpc.aio.AioRpcError as error:
        return named(error)


async def ask_again(asked: Asked) -> None:
    """Make the call once more; what has happened may be refused by now, but nobody is told of a defect."""
    assert not isinstance(await outcome_of(asked.call()), DefectError)


def tasks() -> Counter[str]:
    """Return the tasks that are there, by what they run."""
    return Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


WAYS: Mapping[str, tuple[Callable[[Any], None], Sequence[Callable[[Stage], Awaitable[Asked]]]]] = {
    "the service stops": (stop, CASES),
    "whoever asked leaves": (leave, CASES if TORTURE else (submit, let_go, settle_at_agent)),
    "the deadline passes": (expire, CASES if TORTURE else (submit, let_go, settle_at_agent)),
}
"""How a call is interrupted, and which are; the callee of one that is left goes on, which is the same code for all."""


@pytest.mark.parametrize("way", WAYS)
async def test_at_each_await_all_of_it_is_durable_or_nothing(way: str, stage: Stage) -> None:
    """Whatever came of the interrupted call, the same one again leads to the same end, and no task is left."""
    how, cases = WAYS[way]
    for case in cases:
        await go_through(case, how, stage)


async def go_through(case: Callable[[Stage], Awaitable[Asked]], how: Callable[[Any], None], stage: Stage) -> None:
    """Interrupt a call at its first await, its second, and so on."""
    before: Counter[str] | None = None
    for place in range(_MOST):
        asked = await case(stage)
        reached = await interrupted(asked, place, how)
        if asked.halfway is not None:
            await asked.halfway()
        await ask_again(asked)
        await asked.see()
        if before is None:
            before = tasks()  # the first one is not interrupted
        async with asyncio.timeout(20):
            while tasks() - before:
                await asyncio.sleep(0.001)
        if place and not reached:
            assert place > 1, "it waits at least once"
            return
    pytest.fail(f"{case.__name__} is not through after {_MOST} awaits")


# --- streams between services

STREAMS = {
    "locks": "/virtyard.api.locks.v1.LockService/Acquire",
    "inventory": "/virtyard.api.participant.v1.ParticipantService/Execute",
}
"""Those of one process."""


def drive(method: Any, at: Place) -> None:
    """Have a stream of a callee driven from its opening on; nobody has opened it yet."""
    opened = method.open

    def driven(raw: Any, call: Any) -> AsyncGenerator[Any, None]:
        return at.drive_all(opened(raw, call))

    method.open = driven


def drive_reader(rpc: Any, at: Place) -> None:
    """Have what reads the Execute streams of a host driven."""
    read = rpc._read

    async def driven(requests: Any, session: Any) -> None:
        await Driven(read(requests, session), at)

    rpc._read = driven


def execute_of(site: Site, server: str) -> Any:
    """Return the rpc Execute of a host, as it is served over the wire."""
    path = STREAMS["inventory"]
    return next(each for one in site.agents[server].services for each in one.methods if each.path == path)


async def go_through_stream(site: Site, at: Place) -> None:
    """Stop a stream at its first await, its second, and so on, each time under another operation."""
    await furnish(site)
    for place in range(1, _MOST):
        await site.wait_released()
        at.arm(place, lambda: stop(None))
        await site.succeed(machine(f"m{place}", disks=1))
        reached = at.reached
        at.arm(0, lambda: None)
        if not reached:
            break
    else:
        pytest.fail(f"the stream still waits after {_MOST} awaits")
    assert place > 1, "it waits at least once"
    await site.wait_released()
    made = Counter((site.folder / "effects").read_text().splitlines())
    assert made
    assert set(made.values()) == {1}


@pytest.mark.parametrize("whose", STREAMS)
async def test_a_stream_that_is_stopped_at_each_await_does_nothing_twice(whose: str, tmp_path: Path) -> None:
    """The operation under it is done as if nothing had been: each effect is made once, and nothing stays locked."""
    at = Place()
    async with running(tmp_path, "s1") as site:
        drive(site._near[whose].methods[STREAMS[whose]], at)
        await go_through_stream(site, at)


@pytest.mark.parametrize("part", ["handler", "reader"])
async def test_a_stream_of_a_host_that_is_stopped_at_each_await_does_nothing_twice(part: str, tmp_path: Path) -> None:
    """The same over the wire, where the scheduler must be told or it would wait for ever: of both tasks of a stream."""
    at = Place()
    async with running(tmp_path, "s1") as site:
        execute = execute_of(site, "s1")
        if part == "handler":
            drive(execute, at)
        else:
            drive_reader(execute._function.__self__, at)
        await go_through_stream(site, at)
