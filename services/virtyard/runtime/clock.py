"""The system's clock: wall time once at the start, then monotonic, so that a jump of the wall clock moves nothing.

A small difference to the wall clock is slewed away; one above a minute is not followed but reported, until somebody
confirms it with `follow` (P33). Time that was shown is never undercut: of a wall clock that was set back and confirmed,
this one goes at half its pace until the two meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["JUMP", "SystemClock", "machine_time"]

JUMP = 60.0
"""Seconds of difference to the wall clock above which it is not followed."""

machine_time = time.time
"""Tells the machine's wall clock, in seconds since 1970; for who makes a clock, and for nobody else."""
_SLEW = 0.005
_WAIT = 0.5
"""The part of its pace that the clock gives up while a wall clock that was set back catches up with it."""
_EVERY = 1.0


class SystemClock:
    """A wall time that never falls and never leaps, and the monotonic time."""

    def __init__(
        self,
        *,
        floor: datetime | None = None,
        wall: Callable[[], float] = machine_time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at the wall clock.

        Args:
            floor: the last time that was persisted; the clock does not start before it.
            wall: seconds since 1970.
            steady: seconds since an arbitrary start.
        """
        self._wall = wall
        self._steady = steady
        self._then = steady()
        self._time = max(wall(), floor.timestamp() if floor else 0.0)
        self._checked = self._then
        self._last = self._time
        self._awaited = 0.0

    @property
    def offset(self) -> float:
        """Return the seconds by which the wall clock is ahead; beyond `JUMP` a person should look at it."""
        return self._wall() - self._read()

    @property
    def jumped(self) -> bool:
        """Return whether the wall clock has left this one by more than is followed, and nobody has confirmed that."""
        offset = self.offset
        return abs(offset) > JUMP and not self._is_awaited(offset)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never falls."""
        return self._steady()

    def now(self) -> datetime:
        """Return the wall time in UTC; never falls."""
        return datetime.fromtimestamp(self._read(), UTC)

    def not_before(self, floor: datetime | None) -> None:
        """Go on from `floor` if that is later: the last time that a database had persisted."""
        if floor is not None and floor.timestamp() > self._read():
            self._time, self._then = floor.timestamp(), self._steady()

    def follow(self) -> None:
        """Accept the wall clock as it is, as a person has confirmed: at once if it is ahead, else by going slower."""
        offset = self.offset
        self._awaited = min(offset, 0.0)
        if offset > 0:
            self._time, self._then = self._wall(), self._steady()

    def _read(self) -> float:
        steady = self._steady()
        if steady - self._checked >= _EVERY:
            self._slew(steady)
        self._last = max(self._last, self._time + (steady - self._then))
        return self._last

    def _slew(self, steady: float) -> None:
        """Move towards the wall clock by at most 0.5 % of what has passed."""
        passed = steady - self._checked
        reached = self._time + (steady - self._then)
        difference = self._wall() - reached
        self._checked = self._then = steady
        self._time = reached
        if abs(difference) <= JUMP:
            self._awaited = 0.0
            limit = passed * _SLEW
            self._time += max(-limit, min(limit, difference))
        elif self._is_awaited(difference):
            self._awaited = difference
            self._time += max(-passed * _WAIT, difference)

    def _is_awaited(self, offset: float) -> bool:
        """Return whether the wall clock is behind by no more than was confirmed: it has not been set again since."""
        return self._awaited - JUMP <= offset < 0 and self._awaited < 0
