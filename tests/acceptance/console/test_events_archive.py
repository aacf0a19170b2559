"""The archive of events in a real Chromium, on a real site that keeps so few live ones that it has archived some."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.asking import FAILED, LIMIT, create_machine, prepare, run
from tests.acceptance.console.chromium import build_console, play_with_cues
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.operations.v1 import rename_virtual_machine_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(900)
HISTORY = "VIRTYARD_HISTORY_"


@pytest.fixture
def site() -> Iterator[Site]:
    """A site with a server."""
    build_console()
    with open_site() as opened:
        yield opened


async def furnish(site: Site) -> list[event_pb2.Event]:
    """Fail a job of each of two machines, and return the open event of each, the older one first."""
    async with site.client() as client:
        await prepare(site, client)
        for machine in ("web", "db"):
            await run(client, create_machine(site, machine))
        site.fail_file.write_text("1/1")
        for machine in ("web", "db"):
            name = f"virtualMachines/{machine}"
            request = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=name, display_name="W")
            await run(client, request, ended=FAILED)
        site.fail_file.unlink()
        # Services that start anew tell their last events again, which is new to a log that has forgotten them already.
        await run(client, create_machine(site, "app"))
        async with asyncio.timeout(LIMIT):
            while len(failed := await events_of(client, "type = JOB_FAILED AND open = true")) < 2:
                await asyncio.sleep(0.05)
        return failed[::-1]


async def events_of(client: Client, text: str, *, archived: bool = False) -> list[event_pb2.Event]:
    """Return the events that a filter lets pass, the newest first."""
    asked = inventory_service_pb2.ListEventsRequest(filter=text, archived=archived, page_size=1000)
    return list((await client.inventory.ListEvents(asked)).events)


def keep(site: Site, **history: int) -> None:
    """Start the services anew with these bounds; they look for what is to go at once, and then every minute."""
    site.stop("up")
    site.settings |= {HISTORY + key.upper(): str(value) for key, value in history.items()}
    site.start("up")


async def wait_archived(site: Site, name: str, listed: list[str]) -> None:
    """Wait until an event is archived, and note what the archive has then, the newest first."""
    async with site.client() as client, asyncio.timeout(LIMIT):
        while not (await client.inventory.GetEvent(inventory_service_pb2.GetEventRequest(name=name))).archived:
            await asyncio.sleep(0.05)
        listed.extend(event.name for event in await events_of(client, "", archived=True))


async def wait_forgotten(site: Site, name: str) -> None:
    """Wait until an event is not kept any more."""
    async with site.client() as client, asyncio.timeout(LIMIT):
        while True:
            try:
                await client.inventory.GetEvent(inventory_service_pb2.GetEventRequest(name=name))
            except ClientError as error:
                if error.reason != "NOT_FOUND":
                    raise
                return
            await asyncio.sleep(0.05)


def test_archived_events_are_read_and_saved_by_keys_and_one_archived_meanwhile_says_so(site: Site) -> None:
    """What is archived is found with all it says; an open list says of what has left it that it can only be read."""
    old, young = asyncio.run(furnish(site))
    archived: list[str] = []

    def archive() -> None:
        keep(site, warning_entries=1, event_entries=3)
        asyncio.run(wait_archived(site, old.name, archived))

    def forget() -> None:
        keep(site, warning_entries=0, event_archive_entries=0)
        asyncio.run(wait_forgotten(site, young.name))

    found = play_with_cues("events_archive.mjs", site, {"archive": archive, "forget": forget}, scenario="archive")
    assert found["findings"] == []
    assert_told(found["said"], old, young, archived)


def assert_told(said: dict[str, Any], old: event_pb2.Event, young: event_pb2.Event, archived: list[str]) -> None:
    """Assert what the screen said of both events, and what it saved of the archive."""
    assert f"{old.name} is in the archive, where it can only be read" in said["archived"]
    assert (said["canStill"], said["offered"]) == (False, 0), "nothing offers what cannot be done"
    assert "archived" in said["row"]
    assert "open" not in said["row"]
    assert "open" in said["other"], "what is still live stays as it was"
    assert len(archived) > 1, "events of both sorts were archived"
    assert said["exported"] == archived, "an export of the archive has what is listed there"
    assert said["address"] == "?type=JOB_FAILED&archived=yes"
    for told in ("JOB_FAILED", "archived", "virtualMachines/web", old.name, old.message, old.causes[0].message):
        assert told in said["details"]
    assert said["offeredInArchive"] == 0
    assert said["exportedNarrowed"] == [old.name]
    assert f"{young.name} does not exist" in said["forgotten"]
