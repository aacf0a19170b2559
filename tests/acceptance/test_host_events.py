"""What happens to guests by itself: real ones that are killed or power off, with and without an agent beside them.

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
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.acceptance.asking import (
    create_machine,
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
from virtyard.agent.drivers.hypervisor.trial import stub
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2, kill_virtual_machine_pb2
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(240)

RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
STOPPED = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
ON_CRASH = virtual_machine_pb2.RESTART_POLICY_ON_CRASH
NEVER = virtual_machine_pb2.RESTART_POLICY_NEVER
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
            (guests,) = site.folder.rglob("guests")
            assert len(list(guests.iterdir())) == 1, "what ended is kept while its machine is there"
            await wait_unlocked(client)
            await run(client, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))

            async def forgotten() -> bool:
                return not list(guests.iterdir())

            await see(forgotten, "nothing of the deleted machine was left on its host")
