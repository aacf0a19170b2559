"""An owner under another one: it does not wait for that, nor for who waits for that, and outlives it never (P23)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from virtyard.kernel.errors import WrongState
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import Claim, LockSet, LockWish
from virtyard.locks.table import ClosedOwnersInMemory, LockTable

NOW = datetime(2030, 1, 1, tzinfo=UTC)
X, IX = LockMode.X, LockMode.IX
ANN = "locks/ann"


def ask(table: LockTable, owner: str, *names: str, under: str = "", priority: int = 0) -> Claim:
    """Ask for objects exclusively."""
    wishes = tuple(LockWish(object=name, mode=X) for name in names)
    return table.acquire(LockSet(owner=owner, epoch=1, locks=wishes, under=under, priority=priority), NOW)


def waits(table: LockTable, owner: str) -> bool:
    """Return whether an owner is still in the queue."""
    claim = table.claim(owner)
    assert claim is not None
    return claim.waiting


@pytest.fixture
def table() -> LockTable:
    """Return a table in which Ann holds the server."""
    table = LockTable(ClosedOwnersInMemory())
    ask(table, ANN, "server")
    return table


def test_a_person_gets_no_token(table: LockTable) -> None:
    """No effect is carried out with a person's lock, and no number is used up."""
    claim = table.claim(ANN)
    assert claim is not None
    assert [lock.token for lock in claim.locks] == [0]
    assert [lock.token for lock in ask(table, "a", "vm").locks] == [1]


def test_a_child_does_not_wait_for_its_parent(table: LockTable) -> None:
    """Ann's own operation passes, with a token; anybody else waits."""
    assert not ask(table, "a", "server", under=ANN).waiting
    assert ask(table, "b", "server").waiting


def test_a_child_passes_who_waits_for_its_parent(table: LockTable) -> None:
    """They are not granted before Ann's lock ends, which does not end before the child."""
    ask(table, "b", "server", "vm", priority=20)
    ask(table, "c", "vm", "disk", priority=10)
    assert not ask(table, "a", "server", "disk", under=ANN).waiting


def test_a_child_waits_for_who_does_not_wait_for_its_parent(table: LockTable) -> None:
    """What is outside of Ann's lock is shared with all others, in the usual order."""
    ask(table, "holder", "vm")
    ask(table, "b", "vm", "disk")
    assert ask(table, "a", "server", "disk", under=ANN).waiting
    place = table.place("a")
    assert [(each.owner, each.object) for each in place.blockers] == [("b", "disk")]
    table.release("holder", 1, NOW)
    assert not waits(table, "b")
    table.release("b", 1, NOW)
    assert not waits(table, "a")


def test_a_waiting_child_is_granted_when_what_it_waits_for_is_behind_its_parent(table: LockTable) -> None:
    """A waiter that comes later with a higher priority can put another one behind Ann's lock."""
    ask(table, "holder", "vm")
    ask(table, "b", "vm", "disk")
    ask(table, "a", "disk", under=ANN)
    assert waits(table, "a")
    ask(table, "c", "server", "vm", priority=20)
    assert not waits(table, "a")


def test_children_exclude_one_another(table: LockTable) -> None:
    """Under one lock the usual order holds."""
    ask(table, "a", "server", under=ANN)
    assert ask(table, "b", "server", under=ANN).waiting
    table.release("a", 1, NOW)
    assert not waits(table, "b")


def test_a_parent_is_not_released_before_its_children(table: LockTable) -> None:
    """Waiting children count too."""
    ask(table, "a", "server", under=ANN)
    with pytest.raises(WrongState, match="before a"):
        table.release(ANN, 1, NOW)
    table.release("a", 1, NOW)
    ask(table, "b", "server")
    table.release(ANN, 1, NOW)
    assert not waits(table, "b")


@pytest.mark.parametrize("waiting", [False, True])
def test_nothing_comes_under_what_is_not_held(table: LockTable, waiting: bool) -> None:
    """A lock that has ended, or that still waits, is no parent; nothing is queued."""
    if waiting:
        ask(table, "locks/bob", "server")
    with pytest.raises(WrongState, match="locks/bob"):
        ask(table, "a", "vm", under="locks/bob")
    assert table.claim("a") is None


def test_a_table_that_is_read_again_knows_children(table: LockTable) -> None:
    """As after a restart."""
    ask(table, "a", "server", under=ANN)
    again = LockTable(ClosedOwnersInMemory(), table.claims(), arrivals=table.arrivals, tokens=table.tokens)
    with pytest.raises(WrongState):
        again.release(ANN, 1, NOW)
    assert not ask(again, "a", "server", under=ANN).waiting
