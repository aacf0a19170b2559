"""Disks that hang, fill up or turn read-only: who needs them is refused or waits; nothing acknowledged is lost (R12).

The databases of `jobs`, `locks`, `inventory` and of one host are each on a real file system of its own; see `disks`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC
from typing import Any

import pytest

from tests.acceptance.asking import (
    LIMIT,
    SUCCEEDED,
    ask,
    list_jobs,
    list_locks,
    list_objects,
    run,
)
from tests.acceptance.site import PROGRAM, Site
from tests.faults.disk_site import OWNERS, SERVERS, open_disk_site, start
from tests.faults.disks import Disks
from tests.faults.scene import Scene
from tests.invariants.check import lasting_findings
from tests.torture.looks import not_as_acknowledged
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story

pytestmark = pytest.mark.timeout(600)
LONG = bool(os.environ.get("VIRTYARD_TORTURE"))
"""Whether disks hang until a step counts as stuck, which takes two minutes each."""
_STUCK_SECONDS = 180.0
_HANG_SECONDS = 3.0
"""So long a disk hangs otherwise: longer than a participant has to come back before contact with it counts as lost."""


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Site, Disks]]:
    """A site in which every service is a process, with disks of their own, and a machine for each server."""
    with open_disk_site() as opened:
        yield opened


async def insist(client: Client, request: Any) -> str:
    """Ask under one request id until it is known what came of it, and return the operation's name."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                return str((await ask(client, request)).name)
            except ClientError as error:
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)


async def run_slowly(client: Client, request: Any) -> Story:
    """See an operation through that may have to wait until a disk goes on."""
    story = await client.wait(await ask(client, request), timeout=LIMIT + (_STUCK_SECONDS if LONG else _HANG_SECONDS))
    assert story.state == SUCCEEDED, (story.state, story.error and story.error.message)
    return story


async def come_to_rest(site: Site, client: Client, *started: str) -> None:
    """Stop the machines again, and see that nothing is lost, doubled, or left behind."""
    for name in started:
        await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name=f"virtualMachines/{name}"))
    scene = Scene(site, client, SERVERS)
    await scene.wait_unlocked()
    assert await asyncio.to_thread(lasting_findings, site.folder, site.shared, site.effect_log) == []


# --- a disk that hangs


async def reads_go_on(site: Site, client: Client) -> None:
    """See that the other services answer, and the inventory even while its own disk takes no write."""
    assert len(await list_objects(client, "Servers")) == len(SERVERS)


async def jobs_are_shown(site: Site, client: Client) -> None:
    """See that the scheduler and the lock service answer."""
    await reads_go_on(site, client)
    await list_locks(client)
    await list_jobs(client, "operations/1")


async def another_host_goes_on(site: Site, client: Client) -> None:
    """See an operation through that needs the other host only."""
    await run(client, start("two"))
    await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/two"))


OTHERS: dict[str, Callable[[Site, Client], Awaitable[None]]] = {
    "jobs": reads_go_on,
    "locks": reads_go_on,
    "inventory": jobs_are_shown,
    "s1": another_host_goes_on,
}
"""What goes on while a disk hangs, by whose it is."""


@pytest.mark.parametrize("owner", OWNERS)
async def test_who_needs_a_disk_that_hangs_waits_and_others_do_not(owner: str, place: tuple[Site, Disks]) -> None:
    """Nothing ends that is not durable; all goes on by itself once the disk does."""
    site, disks = place
    stuck = ("inventory", "s1") if LONG else ()
    async with site.client() as client:
        with disks[owner].frozen():
            waiting = asyncio.create_task(run_slowly(client, start()))
            over = time.monotonic() + (_STUCK_SECONDS if owner in stuck else _HANG_SECONDS)
            while time.monotonic() < over:
                async with asyncio.timeout(LIMIT):
                    await OTHERS[owner](site, client)
            assert not waiting.done()
        story = await waiting
        if owner in stuck:
            await see_told_as_stuck(client, story.name)
        await come_to_rest(site, client, "one")


async def see_told_as_stuck(client: Client, operation: str) -> None:
    """See that a step that made no progress for long was told of, and its going on as well."""
    wanted = {"JOB_STUCK", "JOB_GOES_ON"}
    async with asyncio.timeout(LIMIT):
        while True:
            request = inventory_service_pb2.ListEventsRequest(filter=f'operation = "{operation}"', page_size=1000)
            if wanted <= {event.type for event in (await client.inventory.ListEvents(request)).events}:
                return
            await asyncio.sleep(0.1)


async def test_what_was_granted_ends_while_the_disk_of_the_locks_hangs(place: tuple[Site, Disks]) -> None:
    """Running jobs need no lock service: a host inside a step finishes, and only the release is due."""
    site, disks = place
    async with site.client() as client:
        scene = Scene(site, client, SERVERS)
        name = await scene.begin_and_stand(start("two"))
        with disks["locks"].frozen():
            scene.go_on()
            await scene.ended(name, SUCCEEDED)
        await come_to_rest(site, client, "two")


# --- a disk that takes no more


NO_ROOM = "No space left on device"
DISK_WORDS = (NO_ROOM, "Read-only file system", "Input/output error")
"""What the operating system says of it."""
REFUSALS = ("disk I/O error", "attempt to write a readonly database", "database or disk is full")
"""What SQLite says of a disk that takes nothing."""


async def see_refused(client: Client, request: Any) -> None:
    """See that nothing new is accepted, in words that say why."""
    with pytest.raises(ClientError, match=f"outcome is unknown: ({'|'.join(REFUSALS)})") as told:
        await ask(client, request)
    assert told.value.unreachable


async def see_waiting(client: Client, name: str) -> None:
    """See that an operation goes no further, and says what it meets with."""
    job = (await list_jobs(client, name))[0].name
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                told = await client.jobs.ExplainWait(wait_explanation_pb2.ExplainWaitRequest(name=job))
                said = told.summary
            except ClientError as error:  # the lock service itself cannot answer for its waits
                said = str(error)
            if any(refusal in said for refusal in REFUSALS):
                break
            await asyncio.sleep(0.05)
    assert not (await list_jobs(client, name))[0].done


async def see_no_locks(client: Client, name: str) -> None:
    """See that an operation that waits for its locks says that the lock service cannot write, why, and what helps."""
    (job, *_) = await list_jobs(client, name)
    async with asyncio.timeout(LIMIT):
        while True:
            told = await client.jobs.ExplainWait(wait_explanation_pb2.ExplainWaitRequest(name=job.name))
            if told.summary != "it is asking for its locks just now":
                break
            await asyncio.sleep(0.02)
    assert re.fullmatch(f"the lock service cannot write: ({'|'.join(DISK_WORDS)})", told.summary)
    assert told.cause == wait_explanation_pb2.WAIT_CAUSE_LOCKS
    assert told.remedies[0].text.startswith("make room on the disk of the lock service")
    assert told.remedies[0].command == "virtyard doctor"
    assert not (await list_jobs(client, name))[0].done


async def see_done_and_not_told(site: Site, scene: Scene, client: Client, name: str) -> None:
    """See that a host does its work to the end, and that no end of it is shown that is not durable."""
    guests = len(site.guests())
    scene.go_on()
    async with asyncio.timeout(LIMIT):
        while len(site.guests()) == guests:
            await asyncio.sleep(0.02)
    assert not (await list_jobs(client, name))[0].done


@pytest.mark.parametrize("owner", OWNERS)
async def test_a_full_disk_that_has_room_again_needs_no_restart(owner: str, place: tuple[Site, Disks]) -> None:
    """What cannot be durable is refused or waits; with room again the same process brings it to its end."""
    site, disks = place
    async with site.client() as client:
        scene, before = Scene(site, client, SERVERS), site.record(owner)
        request, accepted, under_way = start(), {}, start("two")
        if owner == "jobs":
            accepted[await scene.begin_and_stand(under_way)] = under_way.request_id
        with disks[owner].full():
            if owner == "jobs":
                await see_refused(client, request)
                await see_done_and_not_told(site, scene, client, *accepted)
            else:
                name = await insist(client, request)
                accepted[name] = request.request_id
                await (see_no_locks if owner == "locks" else see_waiting)(client, name)
            await reads_go_on(site, client)
        accepted[await insist(client, request)] = request.request_id
        for name in accepted:
            await scene.ended(name, SUCCEEDED)
        assert site.record(owner) == before
        assert site.is_alive(owner)
        assert not_as_acknowledged(site, accepted) == []
        await come_to_rest(site, client, *(("one", "two") if owner == "jobs" else ("one",)))


# --- what a person is told of it


async def told(client: Client, kind: str, owner: str) -> list[event_pb2.Event]:
    """Return the events of a type that tell of a service's database, the newest first."""
    request = inventory_service_pb2.ListEventsRequest(filter=f'type = {kind} AND object = "services/{owner}"')
    return list((await client.inventory.ListEvents(request)).events)


async def see_more_told(client: Client, kind: str, owner: str, before: int) -> event_pb2.Event:
    """Return the one event of a type that was told since."""
    async with asyncio.timeout(LIMIT):
        while len(found := await told(client, kind, owner)) == before:
            await asyncio.sleep(0.1)
    assert len(found) == before + 1
    return found[0]


def diagnosed(site: Site) -> list[str]:
    """Return what the doctor finds of databases that cannot be written."""
    environment = {**os.environ, "VIRTYARD_CONTEXT": str(site.context), "PYTHONUTF8": "1"}
    words = [PROGRAM, "doctor", "--json"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=90)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return [each["what"] for each in found if "cannot write its database" in each["what"]]


async def let_it_refuse(site: Site, client: Client, owner: str, request: Any) -> None:
    """Let a service find out several times that it cannot write, for longer than a few looks at its database take."""
    said = f"a commit of {owner}.db failed"
    before, over = site.said(owner).count(said), time.monotonic() + _HANG_SECONDS
    if owner != "jobs":
        await insist(client, request)
    async with asyncio.timeout(LIMIT):
        while site.said(owner).count(said) < before + 3 or time.monotonic() < over:
            if owner == "jobs":
                await see_refused(client, request)
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("owner", [name for name in OWNERS if name != "s1"])
async def test_a_database_that_cannot_be_written_is_told_once_and_when_it_can_again(
    owner: str, place: tuple[Site, Disks]
) -> None:
    """One event at each end of it, however much was refused; the inventory's own once there is room."""
    site, disks = place
    async with site.client() as client:
        request = start()
        counts = {kind: len(await told(client, kind, owner)) for kind in ("DATABASE_UNWRITABLE", "DATABASE_WRITABLE")}
        with disks[owner].full():
            await let_it_refuse(site, client, owner, request)
            if owner != "inventory":
                event = await see_more_told(client, "DATABASE_UNWRITABLE", owner, counts["DATABASE_UNWRITABLE"])
                assert event.message.endswith(f"the database of services/{owner}, cannot be written: {NO_ROOM}")
                assert event.open
                refused = inventory_service_pb2.AcknowledgeEventRequest(name=event.name, comment="seen")
                with pytest.raises(ClientError, match=f"services/{owner} has not told yet that it can write"):
                    await client.inventory.AcknowledgeEvent(refused)
            async with asyncio.timeout(LIMIT):
                while (found := await asyncio.to_thread(diagnosed, site)) == []:
                    await asyncio.sleep(0.1)
            assert found == [f"the {owner} service cannot write its database"]
        event = await see_more_told(client, "DATABASE_WRITABLE", owner, counts["DATABASE_WRITABLE"])
        assert f"until {event.create_time.ToDatetime(UTC):%Y-%m-%dT%H:}" in event.message
        assert event.message.endswith(NO_ROOM)
        (newest, *_) = found_all = await told(client, "DATABASE_UNWRITABLE", owner)
        assert len(found_all) == counts["DATABASE_UNWRITABLE"] + 1
        assert newest.cleared_by == event.name
        assert not newest.open
        assert await asyncio.to_thread(diagnosed, site) == []
        await Scene(site, client, SERVERS).ended(await insist(client, request), SUCCEEDED)
        await come_to_rest(site, client, "one")


# --- a disk that turns read-only


@pytest.mark.parametrize("owner", OWNERS)
async def test_a_disk_that_turned_read_only_loses_nothing(owner: str, place: tuple[Site, Disks]) -> None:
    """What cannot be durable is refused or waits; when the disk is mended all of it comes to its end."""
    site, disks = place
    async with site.client() as client:
        disks[owner].turn_read_only()
        request, accepted = start(), {}
        if owner == "jobs":
            await see_refused(client, request)
        else:
            name = await insist(client, request)
            accepted[name] = request.request_id
            await (see_no_locks if owner == "locks" else see_waiting)(client, name)
        await reads_go_on(site, client)
        assert site.is_alive(owner)
        site.kill(owner)
        disks[owner].unmount()
        disks[owner].mount()
        site.start(owner)
        name = await insist(client, request)
        accepted.setdefault(name, request.request_id)
        await Scene(site, client, SERVERS).ended(name, SUCCEEDED)
        assert not_as_acknowledged(site, accepted) == []
        await come_to_rest(site, client, "one")
