"""The console's main scenario in a real browser, on real processes that are killed under it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import FAILED, create_machine, run
from tests.acceptance.console.chromium import SCREENS, build_console, link_to, one_browser
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2, rename_virtual_machine_pb2

pytestmark = pytest.mark.timeout(900)


def test_the_console_shows_changes_as_they_happen_and_says_when_it_cannot() -> None:
    """Forms, bars, locks, an abort, an event; after a kill in mid-stream the page is live again and shows the truth."""
    build_console()
    with open_site(servers=("s1", "s2")) as site:
        asyncio.run(discover(site))
        with one_browser():
            found = play_with_cues("main_scenario.mjs", site, cues_of(site))
    said = found["said"]
    assert found["findings"] == []
    assert "not running" in said["whyNot"] or "stopped" in said["whyNot"].lower(), said["whyNot"]
    assert "operations/" in said["lock"]
    assert "Start Virtual Machine" in said["lockWords"]
    bars = said["bars"]
    assert bars == sorted(bars)
    assert len(set(bars)) >= 2, bars
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


def play_with_cues(script: str, site: Site, cues: dict[str, Callable[[], None]]) -> dict[str, Any]:
    """Run a scenario that asks for things to be done meanwhile; return what it found."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    told = {
        "link": link_to(site),
        "shots": str(SCREENS),
        "heartbeat": str(site.shared / "finance.heartbeat"),
        "repository": str(site.shared / "disks"),
        "kernel": str(site.shared / "vmlinuz"),
    }
    words = ["node", str(Path(__file__).with_name(script)), json.dumps(told)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "cue" not in answer:
                return answer
            cues[answer["cue"]]()
            process.stdin.write("\n")
            process.stdin.flush()
        raise AssertionError(f"{script} ended with {process.wait(10)}; what it said is above")
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()
