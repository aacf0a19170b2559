"""Recurrence: due times in their zone over both changes of the clock, intervals, and delays that stay the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from virtyard.api.inventory.v1 import schedule_pb2
from virtyard.kernel.recurrence import Recurrence, cron_problem, zone_problem

BEGIN = datetime(2026, 1, 1, 12, 0, 3, tzinfo=UTC)


def recurrence(**fields: object) -> Recurrence:
    """Return the recurrence of a schedule that was made at the beginning."""
    schedule = schedule_pb2.Schedule(uid="u1", **fields)  # type: ignore[arg-type]  # any fields
    schedule.create_time.FromDatetime(BEGIN)
    return Recurrence.of(schedule)


def due(after: str, count: int, **fields: object) -> list[str]:
    """Return the next due times after a time in UTC, as `03-29 01:00`."""
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [f"{each:%m-%d %H:%M}" for each in islice(recurrence(**fields).after(moment), count)]


@pytest.mark.parametrize(
    ("after", "cron", "expected"),
    [
        # In Vienna 02:00 became 03:00 on 29 March 2026, so half past two is made up for right after.
        ("2026-03-28T00:00", "30 2 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("2026-03-29T00:20", "*/30 * * * *", ["03-29 00:30", "03-29 01:00", "03-29 01:30"]),
        # On 25 October 2026 03:00 became 02:00, and half past two came twice.
        ("2026-10-24T00:00", "30 2 * * *", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("2026-10-25T00:10", "*/30 * * * *", ["10-25 00:30", "10-25 01:00", "10-25 01:30"]),
        ("2026-07-31T23:00", "0 9 1 * *", ["08-01 07:00", "09-01 07:00", "10-01 07:00"]),
    ],
)
def test_cron_is_due_by_the_clock_on_the_wall(after: str, cron: str, expected: list[str]) -> None:
    """Nothing is due twice and nothing is lost where clocks are put forward and back."""
    assert due(after, 3, cron=cron, time_zone="Europe/Vienna") == expected


def test_interval_is_due_from_the_creation_on_whatever_the_clock_on_the_wall_says() -> None:
    """The first time comes one interval after the creation, and none is nearer to the next."""
    assert due("2026-01-01T00:00", 2, interval_seconds=3600) == ["01-01 13:00", "01-01 14:00"]
    assert due("2026-03-29T00:30", 2, interval_seconds=3600) == ["03-29 01:00", "03-29 02:00"]
    assert next(recurrence(interval_seconds=10).after(BEGIN)) == BEGIN + timedelta(seconds=10)
    assert next(recurrence(interval_seconds=10).after(BEGIN + timedelta(seconds=10))) == BEGIN + timedelta(seconds=20)


def test_each_due_time_has_a_delay_of_its_own_that_never_changes() -> None:
    """Below the jitter, spread over it, and the same after a restart."""
    jittery = recurrence(interval_seconds=600, jitter_seconds=300)
    times = list(islice(jittery.after(BEGIN), 50))
    delays = [(jittery.delayed(each) - each).total_seconds() for each in times]
    assert delays == [
        (recurrence(interval_seconds=600, jitter_seconds=300).delayed(each) - each).total_seconds() for each in times
    ]
    assert all(0 <= delay < 300 for delay in delays)
    assert min(delays) < 60
    assert max(delays) > 240
    assert jittery.next_runs(BEGIN, 2) == [jittery.delayed(each) for each in times[:2]]


def test_latest_due_times_are_those_whose_delayed_time_has_come() -> None:
    """The latest of a year are found as fast as those of an hour; one that is delayed keeps later ones back."""
    often = recurrence(interval_seconds=10)
    year = BEGIN + timedelta(days=365)
    assert often.latest(BEGIN, year, 3) == [year - timedelta(seconds=20), year - timedelta(seconds=10), year]
    assert often.latest(year - timedelta(seconds=10), year, 3) == [year]
    assert often.latest(year, year, 3) == []
    late = recurrence(interval_seconds=600, jitter_seconds=599)
    first, second = islice(late.after(BEGIN), 2)
    assert late.latest(BEGIN, late.delayed(first) - timedelta(seconds=1), 3) == []
    assert late.latest(BEGIN, late.delayed(second), 3) == [first, second]


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "0 0 31 2 *", "0 0 0 * * *", "@daily", "x * * * *"])
def test_cron_that_is_never_due_or_cannot_be_read_is_told(text: str) -> None:
    """With what is allowed."""
    assert "five fields of cron" in cron_problem(text)
    assert cron_problem("30 2 * * 1-5") == ""


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../UTC", "/etc/localtime"])
def test_zone_that_there_is_none_of_is_told(name: str) -> None:
    """Nothing outside of the zones is looked at."""
    assert "is no time zone" in zone_problem(name)
    assert zone_problem("Europe/Vienna") == ""
