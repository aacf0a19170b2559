"""What a person's lock is on when it is held: what its object is below by then, and not when it was asked for (P25)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_lock_break import refusal_of
from tests.integration.jobs.test_person_locks import HELD, WAITING, WEB, Person, person, waits_for
from virtyard.api.operations.v1 import (
    add_server_to_server_pool_pb2,
    delete_virtual_machine_pb2,
    remove_server_from_server_pool_pb2,
)
from virtyard.api.type.v1.submission_pb2 import SubmissionOptions
from virtyard.kernel.errors import WrongState
from virtyard.kernel.lock_modes import LockMode

POOL = "serverPools/Finance"
S2 = "servers/s2"
ON_BOTH = {(S2, LockMode.X), (POOL, LockMode.IX)}


@pytest.fixture
async def people(site: Site) -> AsyncIterator[tuple[Person, Person]]:
    """Return Ann and Bob on a site whose server s2 is in no pool."""
    await site.succeed(remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(name=POOL, server=S2))
    await site.wait_released()
    async with AsyncExitStack() as stack:
        yield await person(site, stack, "ann"), await person(site, stack, "bob")


def adding(under: str = "") -> add_server_to_server_pool_pb2.AddServerToServerPoolRequest:
    """Return the request that puts s2 into the pool."""
    return add_server_to_server_pool_pb2.AddServerToServerPoolRequest(
        name=POOL, server=S2, options=SubmissionOptions(under=under)
    )


async def held_by(site: Site, owner: str) -> set[tuple[str, LockMode]]:
    """Return what an owner holds."""
    locks = await site.jobs.scheduler.world.locks.locks(f'owner = "{owner}"')
    return {(lock.object, lock.mode) for lock in locks if lock.granted is not None}


async def queue_behind_a_move(site: Site, ann: Person, bob: Person, **rest: Any) -> tuple[Any, str, Any]:
    """Have Ann wait for s2 behind its move, and that behind Bob's lock; return Bob's, the move, and Ann's."""
    first = await bob.take(S2)
    move = (await site.submit(adding())).name
    await waits_for(site, move, first.name)
    lock = await ann.take(S2, **rest)
    assert lock.state == WAITING
    return first, move, lock


def wait_state(site: Site, who: Person, name: str, state: int) -> Any:
    """Wait until a lock is in a state."""

    async def reached() -> bool:
        return (name, state) in {(each.name, each.state) for each in await who.list()}

    return site.wait_until(reached)


async def test_what_was_moved_while_a_lock_waited_is_locked_where_it_is(
    site: Site, people: tuple[Person, Person]
) -> None:
    """It is held with the intention on the pool that the server is in by then, which keeps others off that pool."""
    ann, bob = people
    first, move, lock = await queue_behind_a_move(site, ann, bob)
    await bob.release(first.name)
    assert not (await site.wait(move)).HasField("error")
    await wait_state(site, ann, lock.name, HELD)
    assert await held_by(site, lock.name) == ON_BOTH
    pool = await bob.take(POOL)
    assert (pool.state, [each.holder for each in pool.blockers]) == (WAITING, [lock.name])
    await ann.release(lock.name)
    await wait_state(site, bob, pool.name, HELD)


async def test_a_lock_on_what_was_moved_keeps_its_place(site: Site, people: tuple[Person, Person]) -> None:
    """Asking for another set is no new arrival: who came later still waits, and who holds the pool is waited for."""
    ann, bob = people
    first, move, lock = await queue_behind_a_move(site, ann, bob)
    later = await bob.take(S2)
    pool = await bob.take(POOL)
    assert pool.state == WAITING, "behind the move, which has its intention there"
    await bob.release(first.name)
    assert not (await site.wait(move)).HasField("error")

    async def behind_the_pool() -> bool:
        found = {each.name: [blocker.holder for blocker in each.blockers] for each in await ann.list()}
        return pool.name in found[lock.name]

    await wait_state(site, bob, pool.name, HELD)
    await site.wait_until(behind_the_pool)
    assert await held_by(site, lock.name) == set()
    assert await held_by(site, later.name) == set()
    await bob.release(pool.name)
    await wait_state(site, ann, lock.name, HELD)
    assert await held_by(site, lock.name) == ON_BOTH
    await ann.release(lock.name)
    await wait_state(site, bob, later.name, HELD)
    assert await held_by(site, later.name) == ON_BOTH


async def test_a_lock_on_what_was_moved_survives_a_restart(site: Site, people: tuple[Person, Person]) -> None:
    """The scheduler ends between the commit of the other set and asking for it: the next one asks for that one."""
    ann, bob = people
    first, _, lock = await queue_behind_a_move(site, ann, bob)
    locks: Any = site.jobs.scheduler.world.locks
    acquire, reached = locks.acquire, asyncio.Event()

    async def cut(wanted: Any, on_place: Any) -> Any:
        if wanted.owner == lock.name and wanted.round:
            reached.set()
            await asyncio.Event().wait()
        return await acquire(wanted, on_place)

    locks.acquire = cut
    await bob.release(first.name)
    async with asyncio.timeout(30):
        await reached.wait()
    assert "jobs.lock_moved" in site.transitions
    await site.close_jobs()
    await site.open_jobs()
    async with AsyncExitStack() as stack:
        again = await person(site, stack, "ann")
        await wait_state(site, again, lock.name, HELD)
        assert await held_by(site, lock.name) == ON_BOTH
        await site.close_jobs()
        await site.open_jobs()
    async with AsyncExitStack() as stack:
        again = await person(site, stack, "ann")
        await wait_state(site, again, lock.name, HELD)
        assert await held_by(site, lock.name) == ON_BOTH
        await again.release(lock.name)
        await site.wait_released()


@pytest.mark.parametrize("no_wait", [False, True])
async def test_what_is_moved_under_a_lock_stays_locked(
    site: Site, people: tuple[Person, Person], no_wait: bool
) -> None:
    """Once the operation under it has ended, the lock is on where its own holder has put the server."""
    ann, bob = people
    lock = await ann.take(S2, no_wait=no_wait)
    assert await held_by(site, lock.name) == {(S2, LockMode.X)}
    assert not (await site.wait(await ann.submit(adding(under=lock.name)))).HasField("error")

    async def followed() -> bool:
        return await held_by(site, lock.name) == ON_BOTH

    await site.wait_until(followed)
    await wait_state(site, ann, lock.name, HELD)
    assert (await bob.take(POOL)).state == WAITING
    await ann.release(lock.name)


async def test_a_lock_on_what_is_gone_ends(site: Site, people: tuple[Person, Person]) -> None:
    """Nobody keeps a bare name; who waits for the lock hears of it, and an event tells why."""
    ann, bob = people
    await site.succeed(machine("web", disks=0, vnics=0))
    await site.wait_released()
    first = await bob.take(WEB)
    delete = (await site.submit(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB))).name
    await waits_for(site, delete, first.name)
    lock = await ann.take(WEB)
    waiting = asyncio.ensure_future(site.jobs.scheduler.people.wait_held(lock.name, 30.0))
    await bob.release(first.name)
    assert not (await site.wait(delete)).HasField("error")
    await waiting
    await site.wait_released()
    assert await ann.list() == []

    async def told() -> bool:
        events = await site.events(WEB, "INFORMATIONAL")
        return any(event.type == "LOCK_ENDED" and "its object is gone" in event.message for event in events)

    await site.wait_until(told)


async def test_what_is_deleted_under_a_lock_may_be_made_again_under_it(
    site: Site, people: tuple[Person, Person]
) -> None:
    """The name stays the holder's meanwhile."""
    ann, bob = people
    await site.succeed(machine("web", disks=0, vnics=0))
    await site.wait_released()
    lock = await ann.take(WEB)
    delete = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=WEB)
    delete.options.under = lock.name
    assert not (await site.wait(await ann.submit(delete))).HasField("error")
    other = (await site.submit(machine("web", disks=0, vnics=0))).name
    await waits_for(site, other, lock.name)
    again = machine("web", disks=0, vnics=0)
    again.options.under = lock.name
    assert not (await site.wait(await ann.submit(again))).HasField("error")
    assert [each.state for each in await bob.list()] == [HELD]
    await ann.release(lock.name)
    assert (await site.wait(other)).HasField("error"), "there is one by then"


@pytest.mark.parametrize("taken", [False, True])
async def test_what_is_not_to_wait_does_not_wait_where_its_object_is_now(
    site: Site, people: tuple[Person, Person], taken: bool
) -> None:
    """The server moves between the look at what is above it and the grant: the lock is held on both, or refused."""
    ann, bob = people
    locks: Any = site.jobs.scheduler.world.locks
    acquire, moved = locks.acquire, asyncio.Event()

    async def late(wanted: Any, on_place: Any) -> Any:
        if wanted.owner.startswith("locks/") and not moved.is_set():
            moved.set()
            assert not (await site.wait((await site.submit(adding())).name)).HasField("error")
            await site.wait_released()
            if taken:
                assert (await bob.take(POOL)).state == HELD
        return await acquire(wanted, on_place)

    locks.acquire = late
    if not taken:
        lock = await ann.take(S2, no_wait=True)
        assert (lock.state, await held_by(site, lock.name)) == (HELD, ON_BOTH)
        return
    refused = await refusal_of(ann.take(S2, no_wait=True))
    assert isinstance(refused, WrongState)
    (left,) = await bob.list()
    assert left.name in refused.message
    await bob.release(left.name)
    await site.wait_released()
