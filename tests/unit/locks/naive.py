"""The lock rules written down as simply as can be: a list of owners, searched from the start every time."""

from __future__ import annotations

from dataclasses import dataclass, field

from virtyard.kernel.lock_modes import LockMode, conflicts, covers
from virtyard.locks.model import PRIORITY_WEIGHT

ModesByObject = dict[str, LockMode]


@dataclass
class Owner:
    """One owner, in full."""

    name: str
    epoch: int
    arrival: int
    rank: tuple[int, int]
    locks: ModesByObject
    round: int = 0
    asked: ModesByObject = field(default_factory=dict)
    tokens: dict[str, int] | None = None
    under: str = ""

    def meets(self, other: Owner) -> set[tuple[str, LockMode]]:
        """Return (object, the other's mode) wherever the two exclude each other."""
        return {
            (name, other.locks[name])
            for name, mode in self.locks.items()
            if name in other.locks and conflicts(mode, other.locks[name])
        }


class NaiveTable:
    """P2, P3, P5, P12, P15 and P23 by the letter."""

    def __init__(self) -> None:
        """Start empty."""
        self.owners: dict[str, Owner] = {}
        self.closed: dict[str, int] = {}
        self.arrivals = 0
        self.tokens = 0
        self.heirs: set[str] = set()
        """Who was granted its set as an heir, past whoever waited."""

    def in_the_way(self, owner: Owner) -> list[Owner]:
        """Return the holders, and the waiters of lower rank, that the owner conflicts with and does not pass."""
        passes = {owner.under, *self.behind(owner.under)} if owner.under else set()
        return [other for other in self.ahead(owner) if other.name not in passes]

    def ahead(self, owner: Owner) -> list[Owner]:
        """Return the same as if the owner were under nobody."""
        return [
            other
            for other in self.owners.values()
            if other is not owner and owner.meets(other) and (other.tokens is not None or other.rank < owner.rank)
        ]

    def behind(self, holder: str) -> set[str]:
        """Return who waits for a holder, or for one that does, and is not under it."""
        found: set[str] = set()
        while True:
            more = {
                owner.name
                for owner in self.owners.values()
                if owner.tokens is None
                and owner.under != holder
                and any(other.name == holder or other.name in found for other in self.ahead(owner))
            }
            if more == found:
                return found
            found = more

    def children(self, name: str) -> list[str]:
        """Return who is under an owner, waiting or not."""
        return [owner.name for owner in self.owners.values() if owner.under == name]

    def settle(self) -> None:
        """Grant in rank order until nobody can be granted."""
        for owner in sorted(self.owners.values(), key=lambda each: each.rank):
            if owner.tokens is None and not self.in_the_way(owner):
                self.grant(owner)
                self.settle()
                return

    def grant(self, owner: Owner) -> None:
        """Give the owner its set, with the tokens that come next."""
        if owner.name.startswith("locks/"):
            owner.tokens = dict.fromkeys(owner.locks, 0)  # a person carries out nothing
            return
        owner.tokens = {}
        for name in sorted(owner.locks):
            self.tokens += 1
            owner.tokens[name] = self.tokens

    def inherit(self, heir: Owner, left: Owner) -> None:
        """Grant a waiter past all others that waits for no more than what was just given back, and for no holder."""
        within = left.tokens is not None and all(
            name in left.locks and covers(left.locks[name], mode) for name, mode in heir.asked.items()
        )
        if heir.tokens is None and within and all(other.tokens is None for other in self.in_the_way(heir)):
            self.grant(heir)
            self.heirs.add(heir.name)

    def acquire(self, name: str, epoch: int, locks: ModesByObject, priority: int, turn: int, under: str = "") -> str:
        """Grant or queue; return the name of the refusal, or nothing."""
        if name in self.closed:
            return "STALE_EPOCH" if epoch < self.closed[name] else "OWNER_CLOSED"
        owner = self.owners.get(name)
        if owner is None:
            if under and (under not in self.owners or self.owners[under].tokens is None):
                return "WRONG_STATE"
            self.arrivals += 1
            arrival = self.arrivals
        else:
            if epoch < owner.epoch:
                return "STALE_EPOCH"
            if turn < owner.round:
                return "SUPERSEDED"
            if turn == owner.round:
                held = {} if owner.tokens is None else owner.locks
                within = all(name in held and covers(held[name], mode) for name, mode in locks.items())
                if locks != owner.asked and not within:
                    return "PAYLOAD_MISMATCH"
                owner.epoch = max(epoch, owner.epoch)
                return ""
            arrival, under = owner.arrival, owner.under
            epoch = max(epoch, owner.epoch)
        rank = (arrival - priority * PRIORITY_WEIGHT, arrival)
        self.owners[name] = Owner(name, epoch, arrival, rank, dict(locks), turn, dict(locks), under=under)
        self.settle()
        return ""

    def set_priority(self, name: str, epoch: int, priority: int) -> str:
        """Rank a waiter anew; return the name of the refusal, or nothing."""
        if name in self.closed:
            return "STALE_EPOCH" if epoch < self.closed[name] else "OWNER_CLOSED"
        owner = self.owners.get(name)
        if owner is None:
            return "NOT_FOUND"
        if epoch < owner.epoch:
            return "STALE_EPOCH"
        owner.epoch = epoch
        if owner.tokens is None:
            owner.rank = (owner.arrival - priority * PRIORITY_WEIGHT, owner.arrival)
            self.settle()
        return ""

    def release(self, name: str, epoch: int, heir: str = "") -> str:
        """Close for ever; return the name of the refusal, or nothing."""
        seen = self.closed.get(name, self.owners[name].epoch if name in self.owners else epoch)
        if epoch < seen:
            return "STALE_EPOCH"
        if name in self.owners and self.children(name):
            return "WRONG_STATE"
        if name not in self.closed:
            self.closed[name] = epoch
            left = self.owners.pop(name, None)
            if left is not None and heir in self.owners:
                self.inherit(self.owners[heir], left)
            self.settle()
        return ""

    def shrink(self, name: str, epoch: int, keep: ModesByObject) -> None:
        """Keep only these; the caller asks for no more than is held."""
        owner = self.owners[name]
        assert owner.tokens is not None
        owner.epoch = max(epoch, owner.epoch)
        owner.locks = dict(keep)
        owner.tokens = {each: owner.tokens[each] for each in keep}
        self.settle()
