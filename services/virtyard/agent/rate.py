"""The rate of an effect: how many units it does in a second, over a window that slides along with it."""

from __future__ import annotations

from collections import deque

WINDOW = 10.0
"""Seconds over which a rate is taken: long enough to be steady, short enough to be of now."""
LEAST = 1.0
"""Seconds below which nothing is told, as the first buffers fill in no time."""


class Rate:
    """Takes in how much is done, and tells how fast that grows."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def note(self, done: int, total: int, now: float) -> float:
        """Take in how many units are done, and return how many are done in a second; 0 while that cannot be told.

        Args:
            done: how many units are done; fewer than before begin anew.
            total: how many there are in all; another number than before begins anew.
            now: seconds of a steady clock.
        """
        if self._seen and (total != self._total or done < self._seen[-1][1]):
            self._seen.clear()
        self._total = total
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        return (done - before) / (now - since) if now - since >= LEAST else 0.0
