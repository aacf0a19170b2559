"""A guest's own shutdown: a real guest goes down and boots again, and a stop that hangs gives way to a kill."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.asking import (
    FAILED,
    LIMIT,
    ask,
    create_machine,
    list_jobs,
    list_locks,
    list_objects,
    new_disk,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from tools import guest
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import (
    edit_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    restart_virtual_machine_pb2,
    stop_virtual_machine_pb2,
)
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(180)

WEB = "virtualMachines/web"
Stop = stop_virtual_machine_pb2.StopVirtualMachineRequest
Restart = restart_virtual_machine_pb2.RestartVirtualMachineRequest
RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
STOPPED = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED


async def machine(client: Client) -> virtual_machine_pb2.VirtualMachine:
    """The one machine as it is now."""
    found: list[virtual_machine_pb2.VirtualMachine] = await list_objects(client, "VirtualMachines")
    return found[0]


async def said(log: Path, words: str, times: int = 1) -> None:
    """Wait until a guest has said something so often."""
    async with asyncio.timeout(LIMIT):
        while log.read_text(errors="replace").count(words) < times:
            await asyncio.sleep(0.05)


def make_deaf(site: Site) -> None:
    """Let no guest of the site's server ever shut down."""
    (settings,) = (path.parent / "settings.json" for path in site.folder.rglob("guests"))
    settings.write_text(json.dumps({"shutdown_seconds": 3600}))


@pytest.mark.qemu
async def test_a_real_guest_restarts_and_stops() -> None:
    """It hears its power button: the same process boots again, then ends; deaf, it is refused, reset and ended."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu is not installed")
    try:
        made = guest.make_guest()
    except guest.GuestUnavailableError as error:
        pytest.skip(f"no kernel to boot: {error}")
    with open_site("embedded", ("s1",), driver="qemu") as site:
        kernel, initrd = (shutil.copy(path, site.shared) for path in (made.kernel, made.initrd))
        boot = virtual_machine_pb2.BootSource(
            kernel_path=str(kernel), initrd_path=str(initrd), kernel_arguments=made.kernel_arguments
        )
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "web", [new_disk(4)], memory_mib=96, boot=boot))
            await run(client, start_machine("web"))
            before = (await machine(client)).placement
            log = Path(before.serial_log_path)
            # By its second tick a guest listens to its power button.
            await said(log, "TICK 2")

            await run(client, Restart(name=WEB))
            after = await machine(client)
            assert (after.state, after.placement) == (RUNNING, before)
            await said(log, "SHUTTING DOWN")
            await said(log, "TICK 2", 2)
            assert len(site.guests()) == 1

            await run(client, Stop(name=WEB))
            assert (await machine(client)).state == STOPPED
            assert site.guests() == []

            boot.kernel_arguments += " virtyard.deaf"
            await run(client, edited(boot))
            await run(client, start_machine("web"))
            log = Path((await machine(client)).placement.serial_log_path)
            await said(log, "TICK")
            refused = await run(client, Stop(name=WEB, grace_seconds=1), ended=FAILED)
            assert refused.error is not None
            assert "did not shut down within 1 s" in refused.error.message
            assert (await machine(client)).state == RUNNING
            await run(client, Restart(name=WEB, grace_seconds=1, force=True))
            await said(log, "VIRTYARD nonce", 2)
            await run(client, Stop(name=WEB, grace_seconds=1, force=True))
            assert (await machine(client)).state == STOPPED
            assert site.guests() == []


def edited(boot: virtual_machine_pb2.BootSource) -> edit_virtual_machine_pb2.EditVirtualMachineRequest:
    """The request that gives the stopped machine another boot source."""
    return edit_virtual_machine_pb2.EditVirtualMachineRequest(
        virtual_machine=virtual_machine_pb2.VirtualMachine(name=WEB, boot=boot)
    )


@pytest.mark.parametrize("request_type", [Stop, Restart])
async def test_a_hanging_stop_gives_way_to_a_kill(request_type: type[Stop | Restart]) -> None:
    """The kill does not wait: the stop ends CANCELLED and names it, and nothing of it is put back."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "web"))
            await run(client, start_machine("web"))
            make_deaf(site)
            stopping = await ask(client, request_type(name=WEB, grace_seconds=3600))
            await until_running(client, stopping.name)
            killed = await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name=WEB))
            ended = await client.wait(stopping.name, timeout=LIMIT)
            assert ended.state == operation_pb2.OPERATION_STATE_CANCELLED
            assert ended.error is not None
            assert ended.error.message == f"superseded by {killed.name}"
            assert [job.state for job in await list_jobs(client, stopping.name)] == [job_pb2.JOB_STATE_ABORTED]
            assert (await machine(client)).state == STOPPED
            await wait_unlocked(client)
            assert site.guests() == []


async def test_an_aborted_stop_leaves_the_guest_running() -> None:
    """Aborted while it waits, the stop takes itself back, and the machine can be stopped once it listens."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "web"))
            await run(client, start_machine("web"))
            make_deaf(site)
            stopping = await ask(client, Stop(name=WEB, grace_seconds=3600))
            await until_running(client, stopping.name)
            (job,) = await list_jobs(client, stopping.name)
            await client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job.name))
            assert (await client.wait(stopping.name, timeout=LIMIT)).state == operation_pb2.OPERATION_STATE_CANCELLED
            assert (await machine(client)).state == RUNNING
            assert len(site.guests()) == 1
            assert not await list_locks(client)
            await run(client, Stop(name=WEB, grace_seconds=1, force=True))
            assert (await machine(client)).state == STOPPED


async def until_running(client: Client, operation: str) -> None:
    """Wait until the operation's job runs."""
    async with asyncio.timeout(LIMIT):
        while (await list_jobs(client, operation))[0].state != job_pb2.JOB_STATE_RUNNING:
            await asyncio.sleep(0.02)
