"""The clock as the rules see it: a wall time for people and a monotonic time for durations.

No rule reads a system clock; each is handed one of these (P33).
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; `runtime.clock` has the real one, the tests a fake one."""

    def now(self) -> datetime:
        """Return the wall time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never falls."""
        ...

    def not_before(self, floor: datetime | None) -> None:
        """Go on from `floor` if that is later: the last time that a database had persisted, in an earlier life."""
        ...
