"""The console's forms in a real browser: every operation type has one, and a newcomer comes by them to a machine."""

from __future__ import annotations

import asyncio
import platform
import shutil
from pathlib import Path

import pytest

from tests.acceptance import boot_images
from tests.acceptance.asking import LIMIT, create_machine, import_image, new_disk, prepare, run
from tests.acceptance.console.chromium import build_console, play
from tests.acceptance.site import Site, open_site
from tests.examples import create_webhook
from virtyard.api.inventory.v1 import filter_pb2, network_pb2, schedule_pb2, trigger_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import (
    create_filter_pb2,
    create_network_pb2,
    create_schedule_pb2,
    create_trigger_pb2,
    operation_service_pb2,
    refresh_server_pb2,
)
from virtyard.api.type.v1.annotations_pb2 import field_hint, method_hint

pytestmark = pytest.mark.timeout(900)

NONCE = "NONCE-OF-A-NEWCOMER"
SEEN_IN_BOTH_THEMES = ["CreateVirtualMachine", "CreateSchedule", "UpdateServer"]
OBJECTS = {
    "Server": "servers/s1",
    "ServerPool": "serverPools/pool",
    "Cluster": "clusters/pool",
    "HeartbeatDevice": "heartbeatDevices/pool",
    "Repository": "repositories/shared",
    "VirtualDisk": "virtualDisks/web-disk0",
    "VirtualMachine": "virtualMachines/web",
    "Vnic": "vnics/web-vnic0",
    "Network": "networks/lan",
    "Image": "images/installer",
    "Trigger": "triggers/look",
    "Schedule": "schedules/nightly",
    "Filter": "filters/calm",
    "Webhook": "webhooks/pager",
}
"""An object of each kind that can be changed."""


def test_every_operation_type_has_a_form_that_everybody_can_use() -> None:
    """Each opens with all of its fields unfolded; axe finds nothing serious; none is asked for as JSON."""
    build_console()
    with open_site("embedded", ("s1",)) as site:
        asyncio.run(fill(site))
        operations = [
            {"name": name, "title": title, "object": changed} for name, title, changed in sorted(operation_types())
        ]
        found = play(
            "forms.mjs", site, 800, operations=operations, dark=SEEN_IN_BOTH_THEMES, doomed=OBJECTS["VirtualMachine"]
        )
    assert found["findings"] == []
    assert {form["name"] for form in found["said"]} == {operation["name"] for operation in operations}
    assert [form for form in found["said"] if form["json"] or not form["fields"]] == []


@pytest.mark.qemu
def test_a_newcomer_comes_from_an_empty_site_to_a_machine_and_its_console(tmp_path: Path) -> None:
    """By the first-run page alone; a wrong field says so; a double click and a lost answer run nothing twice."""
    if shutil.which("qemu-img") is None or platform.machine() != "x86_64":
        pytest.skip("a PC's boot sector needs qemu on x86_64")
    build_console()
    image = tmp_path / "disk.raw"
    image.write_bytes(boot_images.disk(NONCE))
    with open_site("embedded", ("s1",), driver="qemu") as site:
        found = play(
            "first_run.mjs",
            site,
            600,
            server="s1",
            agentAddress=site.addresses["s1"],
            repositoryPath=str(site.shared / "disks"),
            image=str(image),
            nonce=NONCE,
        )
        titles = asyncio.run(asked_for(site))
    assert found["findings"] == []
    assert NONCE in found["saved"]
    assert [titles.count(title) for title in ("Discover Server", "Create Repository")] == [1, 1]


async def fill(site: Site) -> None:
    """Make an object of each kind."""
    image = site.shared / "installer.iso"
    image.write_bytes(boot_images.cdrom(NONCE))
    refresh = refresh_server_pb2.RefreshServerRequest(name="servers/s1")
    trigger = trigger_pb2.Trigger(event_filter="type = SERVER_ONLINE")
    trigger.request.Pack(refresh)
    schedule = schedule_pb2.Schedule(cron="30 2 * * *")
    schedule.request.Pack(refresh)
    calm = filter_pb2.Filter(
        matches="title = nothing", action=filter_pb2.FILTER_ACTION_PAUSE, state=filter_pb2.FILTER_STATE_DISABLED
    )
    async with site.client() as client, asyncio.timeout(3 * LIMIT):
        await prepare(site, client, clustered=True)
        await run(client, import_image(site, "installer", iso=True, path=str(image)))
        await run(client, create_machine(site, "web", [new_disk(8)], 1))
        network = create_network_pb2.CreateNetworkRequest(
            network_id="lan", network=network_pb2.Network(), servers=["servers/s1"]
        )
        await run(client, network)
        await run(client, create_trigger_pb2.CreateTriggerRequest(trigger_id="look", trigger=trigger))
        await run(client, create_schedule_pb2.CreateScheduleRequest(schedule_id="nightly", schedule=schedule))
        await run(client, create_filter_pb2.CreateFilterRequest(filter_id="calm", filter=calm))
        await run(client, create_webhook.request("pager", event_filter="type = FOREIGN_FILE"))


async def asked_for(site: Site) -> list[str]:
    """Return the titles of all jobs."""
    async with site.client() as client:
        answer = await client.jobs.ListJobs(job_service_pb2.ListJobsRequest())
    return [job.title for job in answer.jobs]


def operation_types() -> list[tuple[str, str, str]]:
    """Return name and title of each operation type, and the object that its form changes; empty if it changes none."""
    found = []
    for method in operation_service_pb2.DESCRIPTOR.services_by_name["OperationService"].methods:
        changed = [field for field in method.input_type.fields if field.GetOptions().Extensions[field_hint].settable]
        message = changed[0].message_type if changed else None
        about = OBJECTS[message.name] if message is not None else ""
        found.append((method.name, method.GetOptions().Extensions[method_hint].title, about))
    return found
