"""Recurrence: when a schedule is due, in UTC, by cron in its time zone or by an interval from its creation on.

Cron follows Debian's where clocks are changed: what is due at a fixed hour that is left out in spring is due right
after the change, and at an hour that comes twice in autumn it is due once; what is due every few minutes follows
elapsed time. Each due time has a delay of its own below the jitter, which is the same whenever it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from virtyard.api.inventory.v1 import schedule_pb2

__all__ = ["SHORTEST_INTERVAL", "Recurrence", "cron_problem", "zone_problem"]

SHORTEST_INTERVAL = 10
"""Seconds between two due times, at least."""
_FIRST_SPAN = timedelta(hours=1)
_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_ALLOWED = "five fields of cron, as 30 2 * * 1-5: minute, hour, day of month, month, day of week"


def cron_problem(text: str) -> str:
    """Return what is wrong with a cron expression; empty if it is one that is due some day."""
    try:
        found = next(CronSim(text, _ANY_DAY), None) if len(text.split()) == 5 else None
    except CronSimError:
        found = None
    return "" if found is not None else f"{text!r} is not allowed; it must be {_ALLOWED}"


def zone_problem(name: str) -> str:
    """Return what is wrong with the name of a time zone; empty if there is one of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"{name!r} is no time zone; allowed are names as UTC and Europe/Vienna"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """The due times of one schedule."""

    uid: str
    """The schedule's unique id, which the delays depend on."""
    cron: str
    """The cron expression; empty for an interval."""
    interval: timedelta
    """The time between two due times, where there is no cron."""
    begin: datetime
    """When the intervals begin."""
    zone: str
    """The time zone in which cron is read."""
    jitter: float
    """The longest delay, in seconds."""

    @classmethod
    def of(cls, schedule: schedule_pb2.Schedule) -> Recurrence:
        """Return the recurrence of a schedule that the inventory has."""
        return cls(
            uid=schedule.uid,
            cron=schedule.cron,
            interval=timedelta(seconds=schedule.interval_seconds or SHORTEST_INTERVAL),
            begin=schedule.create_time.ToDatetime(UTC),
            zone=schedule.time_zone or "UTC",
            jitter=float(schedule.jitter_seconds),
        )

    @property
    def key(self) -> str:
        """Return what tells one recurrence from another of the same schedule."""
        return f"{self.cron} {self.interval.total_seconds():g} {self.zone}"

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the due times after a moment, in UTC, without end unless cron has one."""
        if self.cron:
            for due in CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone))):
                yield due.astimezone(UTC)
            return
        due = self.begin + self.interval * (max((moment - self.begin) // self.interval, 0) + 1)
        while True:
            yield due
            due += self.interval

    def latest(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Return the latest due times after a moment whose delayed time has come, the oldest first, `most` of them.

        However long ago the moment is, this looks at little more than it returns.
        """
        span = _FIRST_SPAN
        while True:
            begin = max(after, until - span)
            found = list(takewhile(lambda due: self.delayed(due) <= until, self._until(begin, until)))
            if len(found) >= most or begin == after:
                return found[-most:]
            span *= 8

    def _until(self, after: datetime, until: datetime) -> Iterator[datetime]:
        for due in self.after(after):
            if due > until:
                return
            yield due

    def delayed(self, due: datetime) -> datetime:
        """Return when the run of a due time is to be submitted."""
        digest = hashlib.sha256(f"{self.uid} {due.isoformat()}".encode()).digest()
        return due + timedelta(seconds=self.jitter * int.from_bytes(digest[:4], "big") / (1 << 32))

    def next_runs(self, decided: datetime, count: int) -> list[datetime]:
        """Return when the next runs after the last decided due time are submitted."""
        return [self.delayed(due) for due in islice(self.after(decided), count)]
