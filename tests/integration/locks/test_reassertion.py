"""A restored lock service: nothing is granted before the scheduler has said what is held, and tokens rise (P32)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from virtyard.kernel.errors import Unavailable, WrongState
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks import service
from virtyard.locks.main import Locks, open_locks
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace, Release
from virtyard.locks.restored import TOKEN_BITS, begin_life
from virtyard.locks.session import Session
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.restore import Life, new_incarnation

LIFE = Life(incarnation=new_incarnation(1, datetime.now(UTC)), replaced=None)


def wanted(owner: str, *names: str, epoch: int = 1) -> LockSet:
    """Return a set of exclusive locks."""
    wishes = tuple(LockWish(object=name, mode=LockMode.X, job="") for name in names)
    return LockSet(owner=owner, epoch=epoch, locks=wishes, priority=0, purpose="", round=0, trace_context={})


async def asked(locks: Locks, lock_set: LockSet) -> Grant | QueuePlace:
    """Ask for a set, and return what has become of it."""
    session = Session()
    await locks.service.ask(session, lock_set)
    async for reports in session.reports():
        (report,) = reports
        assert isinstance(report, Grant | QueuePlace)
        return report
    raise AssertionError("nothing was said")


async def lost_time(folder: Path) -> int:
    """Make a database with a holder, a waiter behind it, a stray and a person; restore it; return the last token."""
    async with open_locks(folder, SystemClock()) as locks:
        await asked(locks, wanted("operations/1", "servers/a"))
        await asked(locks, wanted("operations/2", "servers/a"))
        stray = await asked(locks, wanted("operations/3", "servers/b"))
        person = await asked(locks, wanted("locks/maintenance", "servers/c"))
        assert isinstance(stray, Grant)
        assert isinstance(person, Grant)
        last = person.locks[0].token
    with closing(sqlite3.connect(folder / "locks.db")) as database, database:
        begin_life(database, LIFE)
    return int(last or 0)


async def test_nothing_is_granted_before_what_is_held_was_said(tmp_path: Path) -> None:
    """Refused until then, also after a restart; then holders have new tokens, waiters their places, strays nothing."""
    last = await lost_time(tmp_path)
    for _ in range(2):
        async with open_locks(tmp_path, SystemClock()) as locks:
            with pytest.raises(Unavailable, match="restored") as refused:
                await asked(locks, wanted("operations/9", "servers/z"))
            assert refused.value.retry_after == 1.0
    async with open_locks(tmp_path, SystemClock()) as locks:
        (grant,) = await locks.service.reassert([wanted("operations/1", "servers/a", epoch=5)], {"operations/2"})
        (lock,) = grant.locks
        assert lock.token is not None
        assert lock.token > LIFE.incarnation << TOKEN_BITS > last
        held = await asked(locks, wanted("operations/9", "servers/b"))
        assert isinstance(held, Grant)
        assert held.locks[0].token > lock.token
        assert isinstance(await asked(locks, wanted("operations/2", "servers/a")), QueuePlace)
        assert isinstance(await asked(locks, wanted("operations/10", "servers/c")), QueuePlace)
        await locks.service.release([Release(owner="operations/1", epoch=5)])
        assert isinstance(await asked(locks, wanted("operations/2", "servers/a")), Grant)
    async with open_locks(tmp_path, SystemClock()) as locks:
        assert not locks.service.restored


async def test_what_the_locks_forgot_is_held_again(tmp_path: Path) -> None:
    """Locks that are older than the operations: a set that is not there is granted before anybody else's."""
    await lost_time(tmp_path)
    async with open_locks(tmp_path, SystemClock()) as locks:
        sets = [wanted("operations/1", "servers/a"), wanted("operations/7", "servers/b", "servers/d")]
        grants = await locks.service.reassert(sets, {"operations/2"})
        assert [grant.owner for grant in grants] == ["operations/1", "operations/7"]


async def test_without_the_closed_door_two_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Granting at once, old locks give to another what an open operation holds that they have not heard of."""
    await lost_time(tmp_path)
    monkeypatch.setattr(service, "is_restored", lambda _: False)
    async with open_locks(tmp_path, SystemClock()) as locks:
        assert isinstance(await asked(locks, wanted("operations/9", "servers/d")), Grant)
        with pytest.raises(WrongState, match="operations/7 cannot hold"):
            await locks.service.reassert([wanted("operations/7", "servers/d")], {"operations/1", "operations/9"})


async def test_what_does_not_fit_together_grants_nothing(tmp_path: Path) -> None:
    """A set that somebody else holds is refused by its owner, and the service stays closed."""
    await lost_time(tmp_path)
    async with open_locks(tmp_path, SystemClock()) as locks:
        sets = [wanted("operations/1", "servers/a"), wanted("operations/7", "servers/c")]
        with pytest.raises(WrongState, match="operations/7 cannot hold"):
            await locks.service.reassert(sets, set())
        with pytest.raises(Unavailable, match="restored"):
            await asked(locks, wanted("operations/9", "servers/z"))


async def test_nothing_is_given_back_before_every_set_can_be_held(tmp_path: Path) -> None:
    """A release is for ever: while one set is refused, what looks like a stray holds and waits for what it did."""
    await lost_time(tmp_path)
    sets = [wanted("operations/1", "servers/a"), wanted("operations/7", "servers/c")]
    async with open_locks(tmp_path, SystemClock()) as locks:
        for _ in range(2):
            with pytest.raises(WrongState, match="operations/7 cannot hold"):
                await locks.service.reassert(sets, set())
        shown = (await locks.service.page("", 100, lambda _: True)).locks
        assert {(each.owner, each.object, each.granted is None) for each in shown} >= {
            ("operations/2", "servers/a", True),
            ("operations/3", "servers/b", False),
        }
    async with open_locks(tmp_path, SystemClock()) as locks:
        both = [wanted("operations/1", "servers/a"), wanted("operations/3", "servers/b")]
        assert len(await locks.service.reassert(both, {"operations/2"})) == 2


async def test_a_set_whose_owner_was_closed_is_refused_before_anything_is_given_back(tmp_path: Path) -> None:
    """Its tombstone is looked at first, and named; the others keep what they have."""
    await lost_time(tmp_path)
    async with open_locks(tmp_path, SystemClock()) as locks:
        await locks.service.release([Release(owner="operations/1", epoch=1)])
        with pytest.raises(WrongState, match=r"operations/1 cannot hold .* released for ever"):
            await locks.service.reassert([wanted("operations/1", "servers/a")], {"operations/2"})
        shown = (await locks.service.page("", 100, lambda _: True)).locks
        assert "operations/3" in {each.owner for each in shown}
