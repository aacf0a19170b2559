"""What people do to jobs: set them aside, let them go on, move them in the queue, abort many; over restarts too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2

from tests.integration.jobs.site import LIMIT, MIB, Site, machine
from virtyard.api.inventory.v1 import server_pb2, virtual_disk_pb2
from virtyard.api.jobs.v1 import job_control_pb2 as control
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import (
    create_virtual_disk_pb2,
    rename_virtual_machine_pb2,
    start_virtual_machine_pb2,
    update_server_pb2,
)
from virtyard.jobs.store import JobStore
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.status import named

PERSON, POISON = job_pb2.HELD_REASON_PERSON, job_pb2.HELD_REASON_POISON


class Gate:
    """A fault that keeps an action back until it is opened."""

    def __init__(self) -> None:
        """Start closed."""
        self.begun, self.open = asyncio.Event(), asyncio.Event()
        self.count = 0
        """How many have come to it."""

    async def __call__(self, message: Any, context: Any) -> None:
        """Wait until the gate is open."""
        self.count += 1
        self.begun.set()
        await self.open.wait()


@pytest.fixture
async def gate(site: Site) -> AsyncIterator[Gate]:
    """Keep the making of disks back until the gate is opened; it is open at the end."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    yield gate
    gate.open.set()


def first_job(operation: str) -> str:
    """Return the name of an operation's first job."""
    return f"jobs/{operation.partition('/')[2]}-1"


async def get(site: Site, operation: str, job: int = 1) -> job_pb2.Job:
    """Return a job of an operation."""
    name = f"jobs/{operation.partition('/')[2]}-{job}"
    found: job_pb2.Job = await site.service.GetJob(job_service_pb2.GetJobRequest(name=name))
    return found


async def hold(site: Site, operation: str, reason: str = "let me look") -> job_pb2.Job:
    """Set an operation aside."""
    request = control.HoldJobRequest(name=first_job(operation), reason=reason)
    held: job_pb2.Job = await site.service.HoldJob(request)
    return held


async def release(site: Site, operation: str) -> job_pb2.Job:
    """Let an operation go on."""
    released: job_pb2.Job = await site.service.ReleaseJob(control.ReleaseJobRequest(name=first_job(operation)))
    return released


async def restart(site: Site) -> None:
    """Stop the scheduler and start another one on its database."""
    await site.close_jobs()
    await site.open_jobs()


async def settled(site: Site) -> None:
    """Return once the scheduler has done whatever it had to do: a whole operation has gone its way meanwhile."""
    await site.succeed(machine(f"other{len(site.transitions)}", disks=0, vnics=0))


def metadata_of(operation: Any) -> operation_pb2.OperationMetadata:
    """Return the metadata of an operation."""
    return operation_pb2.OperationMetadata.FromString(operation.metadata.value)


async def refusal(call: Any) -> VirtyardError:
    """Return why a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return named(caught.value)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_held_operation_ends_what_runs_and_begins_nothing(site: Site, gate: Gate, restarted: bool) -> None:
    """The running step ends and is kept, the next one does not begin, the locks stay; released, it goes to its end."""
    name = (await site.submit(machine("web"))).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    held = await hold(site, name)
    assert (held.held, held.hold.reason, held.hold.principal) == (PERSON, "let me look", "user/admin")
    assert held.hold.time.ToNanoseconds() >= held.create_time.ToNanoseconds()
    gate.open.set()

    async def first_disk_made() -> bool:
        return (await get(site, name, 3)).steps[0].state == job_pb2.STEP_STATE_DONE

    await site.wait_until(first_disk_made)
    if restarted:
        await restart(site)
    await settled(site)
    assert site.faults.done["CreateDiskFile"] == 1
    assert "virtualMachines/web" in await site.held_locks()
    assert (await get(site, name, 3)).held == PERSON
    released = await release(site, name)
    assert (released.held, released.HasField("hold")) == (0, False)
    assert not (await site.wait(name)).HasField("error")
    assert site.faults.done["CreateDiskFile"] == 2


@pytest.mark.parametrize(("reason", "restarted"), [(PERSON, False), (PERSON, True), (POISON, False)])
async def test_a_hold_before_the_locks_keeps_from_asking_for_them(
    site: Site, reason: job_pb2.HeldReason.ValueType, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set aside between its acceptance and its locks, it is in nobody's way; released, it goes to its end."""
    site.jobs.scheduler.stop()
    name = (await site.submit(machine("web", disks=1))).name
    await site.close_jobs()
    monkeypatch.setattr(JobStore, "adopt", held_at_adoption(JobStore.adopt, reason))
    await site.open_jobs()
    monkeypatch.undo()
    if restarted:
        await restart(site)
    await settled(site)
    assert (await get(site, name)).held == reason
    assert "virtualMachines/web" not in await site.held_locks()
    await release(site, name)
    assert not (await site.wait(name)).HasField("error")


def held_at_adoption(adopt: Any, reason: job_pb2.HeldReason.ValueType) -> Any:
    """Return an adoption that finds its operations set aside, as if a person had been faster than the scheduler."""

    async def held(store: JobStore, *rest: Any) -> Any:
        found = await adopt(store, *rest)
        for operation in found:
            operation.record.held = reason
            jobs = operation.shape.jobs
            await store.save(operation, jobs, "jobs.held", after=lambda: None)
        return found

    return held


async def test_what_changed_during_a_hold_is_planned_again(site: Site) -> None:
    """Set aside under its locks before anything began, it reads again what it was planned from before it begins."""

    def hold_at_grant(transition: str) -> None:
        if transition == "locks.L1":
            for operation in site.jobs.scheduler.open_operations():
                operation.record.held = PERSON
            site.on_transition = lambda _: None

    site.on_transition = hold_at_grant
    disk = virtual_disk_pb2.VirtualDisk(repository="repositories/R", size_bytes=MIB)
    request = create_virtual_disk_pb2.CreateVirtualDiskRequest(virtual_disk_id="data", virtual_disk=disk)
    name = (await site.submit(request)).name

    async def has_locks() -> bool:
        return "virtualDisks/data" in await site.held_locks()

    await site.wait_until(has_locks)
    for server in ("servers/s1", "servers/s2"):
        changed = server_pb2.Server(name=server, description="moved to the other rack")
        mask = field_mask_pb2.FieldMask(paths=["description"])
        await site.succeed(update_server_pb2.UpdateServerRequest(server=changed, update_mask=mask))
    assert (await get(site, name)).state == job_pb2.JOB_STATE_WAITING_FOR_LOCKS
    await release(site, name)
    ended = await site.wait(name)
    assert not ended.HasField("error")
    assert metadata_of(ended).replans == 1


async def test_a_held_operation_can_be_aborted(site: Site, gate: Gate) -> None:
    """The way back is not held: everything is undone, and the hold is gone with the operation."""
    name = (await site.submit(machine("web"))).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    await hold(site, name)
    gate.open.set()
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=first_job(name)))
    metadata = metadata_of(await site.wait(name))
    assert (metadata.state, metadata.held) == (operation_pb2.OPERATION_STATE_CANCELLED, 0)
    assert "virtualMachines/web" not in await site.objects()


async def test_a_hold_and_a_release_are_told_by_events(site: Site, gate: Gate) -> None:
    """Who, what and why are kept where the operation's other events are."""
    name = (await site.submit(machine("web", disks=1))).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    await hold(site, name, "the array is being mended")
    await release(site, name)
    gate.open.set()
    await site.wait(name)

    async def told() -> bool:
        return "OPERATION_HELD" in [event.type for event in await site.events("virtualMachines/web")]

    await site.wait_until(told)
    (event,) = [event for event in await site.events("virtualMachines/web") if event.type == "OPERATION_HELD"]
    assert event.message.startswith(f"user/admin set {name}")
    assert event.message.endswith("aside: the array is being mended")
    assert event.operation == name


async def abort_while_it_runs(site: Site, gate: Gate, *, by_bulk: bool, reason: str) -> tuple[str, Any]:
    """Have an operation aborted once, and in vain a second time; return its name and what it has become."""
    name = (await site.submit(machine("web", disks=1))).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    if by_bulk:
        await site.service.AbortJobs(control.AbortJobsRequest(filter=f'operation = "{name}"', reason=reason))
    else:
        await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=first_job(name), reason=reason))
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=first_job(name), reason="a second one"))
    gate.open.set()
    return name, await site.wait(name)


@pytest.mark.parametrize("by_bulk", [False, True])
@pytest.mark.parametrize("reason", ["the array is full", ""])
async def test_who_asked_for_an_abort_is_told(site: Site, gate: Gate, by_bulk: bool, reason: str) -> None:
    """Principal and reason are in the error, at the end of each chain of causes, and in an event of the request."""
    name, ended = await abort_while_it_runs(site, gate, by_bulk=by_bulk, reason=reason)
    shown = reason or ("with all that match a filter" if by_bulk else "")
    assert ended.error.message == f"aborted on request{': ' + shown if shown else ''} (user/admin)"
    chains = [metadata_of(ended).reason_trail, *(job.reason_trail for job in await site.jobs_of(name))]
    assert len(chains) > 1
    for chain in chains:
        assert [hop.source for hop in chain].count("user/admin") == 2, "who asked for it, and who aborted it"
        assert (chain[-1].source, chain[-1].reason) == ("user/admin", shown)
        assert chain[-1].time.ToNanoseconds() > chain[0].time.ToNanoseconds()

    async def requests() -> list[Any]:
        events = await site.events("virtualMachines/web", "INFORMATIONAL")
        return [event for event in events if event.type == "ABORT_REQUESTED"]

    async def told() -> bool:
        return bool(await requests())

    await site.wait_until(told)
    (event,) = await requests()
    title = metadata_of(ended).title
    assert event.message == f"user/admin asked to abort {name} ({title})" + (f": {shown}" if shown else "")
    assert event.operation == name


async def test_holds_are_refused_where_they_mean_nothing(site: Site, gate: Gate) -> None:
    """What has ended, goes back, is not held or is not there cannot be held or released; a second hold is the first."""
    ended = (await site.succeed(machine("db", disks=0))).name
    assert (await refusal(hold(site, ended))).reason == "WRONG_STATE"
    assert (await refusal(release(site, ended))).reason == "WRONG_STATE"
    assert (await refusal(hold(site, "operations/99"))).reason == "NOT_FOUND"
    name = (await site.submit(machine("web", disks=1))).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    assert (await refusal(release(site, name))).reason == "WRONG_STATE"
    await hold(site, name, "first")
    assert (await hold(site, name, "second")).hold.reason == "first"
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=first_job(name)))
    assert (await refusal(hold(site, name))).reason == "WRONG_STATE"


def rename(to: str) -> rename_virtual_machine_pb2.RenameVirtualMachineRequest:
    """Return a request that needs the machine web for itself."""
    return rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name=to)


async def queue_up(site: Site) -> tuple[Gate, str, list[str]]:
    """Return an operation that has the machine web until a gate is opened, and three that wait for it in this order."""
    await site.succeed(machine("web", disks=0))
    gate = site.faults.before["StartGuest"] = Gate()
    start = start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/web")
    holder = (await site.submit(start)).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    waiting = []
    for number in range(3):
        waiting.append((await site.submit(rename(f"web {number}"))).name)
        await site.wait_until(partial(is_queued, site, waiting[-1]))
    return gate, holder, waiting


async def is_queued(site: Site, operation: str) -> bool:
    """Return whether an operation is known to wait for its locks."""
    return bool((await get(site, operation)).waiting_for)


async def order_of(site: Site) -> list[str]:
    """Return who waits for the machine web, who goes first before the others."""
    found = await site.locks.service.page("", 1000, lambda view: view.object == "virtualMachines/web")
    return [view.owner for view in found.locks if view.granted is None]


async def set_priority(site: Site, operation: str, priority: int) -> job_pb2.Job:
    """Give an operation another priority."""
    request = control.SetJobPriorityRequest(name=first_job(operation), priority=priority, reason="the boss waits")
    job: job_pb2.Job = await site.service.SetJobPriority(request)
    return job


async def test_a_priority_moves_a_waiting_operation_durably(site: Site) -> None:
    """It passes those before it, stays there over a restart of both services' state, and holders are not moved."""
    gate, holder, (first, second, third) = await queue_up(site)
    assert await order_of(site) == [first, second, third]
    assert (await set_priority(site, third, 2)).priority == 2

    async def has_passed() -> bool:
        return await order_of(site) == [third, first, second]

    await site.wait_until(has_passed)
    await set_priority(site, holder, -20)
    await restart(site)
    await settled(site)
    assert await order_of(site) == [third, first, second]
    await set_priority(site, third, 0)

    async def is_back() -> bool:
        return await order_of(site) == [first, second, third]

    await site.wait_until(is_back)
    rows = await site.locks.database.read(lambda sql: sql.execute("SELECT owner, priority FROM owner").fetchall())
    assert dict(rows)[third] == 0
    gate.open.set()
    for name in (first, second, third):
        assert not (await site.wait(name)).HasField("error")


async def test_a_crash_between_the_two_commits_of_a_priority_is_made_good(site: Site) -> None:
    """Durable in jobs and not told to the locks, it is told by the next scheduler."""
    gate, _, (first, second, third) = await queue_up(site)
    runner = await site.jobs.scheduler.running(int(third.partition("/")[2]))
    runner.ranking._news.give = lambda: None  # type: ignore[method-assign]  # the process ends before it can tell
    await set_priority(site, third, 2)
    await settled(site)
    assert await order_of(site) == [first, second, third]
    await restart(site)

    async def has_passed() -> bool:
        return await order_of(site) == [third, first, second]

    await site.wait_until(has_passed)
    gate.open.set()


async def test_a_priority_out_of_range_is_refused(site: Site, gate: Gate) -> None:
    """The field is named, and nothing is changed."""
    name = (await site.submit(machine("web", disks=1))).name
    error = await refusal(set_priority(site, name, 21))
    assert error.reason == "INVALID_REQUEST"
    assert "priority: 21 is not allowed; it must be -20 to 20" in error.message
    assert (await get(site, name)).priority == 0


async def abort_all(site: Site, matching: str, *, preview: bool = False) -> dict[str, tuple[str, bool]]:
    """Abort what matches; return result and match by job."""
    request = control.AbortJobsRequest(filter=matching, reason="wrong image", validate_only=preview)
    answer = await site.service.AbortJobs(request)
    word = control.AbortResult.Name
    return {row.job: (word(row.result).removeprefix("ABORT_RESULT_"), row.matches) for row in answer.jobs}


async def test_many_are_aborted_as_the_preview_said(site: Site, gate: Gate) -> None:
    """A job that matches takes its operation along; the preview changes nothing; others are left alone."""
    web, db = [(await site.submit(machine(each, disks=1))).name for each in ("web", "db")]

    async def both_begun() -> bool:
        return gate.count == 2

    await site.wait_until(both_begun)
    number = web.partition("/")[2]
    before = site.commits()["jobs"]
    matching = 'object = "virtualDisks/web-disk0"'
    assert len({job.partition("-")[0] for job in await abort_all(site, "done = false", preview=True)}) == 2
    foretold = await abort_all(site, matching, preview=True)
    assert site.commits()["jobs"] == before
    assert {job.partition("-")[0] for job in foretold} == {f"jobs/{number}"}
    assert set(foretold.values()) == {("WOULD_ABORT", True), ("WOULD_ABORT", False)}
    done = await abort_all(site, matching)
    assert {job: matches for job, (_, matches) in done.items()} == {job: each for job, (_, each) in foretold.items()}
    assert {result for result, _ in done.values()} == {"ABORTING"}
    again = {result for result, _ in (await abort_all(site, matching)).values()}
    assert again <= {"ALREADY_ABORTING"}
    gate.open.set()
    ended = await site.wait(web)
    assert metadata_of(ended).state == operation_pb2.OPERATION_STATE_CANCELLED
    assert ended.error.message == "aborted on request: wrong image (user/admin)"
    assert not (await site.wait(db)).HasField("error")


async def test_a_bulk_abort_needs_a_filter_that_can_be_read(site: Site, gate: Gate) -> None:
    """Nothing is aborted by a slip of the hand."""
    name = (await site.submit(machine("web", disks=1))).name
    for matching in ("", "  ", "colour = red", "state ="):
        error = await refusal(abort_all(site, matching))
        assert error.reason == "INVALID_REQUEST"
        assert "filter" in error.message
    gate.open.set()
    assert not (await site.wait(name)).HasField("error")
