"""kill -9 of every process, inside named steps of Create Virtual Machine: it is started again, and all comes out once.

A process is told the durable transition, and the step of the plan, at which it kills itself, so the moment is exact:
right after the commit, before anybody hears of it. While it is dead, the databases say which step was under way.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.acceptance.asking import (
    LIMIT,
    SUCCEEDED,
    create_machine,
    list_jobs,
    list_objects,
    new_disk,
    prepare,
    run,
    start_machine,
    until,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from tests.faults.killing import (
    ask_until_answered,
    done_twice,
    ledger_states,
    run_through_the_kill,
    steps_in_flight,
)
from tools import guest
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard_client.client import Client
from virtyard_client.story import Story

pytestmark = pytest.mark.timeout(240)

RUNNING, DONE = participant.EFFECT_STATE_RUNNING, participant.EFFECT_STATE_DONE
DISKS = 3
TITLES = ["Create Virtual Machine", "Add Virtual Machine to Server Pool"]
TITLES += ["Create Virtual Disk", "Add Virtual Disk to Virtual Machine"] * DISKS + ["Create VNIC on Virtual Machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a process dies: inside which step, and what the step's participant has of it."""

    at: str
    """The transition and the step; for `locks`, at which the step's participant stands still while locks dies."""
    title: str
    """The step."""
    ledger: tuple[int, ...]
    """The states of its attempts in the ledger of its participant."""

    @property
    def participant(self) -> str:
        """The process that carries the step out."""
        return "s1" if self.title == "Make the disk's image" else "inventory"


def _moment(at: str, title: str, *ledger: int) -> Moment:
    return Moment(at=at, title=title, ledger=ledger)


KILLS = {
    "jobs": [
        _moment("jobs.C2@1/1", "Record the machine"),
        _moment("jobs.Ck@5/1", "Make the disk's image"),
        _moment("jobs.Ck@9/1", "Plug in the card"),
    ],
    "locks": [
        _moment("inventory.I@1/1", "Record the machine", DONE),
        _moment("agent.A1@3/1", "Make the disk's image", RUNNING),
        _moment("inventory.I@9/1", "Plug in the card", DONE),
    ],
    "inventory": [
        _moment("inventory.I@1/1", "Record the machine", DONE),
        _moment("inventory.I@3/2", "Record the disk", DONE),
        _moment("inventory.I@9/1", "Plug in the card", DONE),
    ],
    "s1": [
        _moment("agent.A1@3/1", "Make the disk's image", RUNNING),
        _moment("agent.acted@5/1", "Make the disk's image", RUNNING),
        _moment("agent.A2@7/1", "Make the disk's image", DONE),
    ],
    "up": [
        _moment("jobs.C2@1/1", "Record the machine"),
        _moment("inventory.I@3/2", "Record the disk", DONE),
        _moment("jobs.Ck@7/1", "Make the disk's image"),
    ],
}
"""By process: inside which three steps it is killed. With `up` the inventory, locks and the scheduler die together."""


@pytest.fixture
def boot(driver: str) -> Iterator[guest.Guest | None]:
    """What machines boot: a real kernel for QEMU, nothing real on simulated hosts."""
    if driver == "sim":
        yield None
        return
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu is not installed")
    try:
        yield guest.make_guest()
    except guest.GuestUnavailableError as error:
        pytest.skip(f"no kernel to boot: {error}")


@pytest.mark.parametrize(
    ("victim", "driver"),
    [(victim, "sim") for victim in KILLS]
    + [pytest.param(victim, "qemu", marks=pytest.mark.qemu) for victim in KILLS if victim != "up"],
)
async def test_a_machine_is_made_once_whoever_is_killed(victim: str, driver: str, boot: guest.Guest | None) -> None:
    """Killed inside three steps, each comes back to SUCCEEDED, its disks, one guest, and one effect for each step."""
    with open_site("embedded" if victim == "up" else "split", ("s1",), driver=driver) as site:
        source = _boot_source(site, boot)
        async with site.client() as client:
            await prepare(site, client)
            requests = [
                create_machine(site, name, [new_disk(8) for _ in range(DISKS)], cards=1, memory_mib=96, boot=source)
                for name in ("undisturbed", *(f"m{number}" for number in range(3)))
            ]
            await run(client, requests[0])
            await run(client, start_machine("undisturbed"))
            await wait_unlocked(client)
            for number, moment in enumerate(KILLS[victim], 1):
                kill = kill_locks if victim == "locks" else kill_itself
                story = await kill(site, client, victim, moment, requests[number])
                assert story.state == SUCCEEDED, (moment, story.error)
                jobs = await list_jobs(client, story.name)
                assert [(job.title, job.display_state) for job in jobs] == [(title, 1) for title in TITLES], moment
                await run(client, start_machine(f"m{number - 1}"))
                assert len(site.images()) == DISKS * (number + 1), moment
                assert len(site.guests()) == number + 1, moment
                await wait_unlocked(client)
            await _check_records(client)
        for name in (*site.control_plane, "s1"):
            site.stop(name)
        assert not done_twice(site), "one effect for each step key"


async def kill_itself(site: Site, client: Client, victim: str, moment: Moment, request: Any) -> Story:
    """Make a machine while the victim kills itself inside a step and is started again."""
    site.stop(victim)
    site.start(victim, kill_at=moment.at)
    return await run_through_the_kill(site, client, (victim,), request, died=partial(_check_in_flight, site, moment))


async def kill_locks(site: Site, client: Client, victim: str, moment: Moment, request: Any) -> Story:
    """Make a machine; while a step's participant stands still, kill the lock service, which is in no step itself."""
    site.stop(moment.participant)
    site.start(moment.participant, stop_at=moment.at)
    operation = await ask_until_answered(client, request)
    await asyncio.to_thread(until, lambda: site.is_stopped(moment.participant), LIMIT, f"{moment.at} is reached")
    try:
        site.kill(victim)
        _check_in_flight(site, moment)
        await asyncio.to_thread(site.start, victim)
        _check_in_flight(site, moment)
    finally:
        site.resume(moment.participant)
    return await client.wait(operation.name, timeout=LIMIT)


def _check_in_flight(site: Site, moment: Moment) -> None:
    """See in the files that exactly this step was under way, and how far its participant was."""
    reference = moment.at.partition("@")[2]
    ((step_key, title),) = [
        (key, title) for key, title in steps_in_flight(site).items() if key.partition("/")[2] == reference
    ]
    assert title == moment.title
    process = site.process_of(moment.participant) if moment.participant == "inventory" else moment.participant
    assert tuple(ledger_states(site, process, step_key)) == moment.ledger, (moment, step_key)


async def _check_records(client: Client) -> None:
    """See that every machine, disk and card was written as often as those that nobody disturbed."""
    machines = await list_objects(client, "VirtualMachines")
    assert [list(machine.virtual_disks) for machine in machines] == [
        [f"{machine.name.replace('Machines', 'Disks')}-disk{disk}" for disk in range(DISKS)] for machine in machines
    ]
    for noun, each in (("VirtualMachines", 1), ("VirtualDisks", DISKS), ("Vnics", 1)):
        found = await list_objects(client, noun)
        assert len(found) == each * len(machines)
        assert len({item.generation for item in found}) == 1, [(item.name, item.generation) for item in found]


def _boot_source(site: Site, boot: guest.Guest | None) -> virtual_machine_pb2.BootSource | None:
    if boot is None:
        return None
    kernel, initrd = (shutil.copy(path, site.shared) for path in (boot.kernel, boot.initrd))
    return virtual_machine_pb2.BootSource(
        kernel_path=str(kernel), initrd_path=str(initrd), kernel_arguments=boot.kernel_arguments
    )
