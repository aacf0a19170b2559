"""kill -9 of every process, inside named steps of Create Virtual Machine: it is started again, and all comes out once.

A process is told the durable transition at which it kills itself, so the moment is exact: right after the commit,
before anybody hears of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from tests.acceptance.asking import (
    SUCCEEDED,
    create_machine,
    list_jobs,
    list_objects,
    new_disk,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.killing import done_twice, run_through_the_kill
from tests.acceptance.site import Site, open_site
from tools import guest
from virtyard.api.inventory.v1 import virtual_machine_pb2

pytestmark = pytest.mark.timeout(240)

KILLS = {
    "jobs": {
        "jobs.C1": "Create Virtual Machine is accepted, and its answer is lost",
        "jobs.C2": "'Record the machine' is intended and not sent",
        "jobs.Ck": "'Make the disk's image' is intended and not sent",
    },
    "locks": {
        "locks.L1": "the locks are granted, and the answer is lost",
        "locks.L1#2": "the locks of the machine's start are granted, and the answer is lost",
        "locks.L2": "the locks are released, and the answer is lost",
    },
    "inventory": {
        "inventory.I": "'Record the machine' is written, and the answer is lost",
        "inventory.I#2": "'Record the disk' is written, and the answer is lost",
        "inventory.I#3": "'Plug in the card' is written, and the answer is lost",
    },
    "s1": {
        "agent.A1": "'Make the disk's image' of the first disk is accepted and not begun",
        "agent.A2": "'Make the disk's image' of the first disk is done, and the answer is lost",
        "agent.A1#2": "'Make the disk's image' of the second disk is accepted and not begun",
    },
    "up": {
        "jobs.C2": "'Record the machine' is intended and not sent; inventory and locks die with the scheduler",
        "inventory.I#2": "'Record the disk' is written; nobody is left to hear of it",
        "jobs.Ct": "the operation has ended, and its locks are due to be released",
    },
}
"""By process: the transition at which it dies, and which step of the plan that hits."""


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
            for number, transition in enumerate(KILLS[victim]):
                site.stop(victim)
                site.start(victim, kill_at=transition)
                disks = [new_disk(8), new_disk(8)]
                request = create_machine(site, f"m{number}", disks, cards=1, memory_mib=96, boot=source)
                # The victim of a later transition dies at the machine's start.
                start = partial(run, client, start_machine(f"m{number}"))
                story = await run_through_the_kill(site, client, (victim,), request, then=start)
                assert story.state == SUCCEEDED, (transition, story.error)
                jobs = await list_jobs(client, story.name)
                assert [job.display_state for job in jobs] == [1] * 7, transition
                assert len(site.images()) == 2 * (number + 1), transition
                assert len(site.guests()) == number + 1, transition
            machines = await list_objects(client, "VirtualMachines")
            assert [list(machine.virtual_disks) for machine in machines] == [
                [f"virtualDisks/m{number}-disk{disk}" for disk in range(2)] for number in range(3)
            ]
            await wait_unlocked(client)
        for name in (*site.control_plane, "s1"):
            site.stop(name)
        assert not done_twice(site), "one effect for each step key"


def _boot_source(site: Site, boot: guest.Guest | None) -> virtual_machine_pb2.BootSource | None:
    if boot is None:
        return None
    kernel, initrd = (shutil.copy(path, site.shared) for path in (boot.kernel, boot.initrd))
    return virtual_machine_pb2.BootSource(
        kernel_path=str(kernel), initrd_path=str(initrd), kernel_arguments=boot.kernel_arguments
    )
