"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """A `kernel.clock.Clock` under the test's control; wall and monotonic time move together unless told otherwise."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        """Start at a wall time in UTC; the monotonic time starts at 1,000 s."""
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """Return the wall time."""
        return self._now

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return self._monotonic

    def not_before(self, floor: datetime | None) -> None:
        """Go on from a time that was persisted."""
        self._now = max(self._now, floor or self._now)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock without any time passing, as a person or a bad time server does."""
        self._now += timedelta(seconds=seconds)
