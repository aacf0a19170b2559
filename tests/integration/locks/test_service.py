"""The lock service on a real database: what is durable, what a restart keeps, what a failed commit leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.kernel.errors import NotFound, StaleEpoch, Unavailable
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.main import open_locks
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace, Refusal, Release, Report
from virtyard.locks.service import LocksService
from virtyard.locks.session import Session

X, IX, S = LockMode.X, LockMode.IX, LockMode.S


def wanted(owner: str, *names: str, epoch: int = 1, priority: int = 0, turn: int = 0, mode: LockMode = X) -> LockSet:
    """Return a set that asks for X on these objects."""
    wishes = tuple(LockWish(object=name, mode=mode) for name in names)
    return LockSet(owner=owner, epoch=epoch, locks=wishes, priority=priority, purpose=f"work of {owner}", round=turn)


class Asker:
    """One session and what it has been told."""

    def __init__(self, service: LocksService) -> None:
        """Open the session."""
        self.service = service
        self.session = Session()
        self.reports = self.session.reports()
        self.told: list[Report] = []

    async def ask(self, *sets: LockSet) -> None:
        """Ask for sets."""
        for each in sets:
            await self.service.ask(self.session, each)

    async def news(self, owner: str, kind: type[Report] | None = None) -> Report:
        """Wait for news of an owner, of a kind if given."""
        async with asyncio.timeout(10):
            while True:
                for report in self.told:
                    if report.owner == owner and (kind is None or isinstance(report, kind)):
                        self.told.remove(report)
                        return report
                self.told += await anext(self.reports)

    async def granted(self, owner: str) -> dict[str, int]:
        """Wait for a grant and return its tokens."""
        report = await self.news(owner, Grant)
        assert isinstance(report, Grant)
        return {lock.object: lock.token for lock in report.locks}

    async def place(self, owner: str) -> QueuePlace:
        """Wait for a place in the queue."""
        report = await self.news(owner, QueuePlace)
        assert isinstance(report, QueuePlace)
        return report

    async def refused(self, owner: str) -> str:
        """Wait for a refusal and return its reason."""
        report = await self.news(owner, Refusal)
        assert isinstance(report, Refusal)
        return report.reason


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[LocksService]:
    """Run the service on a folder."""
    async with open_locks(folder, FakeClock(), place_interval=0.0) as locks:
        yield locks.service


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[LocksService]:
    """Run the service."""
    async with running(tmp_path) as service:
        yield service


async def test_a_cycle_without_contention_costs_two_commits(service: LocksService) -> None:
    """One for the grant and one for the release, whatever the number of objects (section D)."""
    asker = Asker(service)
    before = service.commits
    await asker.ask(wanted("a", "vm1", "vm2", "vm3", "vm4", "vm5"))
    assert sorted((await asker.granted("a")).values()) == [1, 2, 3, 4, 5]
    assert service.commits - before == 1
    await service.release([Release(owner="a", epoch=1)])
    assert service.commits - before == 2


async def test_what_is_asked_at_once_shares_a_commit(service: LocksService) -> None:
    """A hundred owners cost far fewer than a hundred commits."""
    asker = Asker(service)
    before = service.commits
    await asker.ask(*[wanted(f"o{number}", f"vm{number}") for number in range(100)])
    for number in range(100):
        await asker.granted(f"o{number}")
    await service.release([Release(owner=f"o{number}", epoch=1) for number in range(100)])
    assert service.commits - before <= 4


async def test_a_waiter_is_told_its_place_as_it_changes_and_then_the_grant(service: LocksService) -> None:
    """Position and blockers, pushed without being asked for."""
    asker = Asker(service)
    for owner in "abc":
        await asker.ask(wanted(owner, "vm1"))
    await asker.granted("a")
    place = await asker.place("c")
    assert (place.position, [blocker.owner for blocker in place.blockers]) == (2, ["a", "b"])
    await service.release([Release(owner="a", epoch=1)])
    await asker.granted("b")
    place = await asker.place("c")
    assert (place.position, [blocker.purpose for blocker in place.blockers]) == (1, ["work of b"])
    await service.release([Release(owner="b", epoch=1)])
    await asker.granted("c")


async def test_a_restart_keeps_holders_waiters_their_order_and_the_tokens(tmp_path: Path) -> None:
    """R6: whoever asks again has the same rank and the same tokens; those granted later have higher ones."""
    async with running(tmp_path) as service:
        asker = Asker(service)
        await asker.ask(
            wanted("a", "vm1", "vm2"), wanted("b", "vm1"), wanted("c", "vm1", priority=1), wanted("d", "vm2")
        )
        tokens = await asker.granted("a")
        await asker.place("d")
    async with running(tmp_path) as service:
        asker = Asker(service)
        await asker.ask(wanted("b", "vm1"), wanted("c", "vm1", priority=1), wanted("a", "vm1", "vm2"))
        assert await asker.granted("a") == tokens
        assert (await asker.place("b")).position == 2
        await service.release([Release(owner="a", epoch=1)])
        later = await asker.granted("c")
        assert min(later.values()) > max(tokens.values())
        assert isinstance(await service.explain("d"), Grant)
        assert isinstance(await service.explain("b"), QueuePlace)
        await asker.ask(wanted("a", "vm9"))
        assert await asker.refused("a") == "OWNER_CLOSED"


async def test_a_release_tells_those_who_wait_for_the_same_owner(service: LocksService) -> None:
    """An abort elsewhere ends the waiting here."""
    asker = Asker(service)
    await asker.ask(wanted("a", "vm1"), wanted("b", "vm1"))
    await asker.place("b")
    await service.release([Release(owner="b", epoch=1)])
    assert await asker.refused("b") == "OWNER_CLOSED"


async def test_another_round_tells_those_who_wait_for_the_earlier_one(service: LocksService) -> None:
    """A second stream that asks for another set takes the owner over."""
    asker, other = Asker(service), Asker(service)
    await asker.ask(wanted("a", "vm1"), wanted("b", "vm1"))
    await asker.place("b")
    await other.ask(wanted("b", "vm2", turn=1))
    await other.granted("b")
    assert await asker.refused("b") == "SUPERSEDED"


async def test_a_stale_epoch_is_refused_and_the_rest_of_the_batch_is_done(service: LocksService) -> None:
    """One refusal is one owner's own."""
    asker = Asker(service)
    await asker.ask(wanted("a", "vm1", epoch=3), wanted("b", "vm2"))
    await asker.granted("b")
    with pytest.raises(StaleEpoch):
        await service.release([Release(owner="a", epoch=2), Release(owner="b", epoch=1)])
    assert isinstance(await service.explain("a"), Grant)
    with pytest.raises(NotFound):
        await service.explain("b")


async def test_shrinking_keeps_the_tokens_over_a_restart(tmp_path: Path) -> None:
    """The first set, asked for again, is answered with what is left of it."""
    async with running(tmp_path) as service:
        asker = Asker(service)
        await asker.ask(wanted("a", "vm1", "vm2"), wanted("b", "vm2"))
        tokens = await asker.granted("a")
        await service.release([Release(owner="a", epoch=1, keep={"vm1": S})])
        await asker.granted("b")
    async with running(tmp_path) as service:
        asker = Asker(service)
        await asker.ask(wanted("a", "vm1", "vm2"))
        assert await asker.granted("a") == {"vm1": tokens["vm1"]}


async def test_locks_are_listed_by_object_holders_first(service: LocksService) -> None:
    """Each with its owner, purpose and, where it waits, its place and blockers."""
    asker = Asker(service)
    await asker.ask(wanted("a", "vm2"), wanted("b", "vm2", "vm1"), wanted("c", "vm2", priority=2))
    await asker.place("c")
    first = await service.page("", 3, lambda view: view.object != "vm1")
    assert first.token
    assert not first.next
    page = await service.page("", 3, lambda view: True)
    last = await service.page(page.next, 3, lambda view: True)
    assert not last.next
    shown = page.locks + last.locks
    assert [(lock.object, lock.owner, lock.position) for lock in shown] == [
        ("vm1", "b", 2),
        ("vm2", "a", 0),
        ("vm2", "c", 1),
        ("vm2", "b", 2),
    ]
    assert first.locks == shown[1:]
    assert [blocker.owner for blocker in shown[3].blockers] == ["a", "c"]


async def test_who_waits_is_told_of_a_grant_whose_commit_seemed_to_fail(tmp_path: Path) -> None:
    """A release that is durable though its commit failed grants, and the waiter, who asks no more, hears of it."""
    failing: list[bool] = []

    def commit(connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")
        if failing:
            failing.pop()
            raise sqlite3.OperationalError("disk I/O error")

    async with open_locks(tmp_path, FakeClock(), commit_hook=commit) as locks:
        holder, waiter = Asker(locks.service), Asker(locks.service)
        await holder.ask(wanted("a", "vm1"))
        await holder.granted("a")
        await waiter.ask(wanted("b", "vm1"))
        await waiter.place("b")
        failing.append(True)
        with pytest.raises(Unavailable):
            await locks.service.release([Release(owner="a", epoch=1)])
        assert await waiter.granted("b") == {"vm1": 2}


@pytest.mark.parametrize("durable", [False, True])
async def test_after_a_failed_commit_memory_is_what_the_database_has(tmp_path: Path, durable: bool) -> None:
    """P28: whoever asked is told that the outcome is unknown; asking again finds out, and no token comes twice."""
    failing: list[bool] = []

    def commit(connection: sqlite3.Connection) -> None:
        if not failing:
            connection.execute("COMMIT")
            return
        if failing.pop():
            connection.execute("COMMIT")
        raise sqlite3.OperationalError("disk I/O error")

    async with open_locks(tmp_path, FakeClock(), commit_hook=commit) as locks:
        service = locks.service
        asker = Asker(service)
        await asker.ask(wanted("a", "vm1"))
        await asker.granted("a")
        failing.append(durable)
        await asker.ask(wanted("b", "vm2"))
        with pytest.raises(Unavailable):
            await asker.granted("b")
        again = Asker(service)
        await again.ask(wanted("c", "vm2", "vm3"), wanted("b", "vm2"))
        if durable:
            assert await again.granted("b") == {"vm2": 2}
            assert (await again.place("c")).blockers[0].owner == "b"
        else:
            assert await again.granted("c") == {"vm2": 2, "vm3": 3}
            assert (await again.place("b")).blockers[0].owner == "c"
