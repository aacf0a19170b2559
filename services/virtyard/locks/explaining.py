"""What the lock service knows of a wait: an owner, who is in its way, and who is in theirs; a walk over the lock table.

It is bounded, the nearest first: a queue of thousands is not told link by link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from virtyard.kernel.errors import NotFound
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import Blocker, Claim
from virtyard.locks.table import LockTable

__all__ = ["MOST_BLOCKERS", "MOST_OWNERS", "OwnerStory", "OwnerWait", "tell_owner"]

MOST_OWNERS = 64
"""At most so many owners are told of."""
MOST_BLOCKERS = 32
"""At most so many blockers of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerWait:
    """One owner with what it waits for."""

    claim: Claim
    """What it holds, or asks for."""
    position: int = 0
    """Its place in the queue, counted from 1; 0 once it holds its set."""
    blockers: tuple[Blocker, ...] = ()
    """Who is in its way, holders first; empty once it holds its set."""

    @property
    def wanted(self) -> Mapping[str, LockMode]:
        """The modes that it asks for, by object."""
        return self.claim.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerStory:
    """An owner, then its blockers, then theirs, the nearest first."""

    owners: tuple[OwnerWait, ...]
    """Each once, however many it is in the way of."""
    truncated: bool
    """Whether there are more than were told."""


def tell_owner(table: LockTable, owner: str) -> OwnerStory:
    """Walk from an owner along those who are in the way.

    Raises:
        NotFound: the owner has asked for nothing, or was closed.
    """
    if table.claim(owner) is None:
        raise NotFound(f"{owner} holds and waits for nothing", resource=owner)
    told: dict[str, OwnerWait] = {}
    queue, seen = deque([owner]), {owner}
    truncated = False
    while queue:
        if len(told) == MOST_OWNERS:
            return OwnerStory(owners=tuple(told.values()), truncated=True)
        name = queue.popleft()
        claim = table.claim(name)
        if claim is None:
            continue
        if not claim.waiting:
            told[name] = OwnerWait(claim=claim)
            continue
        place = table.place(name, limit=MOST_BLOCKERS + 1)
        truncated = truncated or len(place.blockers) > MOST_BLOCKERS
        blockers = place.blockers[:MOST_BLOCKERS]
        told[name] = OwnerWait(claim=claim, position=place.position, blockers=blockers)
        for blocker in blockers:
            if blocker.owner not in seen:
                seen.add(blocker.owner)
                queue.append(blocker.owner)
    return OwnerStory(owners=tuple(told.values()), truncated=truncated)
