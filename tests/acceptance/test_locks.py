"""Locks on the command line: taken, listed, refused, used, broken and released, on one site."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import LIMIT, create_machine, list_jobs, new_disk, prepare, run, start_machine
from tests.acceptance.site import PROGRAM, Site, open_site, until
from tests.acceptance.test_command_line import environment, virtyard

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


def people(site: Site) -> list[dict[str, Any]]:
    """Return people's locks, the oldest first."""
    (answer,) = rows(site, "lock", "people")
    return list(answer.get("locks", []))


def told_id(text: str) -> str:
    """Return the id that a command says to ask again with."""
    found = re.search(r"^    --request-id ([0-9a-f-]{36})$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


@pytest.mark.parametrize("how", ["timeout", "timeout in JSON", "Ctrl-C"])
def test_a_wait_that_was_cut_off_is_found_again(site: Site, how: str) -> None:
    """Who gave up waiting for a lock is told the id under which it is queued; asked for again there is one lock."""
    wait_unlocked(site)
    (first,) = rows(site, "lock", "take", WEB, "--purpose", "backup", "--for", "1h")
    mine = ["lock", "take", WEB, "--purpose", "mine", "--for", "1h", "--max-wait", "50s"]
    if how == "timeout":
        request_id = told_id(virtyard(site, *mine, "--timeout", "2s", code=5))
    elif how == "timeout in JSON":
        request_id = json.loads(virtyard(site, *mine, "--timeout", "2s", "--json", code=5))["error"]["request_id"]
    else:
        request_id = told_id(cut_off(site, mine))
    held, queued = people(site)
    assert (held["name"], queued["purpose"]) == (first["name"], "mine")
    virtyard(site, "lock", "release", first["name"])
    (again,) = rows(site, *mine, "--request-id", request_id)
    assert (again["name"], again["state"]) == (queued["name"], "PERSON_LOCK_STATE_HELD")
    assert [lock["name"] for lock in people(site)] == [queued["name"]]
    virtyard(site, "lock", "release", queued["name"])


def cut_off(site: Site, words: list[str]) -> str:
    """Begin to wait for a lock, press Ctrl-C once it is queued, and return what is said."""
    heard = ["env", "--default-signal=INT"]  # whoever runs this may ignore it
    waiting = subprocess.Popen([*heard, PROGRAM, *words], env=environment(site), stderr=subprocess.PIPE, text=True)
    until(lambda: len(people(site)) == 2, LIMIT, "the lock is queued")
    waiting.send_signal(signal.SIGINT)
    _, text = waiting.communicate(timeout=LIMIT)
    assert waiting.returncode == 130
    return text


def test_what_never_reached_a_service_is_given_no_id(site: Site, tmp_path: Path) -> None:
    """Nothing was queued by it."""
    context = tmp_path / "context.toml"
    text = Path(environment(site)["VIRTYARD_CONTEXT"]).read_text(encoding="utf-8")
    context.write_text(re.sub(r":\d+", ":1", text), encoding="utf-8")
    words = ("lock", "take", WEB, "--purpose", "mine", "--for", "1h", "--context", str(context))
    assert "--request-id" not in virtyard(site, *words, code=5)


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
