"""Events on a real site: lives that read as they went, over list and watch alike, and once whoever is killed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tests.acceptance.asking import (
    FAILED,
    LIMIT,
    ask,
    create_machine,
    new_disk,
    prepare,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from tests.acceptance.test_command_line import virtyard
from tests.faults.killing import run_through_the_kill
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2 as inventory
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import (
    delete_virtual_machine_pb2,
    edit_virtual_machine_pb2,
    stop_virtual_machine_pb2,
)
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.pki import Authority
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(240)

MACHINE = "virtualMachines/web"
_ITEMS = (watch_pb2.FRAME_KIND_SNAPSHOT, watch_pb2.FRAME_KIND_CHANGED)


async def listed(client: Client, text: str = "") -> list[event_pb2.Event]:
    """Return the events that match, in their order, read page by page."""
    found: list[event_pb2.Event] = []
    request = inventory.ListEventsRequest(filter=text, order_by="create_time", page_size=7)
    while True:
        page = await client.inventory.ListEvents(request)
        found += page.events
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@asynccontextmanager
async def watched(client: Client) -> AsyncIterator[list[event_pb2.Event]]:
    """Watch all events meanwhile, across cuts, and yield the list of those that came."""
    came: list[event_pb2.Event] = []

    async def follow() -> None:
        async for frame in client.watch_events():
            assert frame.kind != watch_pb2.FRAME_KIND_GAP
            if frame.revised:
                came[:] = [frame.event if event.name == frame.name else event for event in came]
            elif frame.kind in _ITEMS:
                came.append(frame.event)

    task = asyncio.create_task(follow())
    try:
        yield came
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_for(client: Client, kind: str, subject: str, seconds: float = 70.0) -> None:
    """Wait until an event of a type is there about an object."""
    async with asyncio.timeout(seconds):
        while not await listed(client, f"type = {kind} AND object = {subject}"):
            await asyncio.sleep(0.05)


async def same(client: Client, came: list[event_pb2.Event]) -> None:
    """Check that the watch is told what the list has, each once and in the same order."""
    async with asyncio.timeout(20):
        wanted = None
        while wanted is None:
            try:
                wanted = await listed(client)
            except ClientError as error:
                # The channel may still be in its pause after a kill.
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)
        while len(came) < len(wanted) or [event.open for event in came] != [event.open for event in wanted]:
            await asyncio.sleep(0.01)
    assert [event.name for event in came] == [event.name for event in wanted]
    assert came == wanted


def crash(site: Site, server: str) -> None:
    """Let every guest of a server end while its agent is away; a simulated one is its file."""
    files = [*(site.folder / "state").glob(f"**/{server}/**/guests/*.json")]
    assert files
    for file in files:
        file.write_text(json.dumps({**json.loads(file.read_text()), "ended": True, "end": "crashed"}))


async def test_a_life_reads_as_it_went_by_list_and_watch_alike() -> None:
    """A machine is made, edited, started, lost by a crash, run again and removed; its server goes and comes."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client, watched(client) as came:
            await prepare(site, client)
            await run(client, create_machine(site, "web", [new_disk(4)], cards=1))
            edit = edit_virtual_machine_pb2.EditVirtualMachineRequest()
            edit.virtual_machine.name, edit.virtual_machine.cpus = MACHINE, 2
            edit.update_mask.paths.append("cpus")
            await run(client, edit)
            await run(client, start_machine("web"))
            site.stop("s1")
            crash(site, "s1")
            await wait_for(client, "SERVER_OFFLINE", "servers/s1")
            site.start("s1")
            await wait_for(client, "MACHINE_CRASHED", MACHINE)
            await run(client, start_machine("web"))
            await run(client, stop_virtual_machine_pb2.StopVirtualMachineRequest(name=MACHINE))
            deleted = await run(client, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=MACHINE))
            await same(client, came)

            told = await listed(client, f'object = "{MACHINE}"')
            assert [(event.type, *event.changed_fields) for event in told] == [
                ("OBJECT_CREATED",),
                ("OBJECT_CHANGED", "server_pool"),
                ("OBJECT_CHANGED", "cpus"),
                ("MACHINE_STARTED",),
                ("MACHINE_CRASHED",),
                ("MACHINE_STARTED",),
                ("MACHINE_STOPPED",),
                ("OBJECT_DELETED",),
            ]
            assert [event.type for event in await listed(client, "object = servers/s1")] == [
                "OBJECT_CREATED",
                "SERVER_ADDED_TO_POOL",
                "SERVER_OFFLINE",
                "SERVER_ONLINE",
            ]
            assert {
                event.object.partition("/")[0] for event in await listed(client, f"operation = {deleted.name}")
            } == {
                "virtualMachines",
                "virtualDisks",
                "vnics",
            }
            grave = await listed(client, "severity >= WARNING")
            assert [event.type for event in grave] == ["SERVER_OFFLINE", "MACHINE_CRASHED"]
            counted = (
                await client.inventory.CountEvents(inventory.CountEventsRequest(filter=f"object = {MACHINE}"))
            ).counts
            assert {each.type: each.count for each in counted} == dict(Counter(event.type for event in told))


async def test_a_failure_is_told_with_what_was_taken_back() -> None:
    """A creation whose second disk fails: each event of it is undone by another, then the failure on its object."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            request = create_machine(site, "web", [new_disk(4), new_disk(4)])
            site.fail_file.write_text("5/2")
            story = await run(client, request, ended=FAILED)
            site.fail_file.unlink()
            await wait_for(client, "JOB_FAILED", "virtualDisks/web-disk1")
            told = await listed(client, f"operation = {story.name}")
            ends = [event for event in told if event.type == "JOB_FAILED"]
            (failed,) = [job for job in story.jobs.values() if job.name.endswith("-5")]
            assert told[-len(ends) :] == ends
            assert {(event.job, event.severity) for event in ends} == {(failed.name, event_pb2.SEVERITY_WARNING)}
            assert all(event.causes[0].message in event.message for event in ends)
            lives = told[: -len(ends)]
            done, undone = [each for each in lives if not each.undone], [each for each in lives if each.undone]
            assert [event.object for event in undone] == [event.object for event in reversed(done)]
            assert [event.type for event in undone] == [
                {"OBJECT_CREATED": "OBJECT_DELETED"}.get(event.type, event.type) for event in reversed(done)
            ]
            assert "virtualMachines/web" in {event.object for event in done}
            assert lives == [*done, *undone]


async def test_an_undo_that_is_refused_is_critical_until_it_is_done() -> None:
    """A host that cannot end the guest of a failed start: told on the machine, and again what became of it."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "web"))
            (state,) = {path.parent for path in (site.folder / "state").glob("**/s1/**/guests")}
            settings = state / "settings.json"
            settings.write_text(json.dumps({"refuse_kill": "the power switch is broken"}))
            site.fail_file.write_text("1/3")
            operation = await ask(client, start_machine("web"))
            await wait_for(client, "ROLLBACK_FAILED", MACHINE)
            (event,) = await listed(client, "severity = CRITICAL")
            assert "the power switch is broken" in event.message
            assert (event.operation, event.object) == (operation.name, MACHINE)
            await acknowledge_by_command(site, event)
            settings.unlink()
            site.fail_file.unlink()
            await client.jobs.RetryJob(job_service_pb2.RetryJobRequest(name=event.job))
            assert (await client.wait(operation.name, timeout=LIMIT)).state == FAILED
            await wait_for(client, "JOB_FAILED", MACHINE)
            told = await listed(client, f"operation = {operation.name}")
            types = [event.type for event in told]
            assert types == ["ROLLBACK_FAILED", "JOB_RETRIED", "JOB_FAILED"], "it never was told as started"
            stuck, _, failed = told
            assert [(each.open, each.cleared_by) for each in (stuck, failed)] == [(False, failed.name), (True, "")]
            seen = virtyard(site, "event", "acknowledge", failed.name, "--comment", "seen to")
            assert "seen to" in seen
            assert not await listed(client, "open = true")


async def acknowledge_by_command(site: Site, event: event_pb2.Event) -> None:
    """See that a person is told what still holds, and that the object shows it, by list, describe and triage."""
    number = event.name.rpartition("/")[2]
    refused = virtyard(site, "event", "acknowledge", number, "--comment", "never mind", code=2)
    assert "CONDITION_STILL_HOLDS" in refused
    assert f"{event.operation} is still open and holds" in refused
    assert event.name in virtyard(site, "event", "triage", MACHINE)
    assert "ROLLBACK_FAILED" in virtyard(site, "event", "list", "--within", "serverPools/pool")
    listed_machines = virtyard(site, "vm", "list").splitlines()
    assert listed_machines[0].rstrip().endswith("EVENT")
    assert listed_machines[1].rstrip().endswith("critical")
    described = virtyard(site, "vm", "describe", "web")
    assert f"critical {event.name} is open, one of 1" in described


async def test_a_certificate_near_its_end_is_told_until_it_is_renewed() -> None:
    """Found by the agent and by the control plane in their own files, when they start; a renewed one ends it."""
    with open_site("embedded", ("s1",)) as site:
        authority = Authority.load(site.folder / "pki")
        agent, control = site.folder / "credentials" / "s1", site.folder / "pki" / "service" / "jobs"
        async with site.client() as client:
            await prepare(site, client)
            for days, kind in ((5, "CERTIFICATE_ENDING"), (365, "CERTIFICATE_RENEWED")):
                authority.issue("agent/s1", agent, hosts=["127.0.0.1"], lifetime=timedelta(days=days))
                authority.issue("service/jobs", control, hosts=["127.0.0.1"], lifetime=timedelta(days=days))
                for name in ("s1", "up"):
                    site.stop(name)
                    site.start(name)
                for subject in ("servers/s1", "services/jobs"):
                    await wait_for(client, kind, subject)
                    (ending,) = await listed(client, f"type = CERTIFICATE_ENDING AND object = {subject}")
                    assert "ends in 4 days" in ending.message
                    assert (ending.open, ending.cleared) == (days == 5, days != 5)


@pytest.mark.parametrize("moment", ["inventory.I", "inventory.I#2", "inventory.I#3"])
async def test_each_event_comes_once_though_the_inventory_is_killed(moment: str) -> None:
    """Killed between a commit and its answer, the inventory comes back with each event once, and the watch goes on."""
    with open_site("split") as site:
        async with site.client() as client, watched(client) as came:
            await prepare(site, client)
            await wait_unlocked(client)
            site.stop("inventory")
            site.start("inventory", kill_at=moment)
            request = create_machine(site, "web", [new_disk(4), new_disk(4)], cards=1)
            story = await run_through_the_kill(site, client, ["inventory"], request)
            await same(client, came)
            told = await listed(client, f"operation = {story.name}")
            assert Counter((event.type, event.object) for event in told) == {
                ("OBJECT_CREATED", MACHINE): 1,
                ("OBJECT_CHANGED", MACHINE): 1,
                ("OBJECT_CREATED", "virtualDisks/web-disk0"): 1,
                ("OBJECT_CHANGED", "virtualDisks/web-disk0"): 1,
                ("OBJECT_CREATED", "virtualDisks/web-disk1"): 1,
                ("OBJECT_CHANGED", "virtualDisks/web-disk1"): 1,
                ("OBJECT_CREATED", "vnics/web-vnic0"): 1,
            }
