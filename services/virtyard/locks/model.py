"""The values of the lock service: what is asked for, held, waited for and shown. All are frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from virtyard.kernel.lock_modes import LockMode, covers

__all__ = [
    "NO_TOKEN",
    "PRIORITY_WEIGHT",
    "Blocker",
    "Change",
    "Claim",
    "ClaimedLock",
    "Grant",
    "LockSet",
    "LockView",
    "LockWish",
    "QueuePlace",
    "Rank",
    "Refusal",
    "Release",
    "Report",
    "Rerank",
    "is_person",
    "views",
]

NO_TOKEN = 0
"""The fencing token of a lock that is still waited for; grants are numbered from 1."""

PRIORITY_WEIGHT = 64
"""How many later arrivals one step of priority may overtake: the K of P15."""


class Rank(NamedTuple):
    """A fixed place in the total order of waiters; lower goes first."""

    value: int
    """Arrival less priority times `PRIORITY_WEIGHT`."""
    arrival: int
    """The number under which the owner came first; decides between equal values."""

    @classmethod
    def of(cls, arrival: int, priority: int) -> Rank:
        """Return the rank of an owner that came as number `arrival`."""
        return cls(arrival - priority * PRIORITY_WEIGHT, arrival)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWish:
    """One object of a set that is asked for."""

    object: str
    """Resource name to lock; the object need not exist yet."""
    mode: LockMode
    """The mode that is wanted on it."""
    job: str = ""
    """The job that uses the lock first; for people only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSet:
    """A whole set as one owner asks for it."""

    owner: str
    """The operation or person."""
    epoch: int
    """The epoch of who speaks for the owner."""
    locks: tuple[LockWish, ...]
    """The objects, intentions on ancestors included; an object that comes twice is asked for in the stronger way."""
    priority: int = 0
    """Higher goes first."""
    purpose: str = ""
    """What the locks are wanted for, as a person reads it."""
    round: int = 0
    """How often the owner has asked for another set (P4), from 0; a late message of an earlier round is refused."""
    trace_context: Mapping[str, str] = field(default_factory=dict)
    """The trace that the asking belongs to, as `telemetry.inject` gave it."""
    under: str = ""
    """The owner that this one counts as a child of, and so does not wait for; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An owner gives back all it holds, for ever; or only what it needs no longer."""

    owner: str
    """The operation or person."""
    epoch: int
    """The epoch of who speaks for the owner."""
    keep: Mapping[str, LockMode] | None = None
    """What stays held, in an equal or weaker mode; None closes the owner for ever."""
    heir: str = ""
    """The waiting owner to which the locks pass at once where its whole set is within them; empty for none (P12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """An owner is to wait with another priority."""

    owner: str
    """The operation or person."""
    epoch: int
    """The epoch of who speaks for the owner."""
    priority: int
    """The new priority; higher goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedLock:
    """One lock that an owner holds or waits for."""

    object: str
    """Resource name of the object."""
    mode: LockMode
    """The mode held or asked for."""
    token: int = NO_TOKEN
    """The fencing token: the number of the grant, rising over all objects, never used twice."""
    job: str = ""
    """The job that uses it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an owner holds."""

    owner: str
    """Who holds it."""
    locks: tuple[ClaimedLock, ...]
    """Every lock of the owner, by the name of its object."""
    round: int = 0
    """The round of asking that this answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """One reason why a set is not granted yet."""

    object: str
    """The object over which the two meet."""
    owner: str
    """Who is in the way."""
    mode: LockMode
    """The mode in which the other holds it, or asks for it."""
    waiting: bool
    """True for a waiter that goes first, False for a holder."""
    purpose: str
    """What the other does, as a person reads it."""
    since: datetime
    """Since when the other holds it, or waits."""
    job: str = ""
    """The job of the other that uses the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """Where a waiting set stands."""

    owner: str
    """Who waits."""
    position: int
    """How many waiters that exclude it go first in the longest of its queues, and itself; 1 is next."""
    blockers: tuple[Blocker, ...]
    """Who is in the way: holders first, then the waiters that go first."""
    round: int = 0
    """The round of asking that this answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a set will not be granted."""

    owner: str
    """Who asked."""
    reason: str
    """The reason of the error, as OWNER_CLOSED."""
    message: str
    """The reason in words."""
    round: int = 0
    """The round of asking that this answers."""


Report = Grant | QueuePlace | Refusal
"""What somebody who asked is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """All that is known of one open owner: the row of the store and the entry of the table."""

    owner: str
    """The name of the operation or person."""
    epoch: int
    """The highest epoch of the owner that was seen."""
    rank: Rank
    """Its place in the order of waiters; kept when it asks for another set."""
    priority: int
    """The priority it asked with."""
    purpose: str
    """What it does, as a person reads it."""
    round: int
    """How often it has asked for another set."""
    requested: datetime
    """When it asked in this round; for people only, no rule uses it."""
    granted: datetime | None
    """When the set was granted; None while it waits."""
    asked: Mapping[str, LockMode]
    """The set as it was asked for in this round."""
    locks: tuple[ClaimedLock, ...]
    """What it holds, or waits for with `NO_TOKEN`; by the name of its object."""
    under: str = ""
    """The owner that it counts as a child of; empty for none."""

    @property
    def waiting(self) -> bool:
        """Whether the set is still queued."""
        return self.granted is None

    def holds(self, asked: Mapping[str, LockMode]) -> bool:
        """Tell whether it holds all of these objects, in these modes or stronger ones; a waiter holds nothing.

        A plan that is made again under its locks may need fewer (P4). Whoever made it may have died right after, and
        the next one asks for those: in the same round, as nothing was given back.
        """
        held = {} if self.waiting else {lock.object: lock.mode for lock in self.locks}
        return all(name in held and covers(held[name], mode) for name, mode in asked.items())

    def grant(self) -> Grant:
        """Return what this owner holds; only for one that does not wait."""
        return Grant(owner=self.owner, locks=self.locks, round=self.round)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a batch of requests did to one owner."""

    owner: str
    """The owner."""
    before: Claim | None
    """What was known before the batch; None for an owner that came with it."""
    after: Claim | None
    """What is known after it; None for one that was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockView:
    """A lock as people and the feed see it."""

    object: str
    """Resource name of the object."""
    mode: LockMode
    """The mode held or asked for."""
    owner: str
    """Who holds it or waits for it."""
    token: int
    """The fencing token; `NO_TOKEN` while it waits."""
    purpose: str
    """What the owner does."""
    job: str
    """The job of the owner that uses it first."""
    requested: datetime
    """When it was asked for."""
    granted: datetime | None
    """When it was granted; None while it waits."""
    position: int = 0
    """The place in the queue, counted from 1; 0 once it is held."""
    blockers: tuple[Blocker, ...] = ()
    """Who is before a waiting owner."""


def is_person(owner: str) -> bool:
    """Tell whether the owner is a person's lock, which carries out nothing and so has no fencing token (P23)."""
    return owner.startswith("locks/")


def views(claim: Claim, place: QueuePlace | None) -> Iterator[LockView]:
    """Yield each lock of a claim as people see it."""
    for lock in claim.locks:
        yield LockView(
            object=lock.object,
            mode=lock.mode,
            owner=claim.owner,
            token=lock.token,
            purpose=claim.purpose,
            job=lock.job,
            requested=claim.requested,
            granted=claim.granted,
            position=place.position if place else 0,
            blockers=place.blockers if place else (),
        )
