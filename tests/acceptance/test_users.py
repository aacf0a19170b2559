"""Many users at once: disjoint objects run together, one object by turns, and no reader sees half of anything."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator

import pytest
from google.protobuf import field_mask_pb2

from tests.acceptance.asking import (
    FULL,
    LIMIT,
    ask,
    create_machine,
    create_pool,
    list_jobs,
    list_objects,
    new_disk,
    prepare,
    run,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import (
    delete_server_pool_pb2,
    discover_server_pb2,
    rename_virtual_machine_pb2,
    update_server_pb2,
)
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.resume_point import ResumePoint
from virtyard_client.client import Client

USERS = 20
TOGETHER = 8
"""Of the twenty, how many must have been running at one moment."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with two servers."""
    with open_site("embedded", ("s1", "s2")) as running:
        yield running


@pytest.fixture(autouse=True)
async def pool(site: Site) -> None:
    """The pool and the repository, made once, whichever test of the module comes first."""
    async with site.client() as client:
        if not (site.shared / "shared").exists():
            await prepare(site, client)


def overlap(jobs: list[job_pb2.Job]) -> int:
    """Return how many of the jobs were running at one moment, at most."""
    moments = [(job.start_time.ToNanoseconds(), 1) for job in jobs] + [
        (job.end_time.ToNanoseconds(), -1) for job in jobs
    ]
    return max(itertools.accumulate(step for _, step in sorted(moments)))


def spans(operations: list[list[job_pb2.Job]]) -> list[job_pb2.Job]:
    """Return one job for each operation, that ran from the start of its first job to the end of its last one."""
    found = []
    for jobs in operations:
        span = job_pb2.Job(name=jobs[0].name)
        span.start_time.CopyFrom(min((job.start_time for job in jobs), key=lambda time: time.ToNanoseconds()))
        span.end_time.CopyFrom(max((job.end_time for job in jobs), key=lambda time: time.ToNanoseconds()))
        found.append(span)
    return found


async def test_twenty_users_on_disjoint_objects_run_beside_each_other(site: Site) -> None:
    """Proves that operations on different machines of one pool run at the same time, and that all of them succeed.

    A site that ran them in turns, or in twos, would show an overlap of one or two.
    """
    async with site.client() as client:
        stories = await asyncio.gather(
            *(
                run(client, create_machine(site, f"user{number}", [new_disk(4, allocation=FULL)]))
                for number in range(USERS)
            )
        )
        operations = [await list_jobs(client, story.name) for story in stories]
        assert all(job.state == job_pb2.JOB_STATE_COMPLETED for jobs in operations for job in jobs)
        assert overlap(spans(operations)) >= TOGETHER
        await wait_unlocked(client)


async def test_two_on_one_machine_take_turns_and_the_second_says_for_whom_it_waits(site: Site) -> None:
    """Proves that a second operation on a machine waits, names the first one, and then runs."""
    async with site.client() as client:
        # Servers that stand still hold the first one at its disk for as long as the second one needs to ask.
        with site.paused("s1", "s2"):
            first = await ask(client, create_machine(site, "busy", [new_disk(4)]))
            while not any(vm.name == "virtualMachines/busy" for vm in await list_objects(client, "VirtualMachines")):
                await asyncio.sleep(0.01)
            rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(
                name="virtualMachines/busy", display_name="Idle"
            )
            second = await ask(client, rename)
            said = await waits_for(client, second)
        assert first.name in said
        assert "virtualMachines/busy" in said
        ended = await client.wait(second, timeout=LIMIT)
        assert not ended.error
        (renamed,) = await list_jobs(client, second.name)
        made = await list_jobs(client, first.name)
        assert renamed.start_time.ToNanoseconds() >= max(job.end_time.ToNanoseconds() for job in made)


async def waits_for(client: Client, operation: object) -> str:
    """Return whom an operation says it waits for."""
    async with asyncio.timeout(LIMIT):
        async for _, story in client.watch_operation(operation):
            if story.waiting:
                return story.waiting
    raise AssertionError("it never waited")


class View:
    """What a watcher of all objects knows: who says of whom that it belongs together."""

    GROUP = ("serverPools/half", "servers/s3", "servers/s4")

    def __init__(self) -> None:
        self.pool: list[str] = []
        self.named: dict[str, bool] = {}

    def take(self, frame: inventory_service_pb2.WatchObjectsResponse) -> None:
        """Take a frame over."""
        if frame.name == "serverPools/half":
            self.pool = sorted(frame.object.server_pool.servers)
        elif frame.name in self.GROUP:
            self.named[frame.name] = frame.object.server.server_pool == "serverPools/half"

    @property
    def agrees(self) -> bool:
        """Whether the pool lists exactly the servers that name it."""
        return self.pool == sorted(name for name, named in self.named.items() if named)


async def change(site: Site, client: Client, times: int) -> None:
    """Let the pool come and go."""
    for _ in range(times):
        await run(client, create_pool(site, "half", ["s3", "s4"]))
        await run(client, delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/half"))


@pytest.fixture
async def two_more(site: Site) -> None:
    """Two servers without a pool."""
    async with site.client() as client:
        there = {server.name for server in await list_objects(client, "Servers")}
        for name in ("s3", "s4"):
            if f"servers/{name}" in there:
                continue
            site.issue(name)
            site.start(name)
            discovered = server_pb2.Server(agent_address=site.addresses[name])
            await run(client, discover_server_pb2.DiscoverServerRequest(server_id=name, server=discovered))


@pytest.mark.usefixtures("two_more")
async def test_reader_never_sees_half_a_relation(site: Site) -> None:
    """Proves that while pools come and go, every pool lists exactly the servers that name it.

    A snapshot is read at one moment, so in each of them both sides must agree, whatever was changed before or after.
    """
    async with site.client() as client:
        changing = asyncio.ensure_future(change(site, client, 5))
        looked: set[int] = set()
        count = 0
        try:
            while not changing.done():
                view = View()
                async for frame in client.watch_objects():
                    if frame.kind == watch_pb2.FRAME_KIND_BOOKMARK:
                        break
                    view.take(frame)
                assert view.agrees, (view.pool, view.named)
                looked.add(len(view.pool))
                count += 1
        finally:
            await changing
        assert count > 5
        assert looked == {0, 2}, "snapshots were seen with the pool and without it"


@pytest.mark.usefixtures("two_more")
async def test_one_stream_tells_both_sides_of_a_relation_together(site: Site) -> None:
    """Proves that the frames of a commit follow each other: no other object's change comes between the two sides."""
    async with site.client() as client:

        async def change_and_say_so() -> None:
            await change(site, client, 5)
            done = server_pb2.Server(name="servers/s3", description=mark)
            mask = field_mask_pb2.FieldMask(paths=["description"])
            await run(client, update_server_pb2.UpdateServerRequest(server=done, update_mask=mask))

        mark = f"done {uuid.uuid4()}"
        changing = asyncio.ensure_future(change_and_say_so())
        view, position, whole = View(), 0, True
        seen: list[int] = []
        async with asyncio.timeout(LIMIT):
            async for frame in client.watch_objects():
                sequence = ResumePoint.parse(frame.resume_token).sequence
                if frame.kind == watch_pb2.FRAME_KIND_SNAPSHOT:
                    view.take(frame)
                elif sequence > position and position:
                    # Where states were folded for a slow reader, what came between is not known.
                    whole = whole and sequence == position + 1
                    assert view.agrees or frame.name in View.GROUP or not whole, (frame.name, view.pool, view.named)
                    view.take(frame)
                    if view.agrees:
                        whole = True
                        seen += [len(view.pool)] if seen[-1:] != [len(view.pool)] else []
                position = max(position, sequence)
                if frame.object.server.description == mark:
                    break
        await changing
        assert seen.count(2) >= 3, seen
