"""The console as a person uses it, by mouse and by keys: forms, pages of objects, and the navigation tree."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.asking import (
    FAILED,
    create_machine,
    create_pool,
    create_repository,
    import_image,
    iso_file,
    list_objects,
    new_disk,
    run,
    start_machine,
)
from tests.acceptance.console.chromium import build_console, play, play_with_cues
from tests.acceptance.site import PROGRAM, Site, open_site
from virtyard.api.inventory.v1 import network_pb2, schedule_pb2, server_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import (
    create_network_pb2,
    delete_virtual_machine_pb2,
    discover_server_pb2,
    rename_virtual_machine_pb2,
    stop_virtual_machine_pb2,
)
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a site with a pool of one server, a machine that runs there, and two servers that are in no pool."""
    build_console()
    with open_site(servers=("s1", "s2", "s3"), nursed=True) as opened:
        asyncio.run(fill(opened))
        words = [PROGRAM, "lock", "take", "networks/lan", "--purpose", "a backup", "--for", "2h"]
        environment = {**os.environ, "VIRTYARD_CONTEXT": str(opened.context)}
        subprocess.run(words, env=environment, check=True, capture_output=True)
        yield opened


async def fill(site: Site) -> None:
    """Make what the pages are to show; one job of the running machine has failed."""
    async with site.client() as client:
        for server in ("s1", "s2", "s3"):
            found = server_pb2.Server(agent_address=site.addresses[server])
            await run(client, discover_server_pb2.DiscoverServerRequest(server_id=server, server=found))
        await run(client, create_pool(site, "pool", ["s1"]))
        await run(client, create_repository(site, "shared"))
        await run(client, import_image(site, "installer", iso=True))
        lan = create_network_pb2.CreateNetworkRequest(
            network_id="lan", network=network_pb2.Network(), servers=["servers/s1"]
        )
        await run(client, lan)
        await run(client, create_machine(site, "web", [new_disk(8)], 1))
        await run(client, create_machine(site, "still"))
        await run(client, start_machine("web"))
        await fail_once(site, client)


async def fail_once(site: Site, client: Client) -> None:
    """Have a job of the running machine fail, which raises an event."""
    site.fail_file.write_text("1/1")
    name = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name="other")
    await run(client, name, ended=FAILED)
    site.fail_file.unlink()


def test_forms_are_filled_in_by_their_widgets_and_show_their_plan_before_they_run(site: Site) -> None:
    """References are searched for, lists grow and move, what is wrong gets the focus; what was shown is made."""
    said = play("widgets.mjs", site, 800, shared=str(site.shared), iso=iso_file(site))["said"]
    assert not said["submitted"]
    assert_planned(
        said["pool"],
        jobs=["Create Server Pool serverPools/accounts", "Create Cluster clusters/accounts", "Join Cluster servers/s3"],
        locks=["serverPools/accounts X", "servers/s2 X", "servers/s3 X"],
        servers="servers/s2 servers/s3",
    )
    assert_planned(
        said["machine"],
        jobs=["Create Virtual Machine virtualMachines/ledger", "Create VNIC on Virtual Machine vnics/ledger-vnic0"],
        locks=["repositories/shared IX", "virtualDisks/ledger-disk1 X", "virtualMachines/ledger X"],
        servers="servers/s1",
    )
    machine = "virtualMachines/ledger X"
    assert_planned(said["labels"], jobs=["Update Virtual Machine virtualMachines/ledger"], locks=[machine])
    assert_planned(said["schedule"], jobs=["Create Schedule schedules/nightly"], locks=["schedules/nightly X"])
    image = ["images/rescue X", "repositories/shared IX"]
    assert_planned(said["image"], jobs=["Import Image images/rescue"], locks=image, servers="servers/s1")
    asyncio.run(assert_made(site))


def assert_planned(shown: dict[str, str], jobs: list[str], locks: list[str], servers: str = "") -> None:
    """Assert that a plan, as it was shown, has these jobs and locks, and just these servers."""
    assert [job for job in jobs if job not in shown["Jobs"]] == []
    assert [lock for lock in locks if lock not in shown["Locks"]] == []
    assert shown.get("Servers", "") == servers


async def assert_made(site: Site) -> None:
    """Assert that what was filled in is what there is."""
    async with site.client() as client:
        pools, machines, disks, schedules, images = [
            {item.name: item for item in await list_objects(client, noun)}
            for noun in ("ServerPools", "VirtualMachines", "VirtualDisks", "Schedules", "Images")
        ]
    assert list(pools["serverPools/accounts"].servers) == ["servers/s2", "servers/s3"]
    assert pools["serverPools/accounts"].clustered
    machine = machines["virtualMachines/ledger"]
    assert (machine.memory_bytes, machine.cpus) == (64 << 20, 2)
    assert list(machine.boot.boot_order) == [virtual_machine_pb2.BOOT_DEVICE_DISK]
    assert dict(machine.labels) == {"team": "value 1", "cost": "value 2"}
    first, second = (disks[name] for name in machine.virtual_disks)
    assert (first.size_bytes, first.allocation) == (16 << 20, virtual_disk_pb2.DISK_ALLOCATION_FULL), "it was moved up"
    assert second.size_bytes == 8 << 20
    schedule = schedules["schedules/nightly"]
    assert (schedule.cron, schedule.time_zone, schedule.jitter_seconds) == ("30 2 * * *", "Europe/Vienna", 300)
    assert schedule.overlap == schedule_pb2.OVERLAP_POLICY_QUEUE
    stop = stop_virtual_machine_pb2.StopVirtualMachineRequest()
    assert schedule.request.Unpack(stop)
    assert stop.name == machine.name
    assert "images/rescue" not in images, "it was only previewed"


def test_pages_of_objects_say_what_can_be_done_and_follow_what_is(site: Site) -> None:
    """What is allowed costs no call, and why the rest is not, one where it is asked; no news is lost in a sleep."""

    def rename(word: str) -> None:
        name = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name=word)
        asyncio.run(change(site, name))

    cues = {
        "come": lambda: asyncio.run(change(site, create_machine(site, "another"))),
        "go": lambda: asyncio.run(
            change(site, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/another"))
        ),
        "asleep": lambda: rename("Renamed in its sleep"),
        "stopped": lambda: rename("Renamed while it stood still"),
    }
    found = play_with_cues("object_pages.mjs", site, cues)
    said = found["said"]
    assert found["findings"] == []
    assert said["asked"] == [], "a page that is opened asks for no preview"
    assert "running; it must be stopped" in said["start"]
    assert said["told"] == 1, "to who cannot see it, too"
    assert said["address"] == "/objects/virtualMachines/web", "what is not allowed leads nowhere"
    assert "running; it must be stopped" in said["plug"]
    assert said["askedThen"] == ["StartVirtualMachine", "AddVnic"]
    assert "Rename Virtual Machine" in said["Jobs"]
    assert "JOB_FAILED" in said["Events"]
    assert "a backup" in said["Locks"]
    assert [kind for kind, name in SEEN.items() if name not in said["collections"][kind]] == []
    assert said["selected"] == "virtualMachines/still"
    assert said["focused"] == "tree"
    assert said["stopped"] >= 1, "no process was found that draws the page"
    assert said["sameDocument"]


SEEN = {
    "serverPools": "pool",
    "servers": "s3",
    "virtualMachines": "still",
    "repositories": "shared",
    "networks": "lan",
}
"""A collection's page, and something that it shows."""


async def change(site: Site, *requests: Any) -> None:
    """Have operations done, one after another."""
    async with site.client() as client:
        for request in requests:
            await run(client, request)
