"""Agents that are killed or lose their heartbeat device: told for what it is, in this order, and once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.asking import prepare
from tests.acceptance.site import Site, open_site
from tests.acceptance.test_host_events import see
from tests.acceptance.test_host_troubles import of
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(300)

CONTACT = ("SERVER_DISCONNECTED", "SERVER_RECONNECTED", "SERVER_OFFLINE", "SERVER_ONLINE")
HEARTBEAT = ("HEARTBEAT_LATE", "HEARTBEAT_IN_TIME")
PATIENCE = 90.0
"""Seconds that a test waits for what takes the time of silence, on a machine that is busy with other tests."""


async def test_what_becomes_of_agents_is_told_for_what_it_is() -> None:
    """A device that hangs makes its members late, and an agent that is killed is disconnected until heard again."""
    with open_site("embedded", ("s1", "s2")) as site:
        async with site.client() as client:
            await prepare(site, client, clustered=True)
            await device_hangs(client, site)
            await agent_is_killed(client, site)


@contextmanager
def held(device: Path) -> Iterator[None]:
    """Have a file hang for whoever opens it, as a device behind a dead path does."""
    aside, hanging = device.with_suffix(".aside"), device.with_suffix(".hanging")
    os.mkfifo(hanging)
    device.rename(aside)
    hanging.rename(device)
    try:
        yield
    finally:
        freed = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        aside.rename(device)
        os.close(freed)


async def told(client: Client, name: str, kinds: tuple[str, ...], *wanted: str, seconds: float = 20.0) -> None:
    """Wait until exactly these of some types of events were told of a server."""

    async def all_told() -> bool:
        return await of(client, f"servers/{name}", *kinds) == list(wanted)

    await see(all_told, f"{name}: {', '.join(wanted)}", seconds)


async def device_hangs(client: Client, site: Site) -> None:
    """Both members renew their slots late, after 4 T, and in time again once the device answers."""
    with held(site.shared / "pool.heartbeat"):
        for name in ("s1", "s2"):
            await told(client, name, HEARTBEAT, "HEARTBEAT_LATE", seconds=PATIENCE)
    for name in ("s1", "s2"):
        await told(client, name, HEARTBEAT, *HEARTBEAT)


async def agent_is_killed(client: Client, site: Site) -> None:
    """Its end is seen at once, and its successor before its server was taken to be offline."""
    site.kill("s1")
    await told(client, "s1", CONTACT, "SERVER_DISCONNECTED")
    site.start("s1")
    await told(client, "s1", CONTACT, "SERVER_DISCONNECTED", "SERVER_RECONNECTED")
