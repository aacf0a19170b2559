"""Locks that people take: queued as any other, with a purpose and an end, and what runs under them does not wait."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_explaining import HOLDER, explain
from tests.integration.jobs.test_failure import Gate
from tests.integration.jobs.test_lock_break import broken_events, refusal_of
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import (
    job_service_pb2,
    job_service_pb2_grpc,
    lock_control_service_pb2,
    lock_control_service_pb2_grpc,
)
from virtyard.api.jobs.v1.wait_explanation_pb2 import WAIT_EDGE_KIND_UNDER
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.api.operations.v1 import delete_virtual_machine_pb2, edit_virtual_machine_pb2
from virtyard.api.type.v1 import annotations_pb2, lock_pb2, submission_pb2
from virtyard.jobs.history import JOB_HISTORY, History
from virtyard.jobs.orphans import sweep
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, PermissionDenied, WrongState
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import pack
from virtyard.locks.model import LockSet, LockWish
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.local import LocalChannel

WEB = "virtualMachines/web"
HELD = lock_control_service_pb2.PERSON_LOCK_STATE_HELD
WAITING = lock_control_service_pb2.PERSON_LOCK_STATE_WAITING
HOUR = 3600.0


class Person:
    """Somebody with stubs of their own."""

    def __init__(self, channel: LocalChannel) -> None:
        """Call over this channel."""
        self.locks: Any = lock_control_service_pb2_grpc.LockControlServiceStub(channel)
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)

    async def take(self, target: str = WEB, *, seconds: float = HOUR, **rest: Any) -> Any:
        """Take a lock."""
        duration = Duration()
        duration.FromTimedelta(timedelta(seconds=seconds))
        request = lock_control_service_pb2.TakeLockRequest(object=target, purpose="backup", duration=duration, **rest)
        return await self.locks.TakeLock(request)

    async def release(self, name: str) -> Any:
        """Release a lock."""
        return await self.locks.ReleaseLock(lock_control_service_pb2.ReleaseLockRequest(name=name))

    async def list(self) -> list[Any]:
        """Return everybody's locks."""
        return list((await self.locks.ListPersonLocks(lock_control_service_pb2.ListPersonLocksRequest())).locks)

    async def edit(self, *, under: str = "", cpus: int = 2, request_id: str = "") -> str:
        """Ask for a change of the machine, and return the operation."""
        request = edit_virtual_machine_pb2.EditVirtualMachineRequest(
            virtual_machine=virtual_machine_pb2.VirtualMachine(name=WEB, cpus=cpus),
            options=submission_pb2.SubmissionOptions(under=under),
            request_id=request_id,
        )
        return await self.submit(request)

    async def submit(self, request: Message) -> str:
        """Submit a request, and return the operation."""
        submitted = await self.jobs.SubmitOperation(job_service_pb2.SubmitOperationRequest(request=pack(request)))
        return str(submitted.name)


@pytest.fixture
async def people(site: Site) -> AsyncIterator[tuple[Person, Person]]:
    """Return Ann and Bob, two operators, on a site with a machine."""
    await site.succeed(machine("web", disks=0, vnics=0))
    await site.wait_released()
    async with AsyncExitStack() as stack:
        yield await person(site, stack, "ann"), await person(site, stack, "bob")


async def person(site: Site, stack: AsyncExitStack, name: str) -> Person:
    """Return an operator of this name."""
    principal = Principal.of(f"user/{name}", frozenset({annotations_pb2.ROLE_OPERATOR}))
    return Person(await stack.enter_async_context(LocalChannel(site.jobs.services, principal)))


async def waits_for(site: Site, name: str, holder: str) -> None:
    """Wait until an operation shows that it waits for a holder."""

    async def waiting() -> bool:
        return any(holder in job.waiting_for for job in await site.jobs_of(name))

    await site.wait_until(waiting)


async def test_a_lock_is_held_until_it_is_released(site: Site, people: tuple[Person, Person]) -> None:
    """It is on the object with an intention above, without a token; others wait and see whose it is and what for."""
    ann, bob = people
    lock = await ann.take()
    assert (lock.state, lock.mode, lock.principal) == (HELD, lock_pb2.LOCK_MODE_X, "user/ann")
    assert lock.end_time.ToDatetime() - lock.create_time.ToDatetime() == timedelta(hours=1)
    stub: Any = LockServiceStub(site._near["locks"])
    held = (await stub.ListLocks(lock_service_pb2.ListLocksRequest())).locks
    assert {(each.object, each.mode, each.owner, each.fencing_token) for each in held} == {
        (WEB, lock_pb2.LOCK_MODE_X, lock.name, 0),
        ("serverPools/Finance", lock_pb2.LOCK_MODE_IX, lock.name, 0),
    }
    assert {each.purpose for each in held} == {"backup, by user/ann"}
    other = await bob.edit()
    await waits_for(site, other, lock.name)
    assert [each.name for each in await bob.list()] == [lock.name]
    assert isinstance(await refusal_of(bob.release(lock.name)), PermissionDenied)
    await ann.release(lock.name)
    assert not (await site.wait(other)).HasField("error")
    assert await bob.list() == []
    assert isinstance(await refusal_of(ann.release(lock.name)), NotFound)
    await site.wait_released()


async def test_what_runs_under_a_lock_does_not_wait_for_it(site: Site, people: tuple[Person, Person]) -> None:
    """Only its person and administrators may use it; it cannot be released before what runs under it has ended."""
    ann, bob = people
    lock = await ann.take()
    other = await bob.edit(cpus=4)
    await waits_for(site, other, lock.name)
    assert isinstance(await refusal_of(bob.edit(under=lock.name)), PermissionDenied)
    assert isinstance(await refusal_of(ann.edit(under="locks/none")), NotFound)
    token = str(uuid.uuid4())
    own = await ann.edit(under=lock.name, request_id=token)
    assert not (await site.wait(own)).HasField("error")
    found: Any = (await site.objects())[WEB]
    assert found.cpus == 2
    site.on_transition = lambda _: None
    gate = hold_commits(site)
    running = await ann.edit(under=lock.name, cpus=3)
    refused = await refusal_of(ann.release(lock.name))
    assert isinstance(refused, WrongState)
    assert running in refused.message
    assert [list(each.operations) for each in await ann.list()] == [[running]]
    edges = [(edge.waiter, edge.blocker, edge.kind) for edge in (await explain(site, other)).edges]
    assert edges == [(other, lock.name, HOLDER), (lock.name, running, WAIT_EDGE_KIND_UNDER)]
    gate.opened.set()
    assert not (await site.wait(running)).HasField("error")
    await site.wait_until(lambda: released(ann, lock.name))
    assert await ann.edit(under=lock.name, request_id=token) == own
    assert isinstance(await refusal_of(ann.edit(under=lock.name)), NotFound)
    assert not (await site.wait(other)).HasField("error")
    await site.wait_released()


def hold_commits(site: Site) -> Gate:
    """Hold every admission of an operation until the gate is opened."""
    gate = Gate()
    locks: Any = site.jobs.scheduler.world.locks
    acquire = locks.acquire

    async def held(wanted: LockSet, on_place: Any = None) -> Any:
        if wanted.under:
            await gate(None, None)
        return await acquire(wanted, on_place)

    locks.acquire = held
    return gate


async def released(who: Person, name: str) -> bool:
    """Release a lock as soon as that is possible."""
    try:
        await who.release(name)
    except Exception as error:  # noqa: BLE001 - any refusal means that it is not possible yet
        return "does not exist" in str(error)
    return True


async def test_at_its_end_it_waits_for_what_runs_under_it(site: Site, people: tuple[Person, Person]) -> None:
    """An event tells of the end; nothing more may come under it; it is released when the last operation has ended."""
    ann, bob = people
    lock = await ann.take(seconds=1.0)
    gate = hold_commits(site)
    running = await ann.edit(under=lock.name)

    async def ending() -> bool:
        return bool([each.state for each in await ann.list()] == [lock_control_service_pb2.PERSON_LOCK_STATE_ENDING])

    await site.wait_until(ending)
    assert "come to its end" in (await refusal_of(ann.edit(under=lock.name))).message
    other = await bob.edit(cpus=4)
    await waits_for(site, other, lock.name)
    gate.opened.set()
    assert not (await site.wait(running)).HasField("error")
    assert not (await site.wait(other)).HasField("error")
    assert await ann.list() == []
    await site.wait_released()

    async def told() -> bool:
        rows = await site.inventory.database.read(
            lambda connection: connection.execute("SELECT count(*) FROM event WHERE type = 'LOCK_ENDED'").fetchone()
        )
        return bool(rows == (1,))

    await site.wait_until(told)


async def test_it_survives_a_restart_with_the_rest_of_its_time(site: Site, people: tuple[Person, Person]) -> None:
    """Neither the lock nor its end is lost with the scheduler; a waiting one keeps its place."""
    ann, bob = people
    lock = await ann.take(seconds=2.0)
    second = await bob.take()
    assert second.state == lock_control_service_pb2.PERSON_LOCK_STATE_WAITING
    assert [each.holder for each in second.blockers][:1] == [lock.name]
    await site.close_jobs()
    assert WEB in await site.held_locks()
    await site.open_jobs()
    async with AsyncExitStack() as stack:
        again = await person(site, stack, "bob")

        async def passed_on() -> bool:
            return [(each.name, each.state) for each in await again.list()] == [(second.name, HELD)]

        await site.wait_until(passed_on)
        await again.release(second.name)
        await site.wait_released()


async def test_who_does_not_want_to_wait_is_refused_at_once(site: Site, people: tuple[Person, Person]) -> None:
    """The holder is named, and nothing is left in the queue."""
    ann, bob = people
    lock = await ann.take()
    refused = await refusal_of(bob.take(no_wait=True))
    assert isinstance(refused, WrongState)
    assert lock.name in refused.message
    assert [each.holder for each in refused.locks] == [lock.name]
    assert [each.name for each in await bob.list()] == [lock.name]
    await ann.release(lock.name)
    assert (await bob.take(no_wait=True)).state == HELD


async def test_the_same_request_id_is_the_same_lock(site: Site, people: tuple[Person, Person]) -> None:
    """However often it is asked for, at once, after a restart and after its end; another request is refused."""
    ann, bob = people
    token = str(uuid.uuid4())
    first, second = await asyncio.gather(ann.take(request_id=token), ann.take(request_id=token))
    assert first.name == second.name
    assert (await ann.take(request_id=token, max_wait=Duration(seconds=1))) == first, "how long a call waits is its own"
    other = await refusal_of(ann.take(request_id=token, seconds=2 * HOUR))
    assert isinstance(other, AlreadyExists)
    assert (first.name in other.message, other.metadata["field"]) == (True, "request_id")
    queued = await bob.take(request_id=token)
    assert queued.state == WAITING, "the id is the caller's own"
    await site.close_jobs()
    await site.open_jobs()
    async with AsyncExitStack() as stack:
        ann, bob = await person(site, stack, "ann"), await person(site, stack, "bob")
        assert (await ann.take(request_id=token, max_wait=Duration(seconds=30))) == first
        await ann.release(first.name)
        assert (await bob.take(request_id=token, max_wait=Duration(seconds=30))).name == queued.name
        ended = await ann.take(request_id=token)
        first.state = lock_control_service_pb2.PERSON_LOCK_STATE_RELEASED
        assert ended == first
        assert [each.name for each in await ann.list()] == [queued.name]
        await bob.release(queued.name)
        await site.wait_released()


async def test_the_same_lock_where_it_could_not_be_taken_anew(site: Site, people: tuple[Person, Person]) -> None:
    """The object that was locked may be gone, and the end that was wanted past."""
    ann, _ = people
    request = lock_control_service_pb2.TakeLockRequest(object=WEB, purpose="backup", request_id=str(uuid.uuid4()))
    request.end_time.FromDatetime(site.jobs.scheduler.world.clock.now() + timedelta(seconds=5))
    lock = await ann.locks.TakeLock(request)
    await site.wait_released()
    await site.succeed(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB))
    again = await ann.locks.TakeLock(request)
    assert (again.name, again.state) == (lock.name, lock_control_service_pb2.PERSON_LOCK_STATE_RELEASED)
    request.request_id = str(uuid.uuid4())
    assert isinstance(await refusal_of(ann.locks.TakeLock(request)), InvalidRequest)


async def test_a_refused_lock_uses_no_request_id(site: Site, people: tuple[Person, Person]) -> None:
    """Who did not want to wait asks again with the same id until the lock is free."""
    ann, bob = people
    token = str(uuid.uuid4())
    lock = await ann.take()
    for _ in range(2):
        assert isinstance(await refusal_of(bob.take(no_wait=True, request_id=token)), WrongState)
    await ann.release(lock.name)
    held = await bob.take(no_wait=True, request_id=token)
    assert (held.state, (await bob.take(no_wait=True, request_id=token)).name) == (HELD, held.name)


async def test_a_request_id_may_be_used_anew_after_its_age(site: Site, people: tuple[Person, Person]) -> None:
    """The age counts from the end of the lock: while it is not released its id is kept, and nothing is written."""
    ann, _ = people
    token = str(uuid.uuid4())
    lock = await ann.take(request_id=token)
    history = History(
        site.jobs.scheduler.world.store, SystemClock(), replace(JOB_HISTORY, request_ids=timedelta(seconds=-1))
    )
    commits = site.commits()["jobs"]
    await history.tidy()
    assert site.commits()["jobs"] == commits
    assert (await ann.take(request_id=token)).name == lock.name
    await ann.release(lock.name)
    assert (await ann.take(request_id=token)).name == lock.name
    await history.tidy()
    assert (await ann.take(request_id=token, seconds=2 * HOUR)).name != lock.name


async def test_an_administrator_breaks_it(site: Site, people: tuple[Person, Person]) -> None:
    """It is released at once, with an event; but not while something runs under it."""
    ann, _ = people
    lock = await ann.take()
    admin: Any = lock_control_service_pb2_grpc.LockControlServiceStub(site._near["jobs"])
    request = lock_control_service_pb2.BreakLockRequest(target=WEB, reason="she is on holiday")
    answer = await admin.BreakLock(request)
    assert (answer.owner, answer.freed) == (lock.name, True)
    await site.wait_released()

    async def told() -> bool:
        return bool(await broken_events(site, WEB))

    await site.wait_until(told)
    (event,) = await broken_events(site, WEB)
    assert "she is on holiday" in event.message
    assert isinstance(await refusal_of(ann.locks.BreakLock(request)), PermissionDenied)


async def test_the_sweep_releases_what_nobody_owns(site: Site, people: tuple[Person, Person]) -> None:
    """Locks follow from the open operations and people's locks; another owner's go, theirs stay."""
    ann, _ = people
    lock = await ann.take()
    world = site.jobs.scheduler.world
    for owner in ("locks/ghost", "operations/1#rollback"):
        wish = LockWish(object=f"servers/{owner[-5:]}", mode=LockMode.X)
        await world.locks.acquire(LockSet(owner=owner, epoch=1, locks=(wish,)), lambda _: None)
    running = await ann.edit()
    await waits_for(site, running, lock.name)
    assert await sweep(world.store, world.locks, site.jobs.scheduler.people.owners) == [
        "locks/ghost",
        "operations/1#rollback",
    ]
    assert set(await site.held_locks()) == {WEB, "serverPools/Finance"}
    await ann.release(lock.name)
    assert not (await site.wait(running)).HasField("error")
    await site.wait_released()


async def test_bad_requests_are_refused_by_field(site: Site, people: tuple[Person, Person]) -> None:
    """Nothing is taken by any of them."""
    ann, _ = people
    for seconds, mode, field in ((0.0, 5, "duration"), (31 * 24 * HOUR, 5, "30 days"), (1.0, 9, "mode")):
        assert field in (await refusal_of(ann.take(seconds=seconds, mode=mode))).message
    assert isinstance(await refusal_of(ann.take("virtualMachines/none")), NotFound)
    assert isinstance(await refusal_of(ann.take("nothing")), NotFound)
    request = lock_control_service_pb2.TakeLockRequest(object=WEB, purpose="backup")
    assert isinstance(await refusal_of(ann.locks.TakeLock(request)), InvalidRequest)
    assert await site.held_locks() == []
