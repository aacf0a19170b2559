"""The clock: jumps of the wall clock move nothing, small drifts are slewed, and shown time never falls (P33, R8)."""

from __future__ import annotations

from datetime import UTC, datetime

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


def test_jump_of_an_hour_is_not_followed() -> None:
    """An hour forward or back changes neither the time nor its pace, and is noticed."""
    for jump in (3600.0, -3600.0):
        hardware = Hardware()
        clock = hardware.clock()
        before = clock.now()
        hardware.pass_(10)
        hardware.wall += jump
        assert (clock.now() - before).total_seconds() == 10
        assert clock.jumped
        assert clock.offset == jump
        hardware.pass_(100)
        assert (clock.now() - before).total_seconds() == 110


def test_confirmed_jump_is_followed_but_time_never_falls() -> None:
    """After a person has confirmed it the clock follows; a jump back holds the time until it is caught up."""
    hardware = Hardware()
    clock = hardware.clock()
    hardware.wall += 3600
    clock.follow()
    assert clock.now().timestamp() == hardware.wall
    assert not clock.jumped
    shown = clock.now()
    hardware.wall -= 7200
    clock.follow()
    assert clock.now() >= shown


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
