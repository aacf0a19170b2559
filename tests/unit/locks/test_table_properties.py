"""The lock table against the rules by the letter, over random histories; the properties are Ganeti's and ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.locks.naive import NaiveTable
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.lock_modes import MODES, LockMode, conflicts, covers
from virtyard.locks.model import Claim, LockSet, LockWish
from virtyard.locks.table import ClosedOwnersInMemory, LockTable

NOW = datetime(2030, 1, 1, tzinfo=UTC)
owners = st.sampled_from([f"operations/{number}" for number in range(9)])
objects = st.sampled_from(["pool", "vm1", "vm2", "disk", "names/a"])
sets = st.dictionaries(objects, st.sampled_from(MODES), min_size=1, max_size=4)
epochs = st.integers(1, 3)
rounds = st.sampled_from([0, 0, 0, 1, 2])
priorities = st.sampled_from([0, 0, 0, 1, -1, 5])


def copy_of(table: LockTable) -> LockTable:
    """Return a table made from what the store would have kept of this one."""
    assert isinstance(table.closed, ClosedOwnersInMemory)
    closed = ClosedOwnersInMemory(table.closed.epochs)
    return LockTable(closed, list(table.claims()), arrivals=table.arrivals, tokens=table.tokens)


class LockHistories(RuleBasedStateMachine):
    """Random requests of nine owners for five objects, with restarts in between."""

    def __init__(self) -> None:
        """Start both tables empty."""
        super().__init__()
        self.table = LockTable(ClosedOwnersInMemory())
        self.naive = NaiveTable()
        self.highest = 0
        self.known: dict[str, Claim] = {}

    @initialize()
    def begin(self) -> None:
        """Nothing is held at first."""
        assert not list(self.table.claims())

    @rule(owner=owners, locks=sets, epoch=epochs, priority=priorities, turn=rounds)
    def acquire(self, owner: str, locks: dict[str, LockMode], epoch: int, priority: int, turn: int) -> None:
        """Both grant, queue or refuse in the same way."""
        wishes = tuple(LockWish(object=name, mode=mode) for name, mode in locks.items())
        wanted = LockSet(owner=owner, epoch=epoch, locks=wishes, priority=priority, round=turn)
        refusal = self.naive.acquire(owner, epoch, locks, priority, turn)
        assert self.refusal_of(lambda: self.table.acquire(wanted, NOW)) == refusal

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """The same request again changes nothing and gets the same tokens."""
        claim = self.known[data.draw(st.sampled_from(sorted(self.known)))]
        wishes = tuple(LockWish(object=name, mode=mode) for name, mode in claim.asked.items())
        wanted = LockSet(owner=claim.owner, epoch=claim.epoch, locks=wishes, round=claim.round, priority=7)
        assert self.table.acquire(wanted, NOW) == claim
        assert not self.table.take_changes()

    @rule(owner=owners, epoch=epochs, priority=priorities)
    def set_priority(self, owner: str, epoch: int, priority: int) -> None:
        """A waiter is ranked anew from its arrival, and whoever can be granted by it is; holders stay as they are."""
        refusal = self.naive.set_priority(owner, epoch, priority)
        assert self.refusal_of(lambda: self.table.set_priority(owner, epoch, priority, NOW)) == refusal

    @rule(owner=owners, epoch=epochs, heir=owners)
    def release(self, owner: str, epoch: int, heir: str) -> None:
        """Both close the owner or refuse a stale epoch; it always succeeds for the highest epoch."""
        refusal = self.naive.release(owner, epoch, heir)
        assert self.refusal_of(lambda: self.table.release(owner, epoch, NOW, heir)) == refusal
        if not refusal:
            assert self.table.claim(owner) is None

    @precondition(lambda self: any(not claim.waiting for claim in self.known.values()))
    @rule(data=st.data())
    def shrink(self, data: st.DataObject) -> None:
        """Giving back early, or downgrading, frees exactly what it should; doing so twice does nothing more."""
        held = [claim for claim in self.known.values() if not claim.waiting]
        claim = data.draw(st.sampled_from(sorted(held, key=lambda each: each.owner)))
        keep = {
            lock.object: data.draw(st.sampled_from([mode for mode in MODES if covers(lock.mode, mode)]))
            for lock in claim.locks
            if data.draw(st.booleans())
        }
        self.table.shrink(claim.owner, claim.epoch, keep, NOW)
        self.naive.shrink(claim.owner, claim.epoch, keep)
        before = self.table.tokens
        again = self.table.shrink(claim.owner, claim.epoch, keep, NOW)
        assert {lock.object: lock.mode for lock in again.locks} == keep
        assert self.table.tokens == before

    @rule()
    def restart(self) -> None:
        """A table made from the stored claims goes on as if nothing had happened."""
        self.table = copy_of(self.table)

    @precondition(lambda self: any(claim.waiting for claim in self.known.values()))
    @rule(data=st.data())
    def release_the_blockers(self, data: st.DataObject) -> None:
        """The blockers are enough: with all of them gone the waiter holds its set; with one left it does not."""
        waiting = sorted(claim.owner for claim in self.known.values() if claim.waiting)
        owner = data.draw(st.sampled_from(waiting))
        blockers = sorted({blocker.owner for blocker in self.table.place(owner).blockers})
        for left in [None, *blockers]:
            trial = copy_of(self.table)
            for blocker in blockers:
                if blocker != left:
                    trial.release(blocker, 9, NOW)
            claim = trial.claim(owner)
            assert claim is not None
            assert claim.waiting == (left is not None)

    @invariant()
    def tables_agree(self) -> None:
        """The same owners hold and wait for the same, with the same tokens; changes tell it all."""
        for change in self.table.take_changes():
            assert change.before == self.known.get(change.owner)
            if change.after is None:
                del self.known[change.owner]
            else:
                self.known[change.owner] = change.after
        assert self.known == {claim.owner: claim for claim in self.table.claims()}
        assert set(self.known) == set(self.naive.owners)
        for name, owner in self.naive.owners.items():
            claim = self.known[name]
            assert {lock.object: lock.mode for lock in claim.locks} == owner.locks
            assert claim.rank == owner.rank
            assert claim.epoch == owner.epoch
            assert claim.waiting == (owner.tokens is None)
            if owner.tokens is not None:
                assert {lock.object: lock.token for lock in claim.locks} == owner.tokens

    @invariant()
    def nobody_shares_what_excludes(self) -> None:
        """No two holders of conflicting modes."""
        held = [claim for claim in self.table.claims() if not claim.waiting]
        for one, other in itertools.combinations(held, 2):
            modes = {lock.object: lock.mode for lock in other.locks}
            assert not any(conflicts(lock.mode, modes[lock.object]) for lock in one.locks if lock.object in modes)

    @invariant()
    def sets_are_whole(self) -> None:
        """Every lock of an owner has a token, or none has."""
        for claim in self.table.claims():
            assert {lock.token == 0 for lock in claim.locks} <= {claim.waiting}

    @invariant()
    def tokens_rise(self) -> None:
        """The counter never falls and no number is held twice."""
        assert self.table.tokens >= self.highest
        self.highest = self.table.tokens
        tokens = [lock.token for claim in self.table.claims() for lock in claim.locks if lock.token]
        assert len(tokens) == len(set(tokens))
        assert all(token <= self.highest for token in tokens)

    @invariant()
    def waiting_is_justified(self) -> None:
        """Nobody waits who could be granted, and the blockers are exactly those who are in the way."""
        for waiter, owner in self.naive.owners.items():
            if owner.tokens is not None:
                continue
            place = self.table.place(waiter)
            in_the_way = self.naive.in_the_way(owner)
            expected = {
                (name, other.name, mode, other.tokens is None)
                for other in in_the_way
                for name, mode in owner.meets(other)
            }
            assert in_the_way
            found = [(each.object, each.owner, each.mode, each.waiting) for each in place.blockers]
            assert set(found) == expected
            assert len(found) == len(expected)
            longest = max(sum(1 for each in expected if each[0] == name and each[3]) for name in owner.locks)
            assert place.position == longest + 1
            assert set(self.table.place(waiter, limit=2).blockers) <= set(place.blockers)

    def refusal_of(self, call: Callable[[], object]) -> str:
        """Return the reason of a refusal, nothing where there was none."""
        try:
            call()
        except VirtyardError as error:
            return error.reason
        return ""


LockHistories.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLockHistories = LockHistories.TestCase
