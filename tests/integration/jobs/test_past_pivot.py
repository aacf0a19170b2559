"""What is refused past the point of no return (P6): a person has it tried now, or accepts that it is not done."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Gate
from tests.integration.jobs.test_pivot import DELETE, metadata_of
from tests.integration.jobs.test_stuck import Refusal, refused
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.api.operations.v1 import kill_virtual_machine_pb2, start_virtual_machine_pb2
from virtyard.jobs import next_tries

WEB = "virtualMachines/web"
KILL = kill_virtual_machine_pb2.KillVirtualMachineRequest(name=WEB)
LEFT = "Erase the images in repositories/R: the storage is away"
PAUSE = 600.0
"""Seconds between two tries, longer than any test: what goes on earlier does so by a person's decision."""


@pytest.fixture
async def furnished(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site with a machine that has two disks, where nothing is tried again by itself."""
    (site.share / "vmlinuz").write_bytes(b"a kernel")
    request = machine("web")
    request.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    await site.succeed(request)
    await site.wait_released()
    monkeypatch.setattr(next_tries, "PAUSE", PAUSE)
    monkeypatch.setattr(next_tries, "LONGEST_PAUSE", PAUSE)
    return site


async def begin(site: Site, action: str, request: Any, fault: Any) -> tuple[str, str]:
    """Submit what a host refuses past the pivot; return its operation and the job, once the refusal is durable."""
    site.faults.before[action] = fault
    name = (await site.submit(request)).name

    async def is_refused() -> bool:
        return bool(await refused_jobs(site, name))

    await site.wait_until(is_refused)
    (job,) = await refused_jobs(site, name)
    return name, job


async def refused_jobs(site: Site, name: str) -> list[str]:
    """Return the jobs of an operation with a step that waits for its second try."""
    jobs = await site.jobs_of(name)
    return [job.name for job in jobs if any(step.attempt == 2 and step.error.message for step in job.steps)]


async def retry(site: Site, job: str, reason: str = "") -> None:
    """Have what is refused tried now."""
    await site.service.RetryJob(job_service_pb2.RetryJobRequest(name=job, reason=reason))


async def accept(site: Site, job: str, reason: str = "") -> None:
    """Accept that what is refused is not done."""
    await site.service.AcceptJob(job_service_pb2.AcceptJobRequest(name=job, reason=reason))


async def get(site: Site, job: str) -> job_pb2.Job:
    """Return a job."""
    found: job_pb2.Job = await site.service.GetJob(job_service_pb2.GetJobRequest(name=job))
    return found


async def ends_partial(site: Site, name: str) -> operation_pb2.OperationMetadata:
    """Wait for an operation that ends with something left, and nothing locked."""
    operation = await site.wait(name)
    metadata = metadata_of(operation)
    assert not operation.HasField("error"), operation.error
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_PARTIAL, job_pb2.OUTCOME_PARTIAL)
    await site.wait_released()
    return metadata


async def test_a_retry_is_made_at_once(furnished: Site) -> None:
    """The pause between two tries is over, and the operation succeeds as if nothing had been."""
    site, refusal = furnished, Refusal()
    name, job = await begin(site, "EraseDiskFiles", DELETE, refusal)
    refusal.lifted = True
    await retry(site, job, "the storage is back")
    metadata = metadata_of(await site.wait(name))
    await is_told(site, name, job, "JOB_RETRIED", "had what is refused tried again", "the storage is back")
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_SUCCEEDED, job_pb2.OUTCOME_COMPLETE)
    assert (refusal.count, site.faults.done["EraseDiskFiles"]) == (2, 1)
    await site.wait_released()


@pytest.mark.parametrize("crash", ["", "jobs.accepted", "jobs.left"])
async def test_what_is_accepted_is_left_and_the_rest_is_done(furnished: Site, crash: str) -> None:
    """The job is complete but for what it tells, which is never tried again, also by the next scheduler."""
    site, refusal, ended = furnished, Refusal(), asyncio.Event()
    name, job = await begin(site, "EraseDiskFiles", DELETE, refusal)

    def end(transition: str) -> None:
        if transition == crash:
            site.jobs.scheduler.stop()  # nothing of it goes on behind this commit
            ended.set()

    site.on_transition = end
    await accept(site, job, "it is scrapped")
    if crash:
        async with asyncio.timeout(LIMIT):
            await ended.wait()
        site.on_transition = lambda _: None
        await site.close_jobs()
        await site.open_jobs()
    metadata = await ends_partial(site, name)
    done = await get(site, job)
    assert (done.state, done.outcome, list(done.residue)) == (
        job_pb2.JOB_STATE_COMPLETED,
        job_pb2.OUTCOME_PARTIAL,
        [LEFT],
    )
    assert list(metadata.residue) == [f"{done.object}: left over: {LEFT}"]
    assert (done.progress.percent, metadata.progress.percent) == (100, 100)
    assert not [each for each in await site.objects() if "web" in each]
    assert (refusal.count, site.faults.done["EraseDiskFiles"]) == (1, 0)

    async def told() -> bool:
        return [each.message for each in await site.events(done.object) if each.type == "JOB_FAILED"] == [
            f"{done.title} is left as it is: {LEFT}"
        ]

    await site.wait_until(told)
    await is_told(site, name, job, "JOB_ACCEPTED", "accepted what is refused as it is", "it is scrapped")


async def test_who_wanted_a_try_is_kept_when_the_scheduler_dies_of_it(furnished: Site) -> None:
    """In the commit that the person is answered behind; the next scheduler tries at once, as it had."""
    site, refusal = furnished, Refusal()
    name, job = await begin(site, "EraseDiskFiles", DELETE, refusal)
    died = asyncio.Event()

    def end(transition: str) -> None:
        if transition == "jobs.retry_asked":
            site.jobs.scheduler.stop()
            died.set()

    site.on_transition = end
    asked = asyncio.create_task(retry(site, job, "a guess"))
    async with asyncio.timeout(LIMIT):
        await died.wait()
        _ = await asyncio.wait([asked])
    site.on_transition = lambda _: None
    await site.close_jobs()
    refusal.lifted = True
    await site.open_jobs()
    await is_told(site, name, job, "JOB_RETRIED", "had what is refused tried again", "a guess")
    await retry_until_ended(site, name, job)


async def retry_until_ended(site: Site, name: str, job: str) -> None:
    """Have it tried once more if the next scheduler waits for its try, and see it end well."""
    with contextlib.suppress(grpc.aio.AioRpcError):  # it may have ended by then
        await retry(site, job)
    assert metadata_of(await site.wait(name)).outcome == job_pb2.OUTCOME_COMPLETE


async def is_told(site: Site, name: str, job: str, kind: str, what: str, reason: str) -> None:
    """See that who decided, what, when and why is in both chains of causes, and in one event."""
    stub: Any = operations_pb2_grpc.OperationsStub(site._near["jobs"])  # type: ignore[no-untyped-call]
    operation = await stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
    shown = await get(site, job)
    for chain in (metadata_of(operation).reason_trail, shown.reason_trail):
        found = [hop for hop in chain if hop.reason == f"{what} ({job}): {reason}"]
        assert [hop.source for hop in found] == ["user/admin"], chain
        assert found[0].time.ToNanoseconds() > chain[0].time.ToNanoseconds()

    async def raised() -> bool:
        events = [each for each in await site.events(shown.object, "INFORMATIONAL") if each.type == kind]
        text = f"user/admin {what} in {job} ({shown.title}): {reason}"
        return [(each.message, each.operation, each.job) for each in events] == [(text, name, job)]

    await site.wait_until(raised)


async def test_a_guest_that_cannot_be_ended_is_not_recorded_as_stopped(furnished: Site) -> None:
    """What a job would record of its host is not true there: the record stays, and another kill does it later."""
    site, refusal = furnished, Refusal()
    await site.succeed(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB))
    name, job = await begin(site, "KillGuest", KILL, refusal)
    await accept(site, job)
    await ends_partial(site, name)
    assert list((await get(site, job)).residue) == [
        "End the guest: the storage is away",
        "Record that it is stopped: not done, as 'End the guest' was given up",
    ]
    found: Any = (await site.objects())[WEB]
    assert (found.state, bool(found.server)) == (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING, True)
    refusal.lifted = True
    await site.succeed(KILL)
    found = (await site.objects())[WEB]
    assert found.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED


async def test_what_turns_out_to_be_done_is_not_left(furnished: Site) -> None:
    """P1: a try that is under way is stopped and settled first; the host finds all done then, so nothing is left."""
    site, refusal, gate = furnished, Refusal(), Gate()

    async def refuse_then_hang(message: object, context: object) -> None:
        await (gate(message, context) if refusal.count else refusal(message, context))

    name, job = await begin(site, "EraseDiskFiles", DELETE, refuse_then_hang)
    await retry(site, job)
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    await accept(site, job)
    assert metadata_of(await site.wait(name)).outcome == job_pb2.OUTCOME_COMPLETE
    assert list((await get(site, job)).residue) == []
    assert site.faults.done["EraseDiskFiles"] == 0, "the try that hung did not go on"
    assert not [each for each in site.files() if each.endswith((".raw", ".qcow2"))]
    await site.wait_released()


async def test_only_what_is_refused_takes_a_decision(furnished: Site) -> None:
    """Neither a job that is at work, nor another one of the operation, nor one that has ended; nothing changes."""
    site, gate = furnished, Gate()
    site.faults.before["EraseDiskFiles"] = gate
    name = (await site.submit(DELETE)).name
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    for job in await site.jobs_of(name):
        for call in (retry(site, job.name), accept(site, job.name)):
            error = await refused(call)
            assert error.reason == "WRONG_STATE"
            assert f"{job.name} is {job_pb2.JobState.Name(job.state).removeprefix('JOB_STATE_')}" in error.message
    gate.opened.set()
    assert metadata_of(await site.wait(name)).outcome == job_pb2.OUTCOME_COMPLETE
    assert (await refused(accept(site, job.name))).reason == "WRONG_STATE"


async def test_both_ways_are_offered(furnished: Site) -> None:
    """`job explain` names what is refused, and the command lines that help; an abort is none of them."""
    site, refusal = furnished, Refusal()
    name, job = await begin(site, "EraseDiskFiles", DELETE, refusal)
    told = await site.service.ExplainWait(pb.ExplainWaitRequest(name=job))
    assert (told.cause, list(told.job.refused)) == (pb.WAIT_CAUSE_RETRY, [LEFT])
    number = job.partition("/")[2]
    assert [each.command for each in told.remedies] == [f"virtyard job retry {number}", f"virtyard job accept {number}"]
    assert LEFT in told.remedies[0].text
    await accept(site, job)
    await ends_partial(site, name)


@pytest.mark.parametrize("over", [False, True])
async def test_the_pause_between_two_tries_outlives_the_scheduler(furnished: Site, over: bool) -> None:
    """The next one waits for what is left of it, and not any longer; no try is added or lost by the restart."""
    site, refusal = furnished, Refusal()
    name, job = await begin(site, "EraseDiskFiles", DELETE, refusal)
    refusal.lifted = True
    await site.close_jobs()
    site.jumped = 3 * PAUSE if over else 0.0
    await site.open_jobs()
    if not over:
        # Whatever else the scheduler would do is done once another operation has gone all the way.
        await site.succeed(machine("other", disks=0))
        assert refusal.count == 1
        await retry(site, job)
    assert metadata_of(await site.wait(name)).outcome == job_pb2.OUTCOME_COMPLETE
    assert (refusal.count, site.faults.done["EraseDiskFiles"]) == (2, 1)
