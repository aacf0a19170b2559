"""The canonical sequence of the protocol's section D on real services: what one operation costs, and what it leaves."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from virtyard.agent.actions.contract import Context
from virtyard.api.actions.v1 import create_disk_file_pb2
from virtyard.api.inventory.v1 import virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs import store
from virtyard.locks import proxy
from virtyard.runtime.database import Transaction
from virtyard.runtime.rpc import Method

VM_COMMITS = {"jobs": 7, "locks": 2, "inventory": 3, "agents": 4}
VM_CALLS = {"View": 1, "Acquire": 1, "Execute": 5, "Release": 1}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count every request message that any service of the site takes, by its rpc."""
    counted: Counter[str] = Counter()
    parse = Method._parse

    def counting(self: Method, raw: bytes) -> object:
        counted[self.name] += 1
        return parse(self, raw)

    monkeypatch.setattr(Method, "_parse", counting)
    return counted


def spent(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return the commits between two readings, those of the agents together."""
    found = {name: after[name] - before[name] for name in after}
    agents = sum(found.pop(name) for name in list(found) if name not in VM_COMMITS)
    return found | {"agents": agents}


async def test_a_machine_costs_the_commits_and_calls_of_section_d(
    site: Site, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two disks and a card: 7 commits of jobs, 2 of locks, 3 of the inventory, 4 of ledgers, and 8 calls."""
    # Which job uses a lock is told of what takes longer than a second, as this does on a machine that is busy.
    monkeypatch.setattr(proxy, "_USE_SHOWN_AFTER", LIMIT)
    await site.succeed(machine("first"))
    await site.wait_released()
    before = site.commits()
    calls.clear()
    site.transitions.clear()
    await site.succeed(machine("web"))
    await site.wait_released()
    assert spent(before, site.commits()) == VM_COMMITS
    assert {name: count for name, count in calls.items() if name in VM_CALLS} == VM_CALLS
    own = [name for name in site.transitions if name.startswith("jobs.") and "@" not in name]
    assert own == ["jobs.C1", "jobs.C2", "jobs.Ck", "jobs.Ck", "jobs.Ck", "jobs.Ck", "jobs.Ct"]


async def test_a_machine_is_made_with_its_disks_and_card(site: Site) -> None:
    """Everything that was asked for is there: records, relations, files; nothing stays locked."""
    operation = await site.succeed(machine("web"))
    made = virtual_machine_pb2.VirtualMachine()
    assert operation.response.Unpack(made)
    assert (made.name, made.server_pool) == ("virtualMachines/web", "serverPools/Finance")
    objects = await site.objects()
    disks = [objects[f"virtualDisks/web-disk{index}"] for index in range(2)]
    for disk in disks:
        assert isinstance(disk, virtual_disk_pb2.VirtualDisk)
        assert (site.share / "R" / "disks").joinpath(disk.path.rpartition("/")[2]).exists()
        assert disk.virtual_machine == made.name
    assert "vnics/web-vnic0" in objects
    assert site.faults.done["CreateDiskFile"] == 2
    await site.wait_released()
    assert await site.job_states(operation.name) == ["COMPLETED"] * 7


async def test_watchers_see_the_jobs_in_order_and_the_end_last(site: Site) -> None:
    """The stream ends with the operation's end; before it every job is shown completed."""
    name = (await site.submit(machine("web", disks=1))).name
    shown: dict[str, list[int]] = {}
    last = ""
    async with asyncio.timeout(LIMIT):
        async for frame in site.service.WatchOperation(job_service_pb2.WatchOperationRequest(name=name)):
            last = frame.name
            if frame.HasField("job"):
                shown.setdefault(frame.job.name, []).append(frame.job.state)
    assert last == name
    assert len(shown) == 5
    assert {states[-1] for states in shown.values()} == {job_pb2.JOB_STATE_COMPLETED}
    assert all(states == sorted(states) for states in shown.values())


async def test_a_preview_changes_nothing_and_is_what_then_runs(site: Site) -> None:
    """validate_only returns the plan as a finished operation without a name."""
    request = machine("web", disks=1)
    request.validate_only = True
    before = site.commits()
    preview = await site.submit(request)
    assert preview.done
    assert not preview.name
    assert site.commits() == before
    metadata = operation_pb2.OperationMetadata()
    preview.metadata.Unpack(metadata)
    request.validate_only = False
    name = (await site.submit(request)).name
    await site.wait(name)
    number = name.partition("/")[2]
    listed = await site.service.ListJobs(job_service_pb2.ListJobsRequest(filter=f'operation = "{name}"'))
    assert [job.title for job in listed.jobs] == [job.title for job in metadata.plan.jobs]
    assert [job.name for job in listed.jobs] == [f"jobs/{number}-{job.id}" for job in metadata.plan.jobs]


async def test_the_same_request_id_is_the_same_operation(site: Site) -> None:
    """Repeated at once or after its end, a submission gives the operation that it made (P26)."""
    request = machine("web", disks=0)
    request.request_id = "0d7bb0a4-6f3c-4f2e-9a47-0a63c05c4bd1"
    first, second = await asyncio.gather(site.submit(request), site.submit(request))
    assert first.name == second.name
    await site.wait(first.name)
    assert (await site.submit(request)).name == first.name


async def test_without_the_unique_key_two_at_once_are_two_operations(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key decides the race: without it both are planned and stored, and one of them fails though it was done."""
    await site.jobs.database.write(_drop_the_key)
    monkeypatch.setattr(store, "_by_request", lambda *_: None)
    request = machine("web", disks=0)
    request.request_id = "0d7bb0a4-6f3c-4f2e-9a47-0a63c05c4bd1"
    made = await asyncio.gather(site.submit(request), site.submit(request))
    assert len({operation.name for operation in made}) == 2
    ended = [await site.wait(operation.name) for operation in made]
    assert sorted(operation.HasField("error") for operation in ended) == [False, True]


def _drop_the_key(transaction: Transaction) -> None:
    transaction.execute("DROP INDEX operation_request")
    transaction.transition("jobs.test")


async def test_progress_of_a_disk_is_shown_and_never_falls(site: Site) -> None:
    """What the agent tells on its way reaches the watcher, and only ever rises."""
    gate = asyncio.Event()

    async def slow(message: create_disk_file_pb2.CreateDiskFile, context: object) -> None:
        for step in range(1, 4):
            context.progress(step * 25, 100, "Writing")  # type: ignore[attr-defined]  # a Context
            await asyncio.sleep(0.12)
        await gate.wait()

    site.faults.before["CreateDiskFile"] = slow  # type: ignore[assignment]  # takes the one message only
    name = (await site.submit(machine("web", disks=1, vnics=0))).name
    seen: list[float] = []
    async with asyncio.timeout(LIMIT):
        async for frame in site.service.WatchOperation(job_service_pb2.WatchOperationRequest(name=name)):
            if frame.job.title == "Create Virtual Disk":
                seen.append(frame.job.progress.percent)
                if frame.job.steps[0].progress.percent >= 75:
                    gate.set()
    assert seen == sorted(seen)
    assert any(0 < percent < 100 for percent in seen)
    assert seen[-1] == 100


async def test_a_step_that_stands_still_is_as_far_as_it_was_for_the_next_scheduler(site: Site) -> None:
    """Its host says how far it is to whoever asks again, though the step itself tells nothing new meanwhile."""
    gate = asyncio.Event()

    async def stand(message: object, context: Context) -> None:
        context.progress(60, 100, "Writing")
        await gate.wait()

    async def is_shown() -> bool:
        jobs = [job for job in await site.jobs_of(name) if job.title == "Create Virtual Disk"]
        return [job.steps[0].progress.percent for job in jobs if job.steps] == [60]

    site.faults.before["CreateDiskFile"] = stand
    name = (await site.submit(machine("web", disks=1, vnics=0))).name
    await site.wait_until(is_shown)
    await site.close_jobs()
    await site.open_jobs()
    await site.wait_until(is_shown)
    gate.set()
    assert not (await site.wait(name)).HasField("error")


@pytest.mark.parametrize("batch", [False, True])
async def test_the_story_is_the_same_in_batches_and_from_every_cut(site: Site, batch: bool) -> None:
    """One by one or in batches, live or afterwards, cut after any frame and resumed: the same frames, none twice."""
    submitted = operation_pb2.OperationMetadata.FromString((await site.submit(machine("web"))).metadata.value)
    name = "operations/" + submitted.jobs[0].partition("/")[2].partition("-")[0]

    async def story(token: str) -> list[job_service_pb2.WatchOperationResponse]:
        options = watch_pb2.WatchOptions(batch=batch, resume_token=token)
        request = job_service_pb2.WatchOperationRequest(name=name, options=options)
        frames = []
        async for message in site.service.WatchOperation(request):
            further = list(message.further)
            message.ClearField("further")
            frames += [message, *further]
        return frames

    live = await story(submitted.resume_tokens["jobs"])
    afterwards = await story(submitted.resume_tokens["jobs"])
    # Progress is live only: its frames carry the token of the durable one before them.
    assert [each for each in live if each in afterwards] == afterwards
    assert len(afterwards) > 20
    for place, cut in enumerate(afterwards):
        assert await story(cut.resume_token) == afterwards[place + 1 :]
