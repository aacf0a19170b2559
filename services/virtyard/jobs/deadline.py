"""The deadline of an operation: an alarm by the system's clock, which a jump of the wall clock does not move (P33)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from virtyard.api.type.v1 import submission_pb2
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InvalidRequest

__all__ = ["DEADLINE", "Alarm", "check_deadline", "deadline_of"]

DEADLINE = "deadline"
"""The cause of what is aborted by its deadline."""
_LONGEST = 30.0
"""Seconds after which the clock is read again, as it runs a little faster or slower than the event loop's."""


def deadline_of(options: submission_pb2.SubmissionOptions) -> datetime | None:
    """Return the deadline; None if there is none.

    Raises:
        InvalidRequest: it is no time.
    """
    if not options.HasField("deadline"):
        return None
    try:
        return options.deadline.ToDatetime(UTC)
    except (ValueError, OverflowError):
        text = (
            f"{options.deadline.seconds} seconds, {options.deadline.nanos} ns is no time; allowed are years 1 to 9999"
        )
        raise InvalidRequest.of("options.deadline", text) from None


def check_deadline(options: submission_pb2.SubmissionOptions, now: datetime) -> None:
    """Refuse a deadline that has passed.

    Raises:
        InvalidRequest: it has, or it is no time.
    """
    deadline = deadline_of(options)
    if deadline is not None and deadline <= now:
        text = f"{deadline:%Y-%m-%dT%H:%M:%SZ} has passed; it is {now:%Y-%m-%dT%H:%M:%SZ} here, and it must be later"
        raise InvalidRequest.of("options.deadline", text)


class Alarm:
    """Calls somebody once, when a time has come; at once if it has come already."""

    def __init__(self, clock: Clock, due: datetime, ring: Callable[[], None]) -> None:
        """Set the alarm; to be called on the event loop."""
        self._clock = clock
        self._due = due
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    def cancel(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        left = (self._due - self._clock.now()).total_seconds()
        self._timer = asyncio.get_running_loop().call_later(min(max(left, 0.0), _LONGEST), self._look)

    def _look(self) -> None:
        if self._clock.now() < self._due:
            self._set()
        else:
            self._ring()
