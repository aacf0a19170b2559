"""A backup is restored while agents run that went on since: no machine twice, no step key twice, all is told (R13)."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    SUCCEEDED,
    ask,
    create_machine,
    list_objects,
    new_disk,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.site import PROGRAM, Site, open_site, until
from tests.faults.killing import done_twice, steps_in_flight
from virtyard.api.inventory.v1 import inventory_service_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import (
    delete_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    start_virtual_machine_pb2,
)
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

SERVERS = ("s1", "s2")
LOST_PAIRS = int(os.environ.get("VIRTYARD_RESTORE_PAIRS", "3"))
"""How many machines are made and deleted between the backup and the restore, beside those that the test looks at."""
RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING


def virtyard(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the site's machine."""
    environment = {"VIRTYARD_CONFIG": os.devnull, **os.environ, "VIRTYARD_CONTEXT": str(site.context)}
    return subprocess.run([PROGRAM, *words], env=environment, capture_output=True, text=True, check=False, timeout=60)


def start_on(name: str, server: str) -> start_virtual_machine_pb2.StartVirtualMachineRequest:
    """Return the request that starts a machine on a server."""
    return start_virtual_machine_pb2.StartVirtualMachineRequest(
        name=f"virtualMachines/{name}", server=f"servers/{server}"
    )


def kill(name: str) -> kill_virtual_machine_pb2.KillVirtualMachineRequest:
    """Return the request that kills a machine."""
    return kill_virtual_machine_pb2.KillVirtualMachineRequest(name=f"virtualMachines/{name}")


async def machines(client: Client) -> dict[str, virtual_machine_pb2.VirtualMachine]:
    """Return the machines by id."""
    return {each.name.partition("/")[2]: each for each in await list_objects(client, "VirtualMachines")}


async def events(client: Client, kind: str) -> dict[str, str]:
    """Return the messages of all events of a type by object; several on one object together."""
    request = inventory_service_pb2.ListEventsRequest(filter=f'type = "{kind}"', page_size=1000)
    found: dict[str, str] = {}
    for event in (await client.inventory.ListEvents(request)).events:
        found[event.object] = found.get(event.object, "") + event.message + "\n"
    return found


def operations_of_ledgers(site: Site) -> set[int]:
    """Return the numbers of the operations that the agents' ledgers know."""
    found: set[int] = set()
    for path in (site.folder / "state").glob("s*/ledger.db"):
        with closing(sqlite3.connect(path)) as database:
            found |= {number for (number,) in database.execute("SELECT operation FROM ledger")}
    return found


def operations_of_jobs(path: Path) -> set[int]:
    """Return the numbers of the operations that a scheduler's database knows."""
    with closing(sqlite3.connect(path)) as database:
        return {number for (number,) in database.execute("SELECT number FROM operation")}


def used_twice(site: Site, backup: Path, before: set[int]) -> set[int]:
    """Return the operations since the restore that have numbers which agents knew of others.

    Args:
        site: the site after the restore.
        backup: the folder of the backup.
        before: what the agents' ledgers knew before it.
    """
    since = operations_of_jobs(site.folder / "state" / "jobs.db") - operations_of_jobs(backup / "jobs.db")
    assert since, "something was asked for since the restore"
    return since & before


@asynccontextmanager
async def site_with_a_lost_time() -> AsyncIterator[tuple[Site, Path, str, Counter[str]]]:
    """Run a site that is backed up and goes on, and whose control plane is killed; yields it, the backup, and more.

    Yields: the site, the backup, the operation that was under way when it was made, and what hosts made till the end.
    """
    with open_site("embedded", SERVERS) as site:
        backup = site.folder / "backup"
        async with site.client() as client:
            await prepare(site, client)
            for name in ("web", "db", "mail", "slow", "old"):
                await run(client, create_machine(site, name, [new_disk(4)]))
            await run(client, start_on("web", "s1"))
            sim = site.folder / "state" / "s1" / "sim" / "settings.json"
            sim.write_text('{"start_seconds": 1.5}')
            under_way = await ask(client, start_on("slow", "s1"))
            until(lambda: "Start the guest" in steps_in_flight(site).values(), 10, "the slow start is under way")
            made = await asyncio.to_thread(
                virtyard, site, "backup", "--state", str(site.folder / "state"), "--out", str(backup)
            )
            assert made.returncode == 0, made.stderr
            sim.unlink()
            await go_on(site, client, under_way.name)
        refused = virtyard(site, "restore", "--from", str(backup), "--state", str(site.folder / "state"))
        assert refused.returncode == 1
        assert "is in use by process" in refused.stderr
        site.kill("up")
        yield site, backup, under_way.name, Counter(site.effect_log.read_text().splitlines())


async def go_on(site: Site, client: Client, under_way: str) -> None:
    """Do what the backup will not know of."""
    await client.wait(under_way, timeout=40)
    await run(client, kill("web"))
    await run(client, start_on("db", "s2"))
    await run(client, create_machine(site, "new", [new_disk(4)]))
    await run(client, start_on("new", "s2"))
    await run(client, delete("old"))
    for number in range(LOST_PAIRS):
        await run(client, create_machine(site, f"lost{number}"))
        await run(client, delete(f"lost{number}"))


def delete(name: str) -> delete_virtual_machine_pb2.DeleteVirtualMachineRequest:
    """Return the request that deletes a machine."""
    return delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=f"virtualMachines/{name}")


async def refusal(client: Client, request: Any) -> str:
    """Return the words with which a request is refused."""
    with pytest.raises(ClientError) as refused:
        await run(client, request)
    return str(refused.value)


async def test_a_restored_site_does_nothing_twice_and_tells_what_it_does_not_know() -> None:
    """The whole of R13 on a site of two hosts, one of which is away when the control plane comes back."""
    async with site_with_a_lost_time() as (site, backup, under_way, made):
        before = operations_of_ledgers(site)
        site.kill("s2")
        done = virtyard(site, "restore", "--from", str(backup), "--state", str(site.folder / "state"))
        assert done.returncode == 0, done.stderr
        site.start("up")
        async with site.client() as client:
            await check_while_a_host_is_away(site, client, under_way, made)
            site.start("s2")
            await check_all_is_told(client)
            await check_what_is_there_is_worked_with(site, client, made)
            await wait_unlocked(client)
        for name in ("up", *SERVERS):
            site.stop(name)
        assert not used_twice(site, backup, before)
        assert not done_twice(site)


async def check_while_a_host_is_away(site: Site, client: Client, under_way: str, made: Counter[str]) -> None:
    """What was under way ends as it did, without doing anything again; no machine starts that may run on the host."""
    story: Story = await client.wait(under_way, timeout=40)
    assert story.state == SUCCEEDED, (story.state, story.error and story.error.message)
    assert Counter(site.effect_log.read_text().splitlines()) == made
    assert (await machines(client))["slow"].state == RUNNING
    said = await refusal(client, start_machine("mail"))
    assert "servers/s2 may run virtualMachines/mail" in said


async def check_all_is_told(client: Client) -> None:
    """Every effect that is left and not recorded is an event that names it, and so is every guest."""
    async with asyncio.timeout(40):
        while "virtualMachines/db" not in (guests := await events(client, "RESTORED_UNKNOWN_GUEST")):
            await asyncio.sleep(0.05)
    assert set(guests) == {"virtualMachines/db", "virtualMachines/new"}
    assert "servers/s2 runs a guest of virtualMachines/new, which is not recorded" in guests["virtualMachines/new"]
    effects = await events(client, "RESTORED_UNKNOWN_EFFECT")
    assert "servers/s2 has done StartGuest for jobs/" in effects["virtualMachines/db"]
    assert "KillGuest" in effects["virtualMachines/web"]
    assert any("TrashDiskFile" in text for text in effects.values()), effects


async def check_what_is_there_is_worked_with(site: Site, client: Client, made: Counter[str]) -> None:
    """A machine that runs is taken over where it runs; others are started, killed and made as ever."""
    assert "runs on servers/s2 already" in await refusal(client, start_on("db", "s1"))
    guests = set(site.guests())
    await run(client, start_machine("db"))
    found = await machines(client)
    assert (found["db"].state, found["db"].server) == (RUNNING, "servers/s2")
    assert set(site.guests()) == guests
    assert Counter(site.effect_log.read_text().splitlines()) == made
    await run(client, kill("web"))
    await run(client, start_on("web", "s2"))
    story = await run(client, create_machine(site, "next", [new_disk(4)]))
    assert int(story.name.rpartition("/")[2]) > 100_000
    await run(client, kill("db"))
    assert len(site.guests()) == len(guests)


async def test_without_another_life_step_keys_are_used_twice() -> None:
    """Files put back as they are, as any copy would: what the other test looks for is there."""
    async with site_with_a_lost_time() as (site, backup, _, _):
        before = operations_of_ledgers(site)
        for name in ("inventory", "jobs", "locks"):
            for beside in (site.folder / "state").glob(f"{name}.db-*"):
                beside.unlink()
            shutil.copyfile(backup / f"{name}.db", site.folder / "state" / f"{name}.db")
        site.start("up")
        async with site.client() as client:
            await ask(client, start_machine("db"))
        site.stop("up")
        assert used_twice(site, backup, before)
