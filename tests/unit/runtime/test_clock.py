"""The clock: jumps of the wall clock move nothing, small drifts are slewed, and shown time never falls (P33, R8)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from virtyard.runtime.clock import SystemClock


class Hardware:
    """A wall clock and a monotonic one under the test's control."""

    def __init__(self) -> None:
        """Start in 2030."""
        self.wall = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
        self.steady = 50.0

    def pass_(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall += seconds
        self.steady += seconds

    def clock(self, floor: datetime | None = None) -> SystemClock:
        """Return a clock over this hardware."""
        return SystemClock(floor=floor, wall=lambda: self.wall, steady=lambda: self.steady)


def jumped(clock: SystemClock) -> bool:
    """Return whether the clock says so now; what it said before tells nothing."""
    return clock.jumped


def test_jump_of_an_hour_is_not_followed() -> None:
    """An hour forward or back changes neither the time nor its pace, and is noticed."""
    for jump in (3600.0, -3600.0):
        hardware = Hardware()
        clock = hardware.clock()
        before = clock.now()
        hardware.pass_(10)
        hardware.wall += jump
        assert (clock.now() - before).total_seconds() == 10
        assert jumped(clock)
        assert clock.offset == jump
        hardware.pass_(100)
        assert (clock.now() - before).total_seconds() == 110


def test_confirmed_jump_forward_is_followed_at_once() -> None:
    """After a person has confirmed it the clock is where the machine's is, and goes on with it."""
    hardware = Hardware()
    clock = hardware.clock()
    hardware.wall += 3600
    assert jumped(clock)
    clock.follow()
    assert clock.now().timestamp() == hardware.wall
    assert not jumped(clock)
    hardware.pass_(100)
    assert clock.now().timestamp() == hardware.wall


def test_confirmed_jump_back_is_caught_up_with_and_time_never_falls() -> None:
    """The clock goes at half its pace until the machine's has caught up, and then with it."""
    hardware = Hardware()
    clock = hardware.clock()
    began = last = clock.now().timestamp()
    hardware.wall -= 3600
    clock.follow()
    assert not jumped(clock)
    for second in range(7200):
        hardware.pass_(1)
        now = clock.now().timestamp()
        assert now >= last
        last = now
        assert not jumped(clock)
        if second == 1799:
            assert now - began == pytest.approx(900, abs=1)
    assert clock.now().timestamp() == pytest.approx(hardware.wall, abs=61)
    for _ in range(15_000):
        hardware.pass_(1)
        last, before = clock.now().timestamp(), last
        assert last > before
    assert abs(clock.offset) < 0.01


def test_a_further_jump_is_not_covered_by_what_was_confirmed() -> None:
    """Who confirmed one jump has said nothing of another one, in whatever direction, while the first is caught up."""
    for jump in (-600.0, 7200.0):
        hardware = Hardware()
        clock = hardware.clock()
        hardware.wall -= 3600
        clock.follow()
        for _ in range(600):
            hardware.pass_(1)
            clock.now()
        assert not jumped(clock)
        hardware.wall += jump
        assert jumped(clock)
        before = clock.now()
        hardware.pass_(100)
        assert (clock.now() - before).total_seconds() == pytest.approx(100)


def test_small_difference_is_slewed() -> None:
    """A second of drift is worn off slowly: never by more than half a per cent, and fully in the end."""
    hardware = Hardware()
    clock = hardware.clock()
    hardware.wall += 1.0
    last = clock.now().timestamp()
    for _ in range(300):
        hardware.pass_(1)
        now = clock.now().timestamp()
        assert 1.0 <= now - last <= 1.0051
        last = now
    assert abs(clock.offset) < 0.01


def test_time_begins_no_earlier_than_what_was_persisted() -> None:
    """A clock that starts on a machine whose clock was set back goes on from the persisted time."""
    hardware = Hardware()
    later = datetime(2031, 1, 1, tzinfo=UTC)
    assert hardware.clock(floor=later).now() == later
    clock = hardware.clock()
    clock.not_before(later)
    assert clock.now() == later
    clock.not_before(None)
    hardware.pass_(5)
    assert clock.now() >= later


def test_system_clock_tells_the_time_in_utc() -> None:
    """The real clock is near the system's and knows its zone."""
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs((now - datetime.now(UTC)).total_seconds()) < 5
