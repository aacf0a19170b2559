"""What happens on hosts by itself: real guests that are killed or power off, storage that goes, links that break.

Each is told once, the inventory follows, and what a job does to a machine is never taken for a crash.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    MIB,
    ask,
    create_machine,
    create_repository,
    list_jobs,
    list_objects,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.power_off import power_off
from tests.acceptance.site import PROGRAM, Site, open_site
from tests.acceptance.test_events import listed
from tests.acceptance.test_networks import create_network
from tests.acceptance.wires import UPLINK, Wired, ip, wired
from virtyard.agent.drivers.hypervisor.trial import stub
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import create_virtual_disk_pb2, delete_network_pb2, kill_virtual_machine_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(240)

RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
STOPPED = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
ON_CRASH = virtual_machine_pb2.RESTART_POLICY_ON_CRASH
NEVER = virtual_machine_pb2.RESTART_POLICY_NEVER
BOTH = {server_pb2.LINK_KIND_BRIDGE, server_pb2.LINK_KIND_UPLINK}
PROMISED = 2.0
"""Seconds within which the inventory follows."""
GENEROUS = 20.0
"""Seconds that a test waits for it, on a machine that is busy with other tests."""
_log = logging.getLogger(__name__)


def kernel(site: Site, name: str, content: bytes) -> virtual_machine_pb2.BootSource:
    """Put a kernel on the shared storage, and return it as what a machine boots."""
    path = site.shared / name
    path.write_bytes(content)
    return virtual_machine_pb2.BootSource(kernel_path=str(path))


async def machine(client: Client, name: str) -> virtual_machine_pb2.VirtualMachine:
    """Return a machine as it is now."""
    machines: list[virtual_machine_pb2.VirtualMachine] = await list_objects(client, "VirtualMachines")
    return next(each for each in machines if each.name == f"virtualMachines/{name}")


async def see(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = GENEROUS) -> None:
    """Wait until a condition holds, and say how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
    took = time.monotonic() - began
    _log.info("%s after %.2f s (promised within %g s)", what, took, PROMISED)


async def told(client: Client, name: str, kind: str = "") -> list[str]:
    """Return the types of a machine's events, or how often there is one of a type."""
    events = await listed(client, f'object = "virtualMachines/{name}"' + (f" AND type = {kind}" if kind else ""))
    return [event.type for event in events]


async def crash(client: Client, name: str) -> virtual_machine_pb2.VirtualMachine:
    """Kill the process of a machine's guest by hand, and return the machine as it was."""
    before = await machine(client, name)
    os.kill(before.placement.process_id, signal.SIGKILL)
    return before


@pytest.mark.qemu
async def test_a_guest_that_ends_by_itself_is_seen_for_what_it_was() -> None:
    """Killed by hand it crashed and runs again by its policy; powered off it stopped; killed by a job it is neither."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu is not installed")
    with open_site("embedded", ("s1",), driver="qemu") as site:
        boot = kernel(site, "halt", stub())
        async with site.client() as client:
            await prepare(site, client)
            for name, policy in (("web", ON_CRASH), ("db", NEVER), ("other", ON_CRASH)):
                request = create_machine(site, name, boot=boot)
                request.virtual_machine.restart_policy = policy
                await run(client, request)
                await run(client, start_machine(name))
            await wait_unlocked(client)
            await runs_again(client, site)
            await stays_stopped(client)
            await is_killed_by_a_job(client)
            await powers_off(client, site)
            await ends_while_the_agent_is_away(client, site)


async def runs_again(client: Client, site: Site) -> None:
    """A machine with the policy ON_CRASH is started by one operation of its event, with the chain of causes."""
    before = await crash(client, "web")

    async def crashed() -> bool:
        return bool(await told(client, "web", "MACHINE_CRASHED"))

    await see(crashed, "the crash was told")

    async def again() -> bool:
        now = await machine(client, "web")
        return now.state == RUNNING and now.placement.run != before.placement.run

    await see(again, "the machine ran again")
    assert len(site.guests()) == 3
    types = await told(client, "web")
    assert types[-3:] == ["MACHINE_CRASHED", "MACHINE_RESTART_DUE", "MACHINE_STARTED"]
    (started,) = (await listed(client, 'object = "virtualMachines/web" AND type = MACHINE_STARTED'))[1:]
    (job,) = await list_jobs(client, started.operation)
    assert job.origin == job_pb2.ORIGIN_EVENT
    assert [link.source for link in job.reason_trail][:1] == ["triggers/restart-policy"]


async def stays_stopped(client: Client) -> None:
    """A machine without a policy is recorded as stopped: its memory is free, its etag is another, nothing starts it."""
    before = await crash(client, "db")

    async def stopped() -> bool:
        return (await machine(client, "db")).state == STOPPED

    await see(stopped, "the machine was recorded as stopped")
    after = await machine(client, "db")
    assert (after.server, after.placement.process_id, after.generation) == ("", 0, before.generation)
    assert after.etag != before.etag
    (server,) = await list_objects(client, "Servers")
    assert server.reserved_memory_bytes == 2 * after.memory_bytes
    (event,) = await listed(client, 'object = "virtualMachines/db" AND type = MACHINE_CRASHED')
    assert before.placement.serial_log_path in event.message
    assert await told(client, "db", "MACHINE_RESTART_DUE") == []


async def is_killed_by_a_job(client: Client) -> None:
    """What a job ends has not crashed: another machine's crash, reported later, is told, and this one's never is."""
    await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/web"))
    await crash(client, "other")

    async def crashed() -> bool:
        return bool(await told(client, "other", "MACHINE_CRASHED"))

    await see(crashed, "the other machine's crash was told")
    assert (await told(client, "web", "MACHINE_CRASHED")) == ["MACHINE_CRASHED"], "only that from before"
    assert (await machine(client, "web")).state == STOPPED


async def powers_off(client: Client, site: Site) -> None:
    """A guest that powers itself off has not crashed, and is not started again after that."""
    request = create_machine(site, "off", boot=kernel(site, "off", power_off()))
    request.virtual_machine.restart_policy = ON_CRASH
    await run(client, request)
    await run(client, start_machine("off"))

    async def ended() -> bool:
        return bool(await told(client, "off", "MACHINE_STOPPED_BY_GUEST"))

    await see(ended, "the power off was told")
    assert (await machine(client, "off")).state == STOPPED
    assert not {"MACHINE_CRASHED", "MACHINE_RESTART_DUE"}.intersection(await told(client, "off"))


async def ends_while_the_agent_is_away(client: Client, site: Site) -> None:
    """A guest that is killed while the agent is dead is recorded as running until the next agent tells of it."""
    await run(client, start_machine("db"))
    site.kill("s1")
    await crash(client, "db")
    # As long as nobody tells, nothing is guessed.
    assert (await machine(client, "db")).state == RUNNING
    site.start("s1")

    async def crashed() -> bool:
        return len(await told(client, "db", "MACHINE_CRASHED")) == 2

    await see(crashed, "the crash was told by the next agent")
    assert (await machine(client, "db")).state == STOPPED


async def test_storage_that_goes_is_told_and_that_comes_back() -> None:
    """A repository that is unmounted, and one whose folder goes while its agents are away: told once, and shown."""
    with (
        open_site("embedded", ("s1", "s2")) as site,
        bound(site.folder / "storage", site.shared / "mounted") as (mount, unmount),
    ):
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_repository(site, "mounted"))
            for name in ("servers/s1", "servers/s2"):
                await watched_for(client, name, "repositories/mounted", "repositories/shared")
            await storage_goes_and_comes(client, mount, unmount)
            await folder_goes_while_the_agent_is_away(client, site)


@pytest.mark.qemu
async def test_links_that_break_are_told_and_those_that_are_mended() -> None:
    """A cable that breaks between two servers is told by both; a network that a job deletes has not gone down."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu is not installed")
    with (
        wired() as wires,
        open_site("embedded", ("s1", "s2"), driver="qemu", homes=wires.homes, namespaces=wires.namespaces) as site,
    ):
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_network(UPLINK))
            await links_go_and_come(client, wires)


@contextmanager
def bound(behind: Path, place: Path) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Mount a folder at a place, which others see too, and yield what mounts it again and what unmounts it."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for folder in (behind, place):
        folder.mkdir()

    def mount() -> None:
        subprocess.run(["mount", "--bind", str(behind), str(place)], check=True)

    def unmount() -> None:
        subprocess.run(["umount", str(place)], check=True)

    mount()
    try:
        yield mount, unmount
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, stderr=subprocess.DEVNULL)


async def server(client: Client, name: str) -> server_pb2.Server:
    """Return a server as it is now."""
    servers: list[server_pb2.Server] = await list_objects(client, "Servers")
    return next(each for each in servers if each.name == name)


async def repository(client: Client, name: str) -> repository_pb2.Repository:
    """Return a repository as it is now."""
    repositories: list[repository_pb2.Repository] = await list_objects(client, "Repositories")
    return next(each for each in repositories if each.name == f"repositories/{name}")


async def of(client: Client, name: str, *kinds: str) -> list[str]:
    """Return those types of an object's events, in order, that are asked for."""
    return [event.type for event in await listed(client, f'object = "{name}"') if event.type in kinds]


async def watched_for(client: Client, name: str, *wanted: str) -> None:
    """Wait until an agent has been told to watch these repositories, and has looked at them."""

    async def looked() -> bool:
        found = (await server(client, name)).observed.repositories
        return {each.repository for each in found if each.state == server_pb2.STORAGE_STATE_PRESENT} == set(wanted)

    await see(looked, f"{name} watches {', '.join(wanted)}")


async def storage_goes_and_comes(client: Client, mount: Callable[[], None], unmount: Callable[[], None]) -> None:
    """Unmounted for both servers the repository is unavailable, and a disk in it is refused for that reason."""
    kinds = ("STORAGE_LOST", "STORAGE_BACK")
    unmount()

    async def lost() -> bool:
        return len((await repository(client, "mounted")).lost_servers) == 2

    await see(lost, "the storage was seen to be lost by both servers")
    assert (await repository(client, "mounted")).state == repository_pb2.REPOSITORY_STATE_UNAVAILABLE
    assert await of(client, "repositories/mounted", *kinds) == ["STORAGE_LOST", "STORAGE_LOST"]
    refused = await run_refused(client, create_machine_on("mounted"))
    assert "repositories/mounted is unavailable; it must be ready" in refused
    mount()

    async def back() -> bool:
        return await of(client, "repositories/mounted", *kinds) == ["STORAGE_LOST", "STORAGE_LOST", "STORAGE_BACK"]

    await see(back, "the storage was told to be back")
    after = await repository(client, "mounted")
    assert (list(after.lost_servers), after.state) == ([], repository_pb2.REPOSITORY_STATE_READY)
    assert await of(client, "repositories/shared", *kinds) == []


async def links_go_and_come(client: Client, wires: Wired) -> None:
    """An uplink that is switched off on one server takes the carrier from the other's."""
    kinds = ("LINK_DOWN", "LINK_UP")
    for name in ("servers/s1", "servers/s2"):

        async def up(name: str = name) -> bool:
            links = (await server(client, name)).observed.links
            return {each.kind for each in links if each.state == server_pb2.LINK_STATE_UP} == BOTH

        await see(up, f"the links of {name} are watched")
    ip("-n", wires.namespaces["s2"], "link", "set", UPLINK, "down")
    for name in ("servers/s1", "servers/s2"):

        async def down(name: str = name) -> bool:
            return await of(client, name, *kinds) == ["LINK_DOWN"]

        await see(down, f"the broken link of {name} was told")
    (event,) = await listed(client, 'object = "servers/s1" AND type = LINK_DOWN')
    assert event.message == f"{UPLINK} of servers/s1, the uplink of networks/lan, is down"
    ip("-n", wires.namespaces["s2"], "link", "set", UPLINK, "up")
    for name in ("servers/s1", "servers/s2"):

        async def again(name: str = name) -> bool:
            return await of(client, name, *kinds) == ["LINK_DOWN", "LINK_UP"]

        await see(again, f"the mended link of {name} was told")
    # What a job takes away has not gone down.
    await run(client, delete_network_pb2.DeleteNetworkRequest(name="networks/lan"))

    async def gone() -> bool:
        return not (await server(client, "servers/s1")).observed.links

    await see(gone, "the links of the deleted network are watched no more")
    assert await of(client, "servers/s1", *kinds) == ["LINK_DOWN", "LINK_UP"]


async def folder_goes_while_the_agent_is_away(client: Client, site: Site) -> None:
    """What an agent finds at its start otherwise than it was last reported has happened meanwhile."""
    kinds = ("STORAGE_LOST", "STORAGE_BACK")
    before = await of(client, "repositories/shared", *kinds)
    site.kill("s1")
    site.kill("s2")
    (site.shared / "shared").rename(site.folder / "aside")
    site.start("s1")

    async def lost() -> bool:
        return list((await repository(client, "shared")).lost_servers) == ["servers/s1"]

    await see(lost, "the storage was told to be lost by the next agent")
    assert (await repository(client, "shared")).state == repository_pb2.REPOSITORY_STATE_READY, "s2 is not asked"
    (site.folder / "aside").rename(site.shared / "shared")

    async def back() -> bool:
        return await of(client, "repositories/shared", *kinds) == [*before, "STORAGE_LOST", "STORAGE_BACK"]

    await see(back, "the folder was told to be back")


def create_machine_on(where: str) -> create_virtual_disk_pb2.CreateVirtualDiskRequest:
    """Return the request for a disk in a repository."""
    return create_virtual_disk_pb2.CreateVirtualDiskRequest(
        virtual_disk_id="data",
        virtual_disk=virtual_disk_pb2.VirtualDisk(repository=f"repositories/{where}", size_bytes=4 * MIB),
    )


async def run_refused(client: Client, request: Any) -> str:
    """See a request be refused, and return the words."""
    with pytest.raises(ClientError) as refused:
        await ask(client, request)
    return str(refused.value)


async def test_simulated_hosts_have_crashes_and_power_offs_too() -> None:
    """By their settings, and the command line sets the policy: one crash is one restart, a power off is none."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            words = ["vm", "create", "web", "--server-pool", "pool", "--memory", "64M", "--cpus", "1"]
            line = [PROGRAM, *words, "--restart-policy", "on-crash", "--context", str(site.context)]
            made = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
            assert (await machine(client, "web")).restart_policy == ON_CRASH
            await run(client, start_machine("web"))
            await wait_unlocked(client)
            before = await machine(client, "web")
            (settings,) = (path.parent / "settings.json" for path in site.folder.rglob("guests"))
            settings.write_text(json.dumps({"crash": [before.placement.run]}))

            async def crashed() -> bool:
                return bool(await told(client, "web", "MACHINE_CRASHED"))

            await see(crashed, "the simulated crash was told")

            async def again() -> bool:
                return (await told(client, "web")).count("MACHINE_STARTED") >= 2

            await see(again, "the simulated machine ran again")
            await wait_unlocked(client)
            settings.write_text(json.dumps({"power_off": [before.uid]}))

            async def off() -> bool:
                return (await told(client, "web"))[-1] == "MACHINE_STOPPED_BY_GUEST"

            await see(off, "the simulated power off was told")
            assert (await machine(client, "web")).state == STOPPED
