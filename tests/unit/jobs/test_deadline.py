"""The alarm of a deadline: once, by the system's clock, however the event loop's runs."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.clock import FakeClock
from virtyard.jobs import deadline


async def rung(event: asyncio.Event) -> bool:
    """Return whether an alarm rings while the event loop has nothing else to do for a while."""
    try:
        async with asyncio.timeout(0.1):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def test_an_alarm_rings_when_the_clock_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's own time does not count: it looks at the clock again and again, and rings once."""
    monkeypatch.setattr(deadline, "_LONGEST", 0.005)
    clock, event, count = FakeClock(), asyncio.Event(), 0

    def ring() -> None:
        nonlocal count
        count += 1
        event.set()

    start = clock.now()
    deadline.Alarm(clock, start.replace(year=start.year + 1), ring)
    assert not await rung(event)
    clock.advance(400 * 86400)
    assert await rung(event)
    event.clear()
    assert not await rung(event)
    assert count == 1


async def test_a_cancelled_alarm_is_silent() -> None:
    """Also where its time has come already."""
    clock, event = FakeClock(), asyncio.Event()
    alarm = deadline.Alarm(clock, clock.now(), event.set)
    alarm.cancel()
    assert not await rung(event)
    deadline.Alarm(clock, clock.now(), event.set)
    assert await rung(event)
