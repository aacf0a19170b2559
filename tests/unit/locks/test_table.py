"""Facts about the lock table, one history each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from virtyard.kernel.errors import (
    InvalidRequest,
    NotFound,
    OwnerClosed,
    PayloadMismatch,
    StaleEpoch,
    Superseded,
    VirtyardError,
)
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import PRIORITY_WEIGHT, Claim, LockSet, LockWish, Rank
from virtyard.locks.queue import ObjectQueue
from virtyard.locks.table import ClosedOwnersInMemory, LockTable

IX, S, X = LockMode.IX, LockMode.S, LockMode.X
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def ask(
    table: LockTable,
    owner: str,
    locks: dict[str, LockMode],
    *,
    epoch: int = 1,
    priority: int = 0,
    turn: int = 0,
) -> Claim:
    """Ask for a set."""
    wishes = tuple(LockWish(object=name, mode=mode) for name, mode in locks.items())
    wanted = LockSet(owner=owner, epoch=epoch, locks=wishes, priority=priority, purpose=f"work of {owner}", round=turn)
    return table.acquire(wanted, NOW)


@pytest.fixture
def table() -> LockTable:
    """Return an empty table."""
    return LockTable(ClosedOwnersInMemory())


def tokens(claim: Claim | None) -> dict[str, int]:
    """Return the tokens of a claim."""
    assert claim is not None
    return {lock.object: lock.token for lock in claim.locks}


def waits(table: LockTable, owner: str) -> bool:
    """Return whether the owner is still queued."""
    claim = table.claim(owner)
    assert claim is not None
    return claim.waiting


def test_a_set_is_granted_as_a_whole_with_rising_tokens(table: LockTable) -> None:
    """One number per lock, and the next grant's are higher."""
    first = ask(table, "a", {"vm1": X, "pool": IX})
    second = ask(table, "b", {"vm2": X, "pool": IX})
    assert tokens(first) == {"pool": 1, "vm1": 2}
    assert tokens(second) == {"pool": 3, "vm2": 4}


def test_a_set_that_must_wait_holds_none_of_its_objects(table: LockTable) -> None:
    """No hold and wait: what is free stays free for others who go before."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X, "vm2": X})
    table.release("a", 1, NOW)
    assert tokens(table.claim("b")) == {"vm1": 2, "vm2": 3}


def test_a_later_set_does_not_overtake_a_waiter_that_it_excludes(table: LockTable) -> None:
    """The barrier: a small request may not starve a large one."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X, "vm2": X})
    assert ask(table, "c", {"vm2": X}).waiting
    assert not ask(table, "d", {"vm3": X}).waiting
    table.release("b", 1, NOW)
    assert not waits(table, "c")


def test_an_object_named_twice_is_locked_in_the_stronger_way(table: LockTable) -> None:
    """The jobs of an operation need not agree on a mode."""
    wishes = (LockWish(object="pool", mode=IX, job="jobs/1"), LockWish(object="pool", mode=S, job="jobs/2"))
    claim = table.acquire(LockSet(owner="a", epoch=1, locks=wishes), NOW)
    assert [(lock.mode, lock.job) for lock in claim.locks] == [(LockMode.SIX, "jobs/1")]


def overtaken(table: LockTable, priority: int, later: int) -> int:
    """Return how many of `later` arrivals, in turn, are granted before a waiter of priority 0."""
    ask(table, "holder", {"vm": X})
    ask(table, "low", {"vm": X})
    last, passed = "holder", 0
    for number in range(later):
        ask(table, f"high{number}", {"vm": X}, priority=priority)
        table.release(last, 1, NOW)
        if not waits(table, "low"):
            return passed
        last, passed = f"high{number}", passed + 1
    return passed


def test_a_waiter_is_overtaken_at_most_k_times_per_step_of_priority(table: LockTable) -> None:
    """Waiting ages: sixty-four arrivals with priority 1 may pass, and the waiter is next then (P15)."""
    assert overtaken(table, 1, 1000) == PRIORITY_WEIGHT - 1
    assert overtaken(LockTable(ClosedOwnersInMemory()), 2, 1000) == 2 * PRIORITY_WEIGHT - 1
    assert overtaken(LockTable(ClosedOwnersInMemory()), 0, 1000) == 0


def test_without_the_barrier_a_waiter_starves(table: LockTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switching the check of waiters off is noticed: shared holders who come and go keep X out for ever."""

    def only_holders(queue: ObjectQueue, mode: LockMode, rank: Rank) -> bool:
        del rank
        return any(queue.blocking_holders(mode))

    def shared_pass(table: LockTable) -> int:
        ask(table, "s0", {"vm": S})
        ask(table, "x", {"vm": X})
        for number in range(1, 500):
            ask(table, f"s{number}", {"vm": S})
            table.release(f"s{number - 1}", 1, NOW)
            if not waits(table, "x"):
                return number
        return 500

    assert shared_pass(LockTable(ClosedOwnersInMemory())) == 1
    monkeypatch.setattr(ObjectQueue, "excludes", only_holders)
    assert shared_pass(table) == 500


def test_another_set_in_a_later_round_keeps_the_rank(table: LockTable) -> None:
    """Re-planning does not send an operation to the end of the queue (P4)."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X})
    ask(table, "c", {"vm1": X})
    moved = ask(table, "b", {"vm1": X, "vm2": X}, turn=1)
    assert moved.waiting
    table.release("a", 1, NOW)
    assert not waits(table, "b")
    assert waits(table, "c")


def test_another_set_gives_everything_back_first(table: LockTable) -> None:
    """What was held goes to those who waited for it, if the new set does not need it; tokens are new."""
    held = ask(table, "a", {"vm1": X, "vm2": X})
    ask(table, "b", {"vm1": X})
    moved = ask(table, "a", {"vm2": X, "vm3": X}, turn=1)
    assert not waits(table, "b")
    assert not moved.waiting
    assert min(tokens(moved).values()) > max(tokens(held).values())


def test_a_holder_of_a_later_round_goes_before_those_it_kept_waiting(table: LockTable) -> None:
    """At its original rank it gets the contested object again, in the same step."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X})
    assert not ask(table, "a", {"vm1": X, "vm2": X}, turn=1).waiting
    assert waits(table, "b")


def test_a_late_message_of_an_earlier_round_is_refused(table: LockTable) -> None:
    """A duplicate that was under way does not bring the old set back."""
    ask(table, "a", {"vm1": X})
    ask(table, "a", {"vm2": X}, turn=1)
    with pytest.raises(Superseded):
        ask(table, "a", {"vm1": X})


def test_another_set_in_the_same_round_is_refused(table: LockTable) -> None:
    """One owner, one set."""
    ask(table, "a", {"vm1": X})
    with pytest.raises(PayloadMismatch):
        ask(table, "a", {"vm2": X})


def test_a_set_within_what_is_held_is_answered_by_what_is_held(table: LockTable) -> None:
    """A plan made again under its locks needed fewer, its scheduler died, and the next one asks for those (P4)."""
    held = ask(table, "a", {"pool": IX, "vm1": X})
    again = ask(table, "a", {"vm1": S}, epoch=2)
    assert (again.locks, again.epoch) == (held.locks, 2)
    ask(table, "b", {"pool": X})
    with pytest.raises(PayloadMismatch):
        ask(table, "a", {"pool": X}, epoch=2)


def test_a_waiter_holds_nothing_that_a_smaller_set_could_lie_within(table: LockTable) -> None:
    """What it was promised is the set that it asked for."""
    ask(table, "b", {"vm1": X})
    ask(table, "a", {"vm1": X, "vm2": X})
    with pytest.raises(PayloadMismatch):
        ask(table, "a", {"vm2": X})


def test_a_released_owner_never_comes_back(table: LockTable) -> None:
    """A scheduler that wakes after the end gets nothing (P5), even where it had never asked."""
    ask(table, "a", {"vm1": X})
    table.release("a", 1, NOW)
    table.release("never asked", 1, NOW)
    table.release("a", 1, NOW)
    for owner in ("a", "never asked"):
        with pytest.raises(OwnerClosed):
            ask(table, owner, {"vm1": X})
        with pytest.raises(OwnerClosed):
            table.shrink(owner, 1, {}, NOW)


def test_a_lower_epoch_is_refused_before_anything_else(table: LockTable) -> None:
    """A scheduler that was adopted while it slept changes nothing (P14)."""
    held = ask(table, "a", {"vm1": X}, epoch=2)
    calls: list[Callable[[], object]] = [
        lambda: ask(table, "a", {"vm1": X}, epoch=1),
        lambda: ask(table, "a", {"vm2": X}, epoch=1, turn=1),
        lambda: table.release("a", 1, NOW),
        lambda: table.shrink("a", 1, {}, NOW),
    ]
    for stale in calls:
        with pytest.raises(StaleEpoch):
            stale()
    assert table.claim("a") == held


def test_the_epoch_of_an_adopted_owner_rises_and_its_tokens_stay(table: LockTable) -> None:
    """Adoption changes who speaks for the owner, not what it holds; a tombstone remembers the epoch too."""
    held = ask(table, "a", {"vm1": X}, epoch=1)
    adopted = ask(table, "a", {"vm1": X}, epoch=3)
    assert (adopted.epoch, tokens(adopted)) == (3, tokens(held))
    table.release("a", 3, NOW)
    with pytest.raises(StaleEpoch):
        table.release("a", 2, NOW)


def test_shrinking_frees_for_waiters_and_keeps_tokens(table: LockTable) -> None:
    """What no remaining job needs goes early; asking again for the first set answers with what is left."""
    held = ask(table, "a", {"vm1": X, "vm2": X, "pool": IX})
    ask(table, "b", {"vm2": X})
    ask(table, "c", {"pool": S})
    left = table.shrink("a", 1, {"vm1": S, "pool": IX}, NOW)
    assert not waits(table, "b")
    assert waits(table, "c")
    assert tokens(left) == {name: token for name, token in tokens(held).items() if name != "vm2"}
    assert ask(table, "a", {"vm1": X, "vm2": X, "pool": IX}) == left
    table.shrink("a", 1, {"vm1": S}, NOW)
    assert not waits(table, "c")


@pytest.mark.parametrize("keep", [{"vm2": X}, {"vm1": X}, {"vm1": LockMode.UNSPECIFIED}])
def test_shrinking_never_adds(table: LockTable, keep: dict[str, LockMode]) -> None:
    """Neither another object nor a stronger mode."""
    ask(table, "a", {"vm1": S})
    with pytest.raises(InvalidRequest):
        table.shrink("a", 1, keep, NOW)


def test_only_a_holder_can_shrink(table: LockTable) -> None:
    """A waiter or a stranger has nothing to give back."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X})
    for owner in ("b", "c"):
        with pytest.raises(NotFound):
            table.shrink(owner, 1, {}, NOW)


@pytest.mark.parametrize("locks", [{}, {"vm1": LockMode.UNSPECIFIED}])
def test_a_set_needs_objects_with_modes(table: LockTable, locks: dict[str, LockMode]) -> None:
    """Neither an empty set nor a mode that is not set is taken."""
    with pytest.raises(InvalidRequest):
        ask(table, "a", locks)
    assert not list(table.claims())


def test_a_refusal_changes_nothing(table: LockTable) -> None:
    """The table tells its keeper of no change after a refusal."""
    ask(table, "a", {"vm1": X}, epoch=2)
    table.take_changes()
    for locks in ({}, {"vm2": X}):
        with pytest.raises(VirtyardError):
            ask(table, "a", locks, epoch=3)
    assert not table.take_changes()


def test_an_owner_that_came_and_went_between_two_commits_leaves_no_change(table: LockTable) -> None:
    """Only its tombstone and the counters need to be kept."""
    ask(table, "a", {"vm1": X})
    table.release("a", 1, NOW)
    assert not table.take_changes()
    assert (table.arrivals, table.tokens, table.closed.epoch_of("a")) == (1, 1, 1)


def test_the_place_names_holders_first_then_those_ahead(table: LockTable) -> None:
    """Who, over which object, in which mode and doing what."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": S, "vm2": X})
    ask(table, "c", {"vm1": X, "vm3": X})
    ask(table, "d", {"vm3": X})
    place = table.place("c")
    assert place.position == 2
    assert [(each.owner, each.object, each.mode, each.waiting, each.purpose) for each in place.blockers] == [
        ("a", "vm1", X, False, "work of a"),
        ("b", "vm1", S, True, "work of b"),
    ]
    assert table.place("d").position == 2
    assert table.waiting_on(["vm1", "vm2", "nothing"]) == {"b", "c"}


def test_intentions_of_many_do_not_slow_a_release_down(table: LockTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release looks only at waiters that it was in the way of, not at all who wait near it."""
    ask(table, "disk", {"vm0": X})
    for number in range(200):
        ask(table, f"waiter{number}", {"pool": IX, "vm0": X})
    ask(table, "other", {"pool": IX, "vm1": X})
    looked_at: list[int] = []
    excluded = LockTable._excluded

    def counted(table: LockTable, claim: Claim) -> bool:
        looked_at.append(claim.rank.arrival)
        return excluded(table, claim)

    monkeypatch.setattr(LockTable, "_excluded", counted)
    table.release("other", 1, NOW)
    assert not looked_at
    table.release("disk", 1, NOW)
    assert looked_at == [2]


def test_a_higher_priority_passes_waiters_and_is_granted_at_once(table: LockTable) -> None:
    """Whoever only stood behind others, and behind no holder, has its set in the same change."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X, "vm2": X})
    ask(table, "c", {"vm2": X})
    assert waits(table, "c")
    moved = table.set_priority("c", 1, 1, NOW)
    assert not moved.waiting
    assert moved.rank == Rank.of(3, 1)
    assert waits(table, "b")


def test_a_lower_priority_lets_those_behind_pass(table: LockTable) -> None:
    """Who stood behind the one that moved back is granted if nothing else stops it."""
    ask(table, "a", {"vm1": X})
    ask(table, "b", {"vm1": X, "vm2": X})
    ask(table, "c", {"vm2": X})
    table.set_priority("b", 1, -1, NOW)
    assert waits(table, "b")
    assert not waits(table, "c")


def test_a_priority_moves_no_holder_and_speaks_for_the_present_epoch_only(table: LockTable) -> None:
    """A holder keeps its tokens; an overtaken scheduler, a closed owner and a stranger are refused."""
    held = ask(table, "a", {"vm1": X}, epoch=2)
    assert table.set_priority("a", 2, 20, NOW) == held
    with pytest.raises(StaleEpoch):
        table.set_priority("a", 1, 20, NOW)
    with pytest.raises(NotFound):
        table.set_priority("b", 1, 20, NOW)
    table.release("a", 2, NOW)
    with pytest.raises(OwnerClosed):
        table.set_priority("a", 2, 20, NOW)


def queue_for_vm(table: LockTable, *, above: bool = True) -> None:
    """Have `stop` hold the machine, and a rename of high priority and a kill wait for it."""
    ask(table, "stop", {"pool": IX, "vm": X})
    ask(table, "rename", {"vm": X}, priority=5)
    ask(table, "kill", {"pool": IX, "vm": X} if above else {"host": IX, "vm": X})


def test_an_heir_has_the_locks_before_everybody_who_waits(table: LockTable) -> None:
    """What a holder gives back for another one is that one's at once, under new tokens; later ones wait on (P12)."""
    queue_for_vm(table)
    before = tokens(table.claim("stop"))
    table.release("stop", 1, NOW, "kill")
    assert (waits(table, "kill"), waits(table, "rename")) == (False, True)
    assert all(number > max(before.values()) for number in tokens(table.claim("kill")).values())
    table.release("stop", 1, NOW, "rename")
    assert waits(table, "rename"), "a holder that is closed leaves nothing"
    table.release("kill", 1, NOW)
    assert not waits(table, "rename")


def test_nobody_inherits_more_than_was_held(table: LockTable) -> None:
    """Who waits for more than what is given back keeps its place, so that no others are passed by it."""
    queue_for_vm(table, above=False)
    table.release("stop", 1, NOW, "kill")
    assert (waits(table, "kill"), waits(table, "rename")) == (True, False)


def test_an_heir_waits_for_those_who_share_what_is_given_back(table: LockTable) -> None:
    """Inheriting passes those who wait, and never those who hold."""
    ask(table, "one", {"vm": S})
    ask(table, "other", {"vm": S})
    ask(table, "wish", {"vm": X})
    table.release("one", 1, NOW, "wish")
    assert waits(table, "wish")


@pytest.mark.parametrize("heir", ["", "nobody", "stop", "idle"])
def test_without_an_heir_that_waits_the_rank_decides(table: LockTable, heir: str) -> None:
    """Who does not wait inherits nothing."""
    queue_for_vm(table)
    ask(table, "idle", {"other": X})
    table.release("stop", 1, NOW, heir)
    assert (waits(table, "kill"), waits(table, "rename")) == (True, False)
