"""The queue at one object: its holders and its waiters by mode, each in rank order.

Every question is answered from the heads of the five lists, so that its cost does not grow with the queue.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator

from virtyard.kernel.lock_modes import MODES, LockMode, conflicting_modes
from virtyard.locks.model import Rank

__all__ = ["ObjectQueue"]

_CONFLICTING: dict[LockMode, tuple[LockMode, ...]] = {mode: tuple(sorted(conflicting_modes(mode))) for mode in MODES}


class ObjectQueue:
    """Who holds one object and who waits for it."""

    __slots__ = ("_held", "_holders", "_waiters")

    def __init__(self) -> None:
        """Start with nobody there."""
        self._holders: dict[str, LockMode] = {}
        self._held: dict[LockMode, int] = {}
        self._waiters: dict[LockMode, list[tuple[Rank, str]]] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody holds the object or waits for it."""
        return not self._holders and not self._waiters

    def hold(self, owner: str, mode: LockMode) -> None:
        """Add a holder."""
        self._holders[owner] = mode
        self._held[mode] = self._held.get(mode, 0) + 1

    def free(self, owner: str) -> None:
        """Remove a holder."""
        mode = self._holders.pop(owner)
        left = self._held[mode] - 1
        if left:
            self._held[mode] = left
        else:
            del self._held[mode]

    def wait(self, owner: str, mode: LockMode, rank: Rank) -> None:
        """Add a waiter."""
        insort(self._waiters.setdefault(mode, []), (rank, owner))

    def leave(self, owner: str, mode: LockMode, rank: Rank) -> None:
        """Remove a waiter."""
        line = self._waiters[mode]
        del line[bisect_left(line, (rank, owner))]
        if not line:
            del self._waiters[mode]

    def excludes(self, mode: LockMode, rank: Rank) -> bool:
        """Return whether a holder, or a waiter of lower rank, excludes somebody who asks for `mode` at `rank`."""
        held, waiters = self._held, self._waiters
        for other in _CONFLICTING[mode]:
            if other in held:
                return True
            line = waiters.get(other)
            if line is not None and line[0][0] < rank:
                return True
        return False

    def freed_by(self, gone: LockMode) -> Iterator[tuple[str, Rank]]:
        """Yield (owner, rank) of the waiters whom nothing at this object stops any more, now that `gone` has gone."""
        for mode in _CONFLICTING[gone]:
            line = self._waiters.get(mode)
            if line is None or any(other in self._held for other in _CONFLICTING[mode]):
                continue
            others = [self._waiters[other][0] for other in _CONFLICTING[mode] if other in self._waiters]
            end = bisect_left(line, min(others)) if others else len(line)
            if mode in _CONFLICTING[mode]:
                end = 1 if line[0] == min(others) else 0
            for rank, owner in line[:end]:
                yield owner, rank

    def ahead(self, mode: LockMode, rank: Rank) -> int:
        """Return how many waiters that exclude `mode` go before `rank`."""
        return sum(bisect_left(self._waiters.get(other, ()), (rank, "")) for other in _CONFLICTING[mode])

    def passed(self, mode: LockMode, rank: Rank, owners: Collection[str]) -> int:
        """Return how many of these owners are among the waiters that exclude `mode` and go before `rank`."""
        return sum(owner in owners for owner, _ in self.blocking_waiters(mode, rank, None)) if owners else 0

    def blocking_holders(self, mode: LockMode) -> Iterator[tuple[str, LockMode]]:
        """Yield (owner, mode) of the holders that exclude `mode`."""
        if any(other in self._held for other in _CONFLICTING[mode]):
            for owner, held in self._holders.items():
                if held in _CONFLICTING[mode]:
                    yield owner, held

    def blocking_waiters(self, mode: LockMode, rank: Rank, limit: int | None) -> list[tuple[str, LockMode]]:
        """Return (owner, mode) of the waiters that exclude `mode` and go before `rank`, first ones first."""
        ahead: list[tuple[Rank, str, LockMode]] = []
        for other in _CONFLICTING[mode]:
            line = self._waiters.get(other, [])
            end = bisect_left(line, (rank, ""))
            ahead += [(place, owner, other) for place, owner in line[: end if limit is None else min(end, limit)]]
        return [(owner, other) for _, owner, other in sorted(ahead)[:limit]]

    def waiting_owners(self) -> Iterator[str]:
        """Yield everybody who waits here."""
        for line in self._waiters.values():
            for _, owner in line:
                yield owner
