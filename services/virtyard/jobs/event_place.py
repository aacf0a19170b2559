"""The place in the inventory's events: which of them were dealt with, whatever history the feed has forgotten.

Without a gap that is everything up to the resume token. Behind one a snapshot tells events by the places at which they
were told last, those from before the gap among them: which these are is known by their numbers, since events are
numbered by the sequence at which they are recorded, also across a restore.
"""

from __future__ import annotations

from virtyard.runtime.resume_point import ResumePoint

__all__ = ["EventPlace"]


class EventPlace:
    """Tells what was dealt with from what was not."""

    def __init__(self, kept: str = "") -> None:
        """Stand where `kept` says, as an earlier place was kept; empty before the first event."""
        self.token, _, before = kept.partition(" ")
        self._before_gap = int(before or 0)
        self._gap = ResumePoint.parse(self.token).sequence if before else 0
        self._taken: set[int] = set()

    def kept(self, token: str) -> str:
        """Return what to keep once all is dealt with up to a token: that, and inside a snapshot where the gap began."""
        return f"{token} {self._before_gap}" if token and self._gap and ResumePoint.parse(token).snapshot else token

    def note_gap(self, token: str) -> None:
        """Expect a snapshot, which the frame with this token begins."""
        stood, now = ResumePoint.parse(self.token), ResumePoint.parse(token)
        if _identity(stood) != _identity(now):
            # Another database, whose numbers say nothing about what was dealt with.
            self._before_gap, self._taken = 0, set()
        elif stood.snapshot is None:
            # Where the feed was put back by hand, later numbers than its own are given again.
            self._before_gap, self._taken = min(stood.sequence, now.sequence), set()
        self._gap = now.sequence

    def is_known(self, number: int, *, revised: bool) -> bool:
        """Return whether an event was dealt with before.

        Args:
            number: its number.
            revised: whether it is told for what has become of it: without a gap, it was told before then.
        """
        return number <= self._before_gap or number in self._taken or (revised and number > self._gap)

    def take(self, number: int) -> None:
        """Note that an event was dealt with; one from before the end of a gap may be told again."""
        if number <= self._gap:
            self._taken.add(number)


def _identity(point: ResumePoint) -> str:
    """Return the identity of the database, which a restore leaves as it is."""
    return point.incarnation.partition(".")[2]
