"""A backup is restored while agents run that went on since: no machine twice, no step key twice, all is told (R13)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    FAILED,
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
from tools import processes
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import (
    delete_virtual_machine_pb2,
    discover_server_pb2,
    forget_server_pb2,
    kill_virtual_machine_pb2,
    refresh_server_pb2,
    start_virtual_machine_pb2,
    update_virtual_machine_pb2,
)
from virtyard.processes.backup import back_up
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

SERVERS = ("s1", "s2")
LOST_PAIRS = int(os.environ.get("VIRTYARD_RESTORE_PAIRS", "3"))
"""How many machines are made and deleted between the backup and the restore, beside those that the test looks at."""
JOBS_AGO = 100
"""How many jobs ago the backup was made, at the least."""
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


def operations_of_jobs(path: Path) -> set[int]:
    """Return the numbers of the operations that a scheduler's database knows."""
    with closing(sqlite3.connect(path)) as database:
        return {number for (number,) in database.execute("SELECT number FROM operation")}


def used_twice(site: Site, backup: Path, lost: set[int]) -> set[int]:
    """Return the operations since the restore that have the numbers of others, which agents may have heard of.

    Args:
        site: the site after the restore.
        backup: the folder of the backup.
        lost: the operations that the database had which was replaced.
    """
    since = operations_of_jobs(site.folder / "state" / "jobs.db") - operations_of_jobs(backup / "jobs.db")
    assert since, "something was asked for since the restore"
    return since & lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A site whose control plane is dead, with a backup from before the last things that it did."""

    site: Site
    """The site."""
    backup: Path
    """The folder of the backup."""
    under_way: str
    """The start that was under way when it was made, and ended since."""
    numbers: set[int]
    """The numbers of all operations that there were."""
    made: Counter[str]
    """What hosts really made until the end."""

    def restore(self) -> subprocess.CompletedProcess[str]:
        """Put the backup back by the command."""
        return virtyard(self.site, "restore", "--from", str(self.backup), "--state", str(self.site.folder / "state"))


@asynccontextmanager
async def lost_time(*, forgetting: bool = False, jobs: int = 0) -> AsyncIterator[Lost]:
    """Run a site that is backed up and goes on, and kill its control plane.

    Args:
        forgetting: the agents forget in the end what is settled, as they do after half a minute; else an operation that
            a third host does not answer stays open, so that they may not.
        jobs: so many small changes are made after the backup beside all else.
    """
    with open_site("embedded", SERVERS) as site:
        state, backup = site.folder / "state", site.folder / "backup"
        async with site.client() as client:
            await prepare(site, client)
            for name in ("web", "db", "slow", "mail", "old"):
                await run(client, create_machine(site, name, [new_disk(4)] if name != "mail" else []))
            await run(client, start_on("web", "s1"))
            if not forgetting:
                await keep_open(site, client)
            (settings,) = (folder / "settings.json" for folder in state.glob("s1/**/sim"))
            settings.write_text('{"start_seconds": 4}')
            under_way = await ask(client, start_on("slow", "s1"))
            until(lambda: "Start the guest" in steps_in_flight(site).values(), 10, "the slow start is under way")
            await asyncio.to_thread(
                back_up, [state], backup, pki=site.folder / "pki", with_pki=False, context=site.context
            )
            settings.unlink()
            await go_on(site, client, under_way.name)
            for first in range(0, jobs, 10):
                await asyncio.gather(*(run(client, described(str(each))) for each in range(first, first + 10)))
            for server in SERVERS if forgetting else ():
                site.kill(server)
                site.start(server)
                await run(client, refresh_server_pb2.RefreshServerRequest(name=f"servers/{server}"))
        site.kill("up")
        if not forgetting:
            site.resume("s3")
        yield Lost(
            site=site,
            backup=backup,
            under_way=under_way.name,
            numbers=operations_of_jobs(state / "jobs.db"),
            made=Counter(site.effect_log.read_text().splitlines()),
        )


async def keep_open(site: Site, client: Client) -> None:
    """Ask for an operation that stays open, as the host that it is about stands still."""
    site.issue("s3")
    site.start("s3")
    found = server_pb2.Server(agent_address=site.addresses["s3"])
    await run(client, discover_server_pb2.DiscoverServerRequest(server_id="s3", server=found))
    processes.send(site.record("s3"), signal.SIGSTOP)
    await ask(client, forget_server_pb2.ForgetServerRequest(name="servers/s3"))
    until(lambda: "Give the host back" in steps_in_flight(site).values(), 10, "the host is asked")


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


def described(text: str) -> update_virtual_machine_pb2.UpdateVirtualMachineRequest:
    """Return the request that writes a machine's description, which no host hears of."""
    changed = virtual_machine_pb2.VirtualMachine(name="virtualMachines/mail", description=text)
    return update_virtual_machine_pb2.UpdateVirtualMachineRequest(virtual_machine=changed)


def delete(name: str) -> delete_virtual_machine_pb2.DeleteVirtualMachineRequest:
    """Return the request that deletes a machine."""
    return delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=f"virtualMachines/{name}")


async def wait_online(client: Client) -> None:
    """Wait until both hosts of the pool have reported."""
    async with asyncio.timeout(40):
        while True:
            servers = {each.name: each.state for each in await list_objects(client, "Servers")}
            if all(servers[f"servers/{name}"] == server_pb2.SERVER_STATE_ONLINE for name in SERVERS):
                return
            await asyncio.sleep(0.05)


async def refusal(client: Client, request: Any) -> str:
    """Return the words with which a request is refused."""
    with pytest.raises(ClientError) as refused:
        await run(client, request)
    return str(refused.value)


async def test_a_restored_site_does_nothing_twice_and_tells_what_it_does_not_know() -> None:
    """The whole of R13 on a site of two hosts, one of which is away when the control plane comes back."""
    async with lost_time(jobs=JOBS_AGO) as lost:
        site = lost.site
        assert len(lost.numbers - operations_of_jobs(lost.backup / "jobs.db")) >= JOBS_AGO
        site.kill("s2")
        assert (done := lost.restore()).returncode == 0, done.stderr
        site.start("up")
        refused = lost.restore()
        assert refused.returncode == 1
        assert "is in use by process" in refused.stderr
        async with site.client() as client:
            await check_while_a_host_is_away(client, lost)
            site.start("s2")
            await check_all_is_told(client)
            await wait_online(client)
            await check_what_is_there_is_worked_with(client, lost)
            await wait_unlocked(client)
        for name in ("up", *SERVERS, "s3"):
            site.stop(name)
        assert not used_twice(site, lost.backup, lost.numbers)
        assert not done_twice(site)


async def check_while_a_host_is_away(client: Client, lost: Lost) -> None:
    """What was under way ends as it did, without doing anything again; no machine starts that may run on the host."""
    story: Story = await client.wait(lost.under_way, timeout=40)
    assert story.state == SUCCEEDED, (story.state, story.error and story.error.message)
    assert Counter(lost.site.effect_log.read_text().splitlines()) == lost.made
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


async def check_what_is_there_is_worked_with(client: Client, lost: Lost) -> None:
    """A machine that runs is taken over where it runs; others are started, killed and made as ever."""
    site = lost.site
    assert "runs on servers/s2 already" in await refusal(client, start_on("db", "s1"))
    guests = set(site.guests())
    await run(client, start_machine("db"))
    found = await machines(client)
    assert (found["db"].state, found["db"].server) == (RUNNING, "servers/s2")
    assert set(site.guests()) == guests
    assert Counter(site.effect_log.read_text().splitlines()) == lost.made
    await run(client, kill("web"))
    await run(client, start_on("web", "s2"))
    story = await run(client, create_machine(site, "next", [new_disk(4)]))
    assert int(story.name.rpartition("/")[2]) > 100_000
    await run(client, kill("db"))
    assert len(site.guests()) == len(guests)


async def test_what_agents_have_forgotten_is_told_and_not_done_again() -> None:
    """An operation that was open in the backup is refused by agents that have settled it; what it left is found."""
    async with lost_time(forgetting=True) as lost:
        site = lost.site
        assert lost.restore().returncode == 0
        site.start("up")
        async with site.client() as client:
            story: Story = await client.wait(lost.under_way, timeout=40)
            assert story.state == FAILED
            effects = await events(client, "RESTORED_UNKNOWN_EFFECT")
            assert f"servers/s1 has forgotten what {lost.under_way}" in effects["virtualMachines/slow"]
            assert "servers/s2 has forgotten the effects of operations" in effects["servers/s2"]
            guests = set(site.guests())
            await wait_online(client)
            await run(client, start_machine("slow"))
            assert (await machines(client))["slow"].server == "servers/s1"
            assert set(site.guests()) == guests
        assert Counter(site.effect_log.read_text().splitlines()) == lost.made
        assert not used_twice(site, lost.backup, lost.numbers)


async def test_without_another_life_step_keys_are_used_twice() -> None:
    """Files put back as they are, as any copy would: what the other tests look for is there."""
    async with lost_time(forgetting=True) as lost:
        state = lost.site.folder / "state"
        for name in ("inventory", "jobs", "locks"):
            for beside in state.glob(f"{name}.db-*"):
                beside.unlink()
            shutil.copyfile(lost.backup / f"{name}.db", state / f"{name}.db")
        lost.site.start("up")
        async with lost.site.client() as client:
            await ask(client, start_machine("db"))
        assert used_twice(lost.site, lost.backup, lost.numbers)
