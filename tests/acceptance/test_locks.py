"""Locks on the command line: taken, listed, refused, used, broken and released, on one site."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.asking import LIMIT, create_machine, list_jobs, new_disk, prepare, run, start_machine
from tests.acceptance.site import Site, open_site, until
from tests.acceptance.test_command_line import virtyard

pytestmark = pytest.mark.timeout(180)

WEB = "virtualMachines/web"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a machine whose guest takes its time to start."""
    with open_site("embedded", ("s1",)) as opened:

        async def fill() -> None:
            async with opened.client() as client:
                await prepare(opened, client)
                await run(client, create_machine(opened, "web", [new_disk(4)]))

        asyncio.run(fill())
        (folder,) = opened.folder.glob("state/**/sim")
        (folder / "settings.json").write_text(json.dumps({"start_seconds": 60}))
        yield opened


def rows(site: Site, *words: str) -> list[dict[str, Any]]:
    """Run a command that lists, and return its objects."""
    return [json.loads(line) for line in virtyard(site, *words, "--json").splitlines()]


def wait_unlocked(site: Site) -> None:
    """Wait until nothing is locked."""
    until(lambda: not rows(site, "lock", "list"), LIMIT, "nothing is locked")


def test_a_lock_is_taken_used_and_released(site: Site) -> None:
    """Others are refused or wait and see whose it is; what is submitted under it passes."""
    wait_unlocked(site)
    (taken,) = rows(site, "lock", "take", WEB, "--mode", "x", "--purpose", "backup", "--for", "2h")
    name = taken["name"]
    assert taken["state"] == "PERSON_LOCK_STATE_HELD"
    table = virtyard(site, "lock", "list")
    assert "backup, by user/" in table
    assert name in table
    people = virtyard(site, "lock", "people")
    assert people.splitlines()[0].split() == ["NAME", "OBJECT", "MODE", "STATE", "PRINCIPAL", "PURPOSE", "END", "TIME"]
    assert "held" in people
    refused = virtyard(site, "lock", "take", WEB, "--purpose", "mine", "--for", "1h", "--no-wait", code=2)
    assert name in refused
    waiting = virtyard(site, "vm", "edit", "web", "--cpus", "2", "--no-wait").split()[0]
    assert "backup" in virtyard(site, "operation", "show", waiting)
    virtyard(site, "vm", "edit", "web", "--cpus", "3", "--under", name)
    assert rows(site, "vm", "get", "web")[0]["cpus"] == 3
    (gone,) = rows(site, "lock", "release", name)
    assert gone["state"] == "PERSON_LOCK_STATE_RELEASED"
    virtyard(site, "operation", "wait", waiting)
    assert rows(site, "vm", "get", "web")[0]["cpus"] == 2
    wait_unlocked(site)


def test_a_break_stops_what_a_host_does(site: Site) -> None:
    """The guest that was starting is gone; an event says who did it; the machine can be started again."""
    name = begin_start(site)
    (answer,) = rows(site, "lock", "break", WEB, "--reason", "it hangs")
    assert (answer["owner"], answer["freed"]) == (name, True)
    virtyard(site, "operation", "wait", name, code=3)
    assert site.guests() == []
    wait_unlocked(site)
    assert "it hangs" in virtyard(site, "event", "list", "--filter", "type = LOCK_BROKEN")


def test_a_silent_host_is_named_and_what_it_may_do_is_quarantined(site: Site) -> None:
    """Without force nothing is freed; with it nothing else may touch the machine until the host is back."""
    name = begin_start(site)
    with site.paused("s1"):
        (answer,) = rows(site, "lock", "break", name, "--reason", "it hangs")
        assert "freed" not in answer
        assert [step["participant"] for step in answer["unsettled"]] == ["servers/s1"]
        assert any(lock["object"] == WEB for lock in rows(site, "lock", "list"))
        (answer,) = rows(site, "lock", "break", name, "--reason", "now", "--force")
        assert answer["freed"]
        assert WEB in answer["quarantined"]
        refused = virtyard(site, "vm", "rename", "web", "Web 1", code=1)
        assert "quarantine" in refused
    virtyard(site, "operation", "wait", name, code=3)
    assert site.guests() == []
    wait_unlocked(site)
    virtyard(site, "vm", "rename", "web", "Web 1")
    wait_unlocked(site)


def begin_start(site: Site) -> str:
    """Ask for the start of the machine, and return the operation once its host is in the middle of it."""
    return asyncio.run(_begin_start(site))


async def _begin_start(site: Site) -> str:
    async with site.client() as client, asyncio.timeout(LIMIT):
        operation = await client.operations.StartVirtualMachine(start_machine("web"))
        while not any(
            step.title == "Start the guest" and step.state == 2
            for job in await list_jobs(client, operation.name)
            for step in job.steps
        ):
            await asyncio.sleep(0.02)
        return str(operation.name)
