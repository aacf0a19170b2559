"""The console's main scenario in a real browser, on real processes that are killed under it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.acceptance.asking import FAILED, create_machine, run
from tests.acceptance.console.chromium import build_console, play_with_cues
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2, rename_virtual_machine_pb2

pytestmark = pytest.mark.timeout(900)


def test_the_console_shows_changes_as_they_happen_and_says_when_it_cannot() -> None:
    """Forms, bars, locks, an abort, an event; after a kill in mid-stream the page is live again and shows the truth."""
    build_console()
    with open_site(servers=("s1", "s2")) as site:
        asyncio.run(discover(site))
        told = {
            "heartbeat": str(site.shared / "finance.heartbeat"),
            "repository": str(site.shared / "disks"),
            "kernel": str(site.shared / "vmlinuz"),
        }
        found = play_with_cues("main_scenario.mjs", site, cues_of(site), **told)
    said = found["said"]
    assert found["findings"] == []
    assert "not running" in said["whyNot"] or "stopped" in said["whyNot"].lower(), said["whyNot"]
    assert "operations/" in said["lock"]
    assert "Start Virtual Machine" in said["lockWords"]
    bars = said["bars"]
    assert bars == sorted(bars)
    assert len(set(bars)) >= 2, bars
    assert said["noted"] >= 1, "no note could have covered the dialog"
    assert said["aborted"] >= 1
    assert said["after"] == 0


async def discover(site: Site) -> None:
    """Bring both servers in; all else is done in the browser."""
    async with site.client() as client:
        for name in ("s1", "s2"):
            request = discover_server_pb2.DiscoverServerRequest(
                server_id=name, server=server_pb2.Server(agent_address=site.addresses[name])
            )
            await run(client, request)


def cues_of(site: Site) -> dict[str, Callable[[], None]]:
    """Return what the scenario may ask for, by its word."""

    def behave(**seconds: float) -> None:
        for name in ("s1", "s2"):
            for guests in (site.folder / "state").glob(f"**/{name}/**/guests"):
                (guests.parent / "settings.json").write_text(json.dumps(seconds))

    def event() -> None:
        site.fail_file.write_text("1/1")
        asyncio.run(fail_to_rename(site))
        site.fail_file.unlink()

    def change() -> None:
        site.start("up")
        asyncio.run(make_another(site))

    return {
        "slow": lambda: behave(start_seconds=3.0, shutdown_seconds=3.0),
        "stuck": lambda: behave(start_seconds=3.0, shutdown_seconds=600.0),
        "event": event,
        "kill": lambda: site.kill("up"),
        "change": change,
    }


async def fail_to_rename(site: Site) -> None:
    """Have a job on the machine fail."""
    request = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name="other")
    async with site.client() as client:
        await run(client, request, ended=FAILED)


async def make_another(site: Site) -> None:
    """Make a machine that the page knows nothing of."""
    async with site.client() as client:
        await run(client, create_machine(site, "behind-its-back", pool="serverPools/finance"))
