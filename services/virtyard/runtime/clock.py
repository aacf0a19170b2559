"""The system's clock: wall time once at the start, then monotonic, so that a jump of the wall clock moves nothing.

A small difference to the wall clock is slewed away; one above a minute is not followed but reported, until somebody
confirms it with `follow` (P33).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["JUMP", "SystemClock"]

JUMP = 60.0
"""Seconds of difference to the wall clock above which it is not followed."""

_SLEW = 0.005
_EVERY = 1.0


class SystemClock:
    """A wall time that never falls and never leaps, and the monotonic time."""

    def __init__(
        self,
        *,
        floor: datetime | None = None,
        wall: Callable[[], float] = time.time,
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

    @property
    def offset(self) -> float:
        """Return the seconds by which the wall clock is ahead; beyond `JUMP` a person should look at it."""
        return self._wall() - self._read()

    @property
    def jumped(self) -> bool:
        """Return whether the wall clock has left this one by more than is followed."""
        return abs(self.offset) > JUMP

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
        """Accept the wall clock as it is, as a person has confirmed; a time that was shown is still not undercut."""
        self._then = self._steady()
        self._time = max(self._wall(), self._last)

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
            limit = passed * _SLEW
            self._time += max(-limit, min(limit, difference))
