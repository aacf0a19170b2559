"""What is told of the clocks of hosts: a difference once, a further one again, and that it is over."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from virtyard.inventory.host_clocks import HostClocks

MINUTE = timedelta(minutes=1)


class Told:
    """Keeps what is told."""

    def __init__(self, *differing: str) -> None:
        """Know of these from an earlier life."""
        self.differing = differing
        self.told: list[tuple[str, timedelta | None]] = []

    async def differing_clocks(self) -> Collection[str]:
        """Return those."""
        return self.differing

    async def tell_host_clock(self, server: str, ahead: timedelta | None) -> None:
        """Note what is told."""
        self.told.append((server, ahead))


async def take(told: Told, *measured: timedelta) -> list[timedelta | None]:
    """Return what is told of a host whose agent measures this."""
    clocks = HostClocks(told)
    for ahead in measured:
        await clocks.take("servers/s1", ahead)
    assert {server for server, _ in told.told} <= {"servers/s1"}
    return [ahead for _, ahead in told.told]


async def test_a_difference_is_told_once_and_a_further_one_again() -> None:
    """In both directions, and not at all up to a minute."""
    assert await take(Told(), MINUTE, -MINUTE, timedelta()) == []
    for far in (2 * MINUTE, -2 * MINUTE):
        assert await take(Told(), far, far, far * 1.4) == [far]
        assert await take(Told(), far, far * 2) == [far, far * 2]


async def test_it_is_over_at_half_a_minute() -> None:
    """So that a clock which is just about a minute off does not come and go."""
    assert await take(Told(), 2 * MINUTE, MINUTE, 2 * MINUTE, MINUTE / 2, timedelta()) == [2 * MINUTE, None]


async def test_what_an_earlier_life_told_is_known() -> None:
    """Of a host that agrees now it is told once; of one that differs still it is told by how much."""
    assert await take(Told("servers/s1"), timedelta(), timedelta()) == [None]
    assert await take(Told("servers/s1"), 5 * MINUTE, 5 * MINUTE) == [5 * MINUTE]
    assert await take(Told("servers/s2"), timedelta()) == []


async def test_a_server_that_comes_again_is_told_of_anew() -> None:
    """What was told of it was forgotten with it."""
    told = Told()
    clocks = HostClocks(told)
    await clocks.take("servers/s1", 5 * MINUTE)
    clocks.forget("servers/s1")
    await clocks.take("servers/s1", 5 * MINUTE)
    assert len(told.told) == 2
