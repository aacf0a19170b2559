"""When an undo is refused: the operation stays, with its locks, over restarts too, until a person has decided."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Tries, state_of
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.jobs import rollback
from virtyard.jobs.decisions import Decision
from virtyard.jobs.outcome import MOST_ATTEMPTS
from virtyard.kernel.errors import VirtyardError, WrongState
from virtyard.runtime.status import named

DISK_JOB = 3
"""The job that makes the first disk of a machine, whose undo is refused here."""


class Refusal:
    """A fault that refuses until it is lifted."""

    def __init__(self) -> None:
        """Refuse."""
        self.lifted = False
        self.count = 0

    async def __call__(self, message: object, context: object) -> None:
        """Refuse, and count."""
        self.count += 1
        if not self.lifted:
            raise WrongState("the storage is away", resource="repositories/R")


Stuck = tuple[Site, str, Refusal]
"""A site, the operation that is stuck on it, and what refuses its undo."""


@pytest.fixture
async def stuck(site: Site, monkeypatch: pytest.MonkeyPatch) -> Stuck:
    """Return a site with an operation whose second disk failed and whose first cannot be removed."""
    monkeypatch.setattr(rollback, "_PAUSE", 0.001)
    site.faults.before["CreateDiskFile"] = Tries(2)
    refusal = site.faults.before["undo RemoveDiskFile"] = Refusal()
    name = (await site.submit(machine("web"))).name
    await site.wait_until(lambda: is_stuck(site, name))
    return site, name, refusal


def job_of(name: str, job: int = DISK_JOB) -> str:
    """Return the name of a job of an operation."""
    return f"jobs/{name.partition('/')[2]}-{job}"


async def get(site: Site, name: str, job: int = DISK_JOB) -> Any:
    """Return a job of an operation."""
    return await site.service.GetJob(job_service_pb2.GetJobRequest(name=job_of(name, job)))


async def is_stuck(site: Site, name: str) -> bool:
    """Return whether the first disk's job waits for a decision."""
    return bool((await get(site, name)).state == job_pb2.JOB_STATE_ROLLBACK_FAILED)


async def metadata_of(site: Site, name: str) -> operation_pb2.OperationMetadata:
    """Return the metadata of an operation at its end."""
    operation = await site.wait(name)
    return operation_pb2.OperationMetadata.FromString(operation.metadata.value)


async def refused(call: Any) -> VirtyardError:
    """Return why a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return named(caught.value)


async def test_a_refused_undo_keeps_the_locks_and_says_what_is_left(stuck: Stuck) -> None:
    """What was done before it is not undone, the residue is named, the objects stay locked, an event tells of it."""
    site, name, _ = stuck
    job = await get(site, name)
    assert list(job.residue) == ["Make the disk's image: the storage is away"]
    assert job.outcome == job_pb2.OUTCOME_PARTIAL
    assert await site.job_states(name) == [
        *("ROLLING_BACK", "ROLLING_BACK", "ROLLBACK_FAILED", "ROLLING_BACK", "ROLLING_BACK", "ABORTED", "ABORTED")
    ]
    assert "virtualMachines/web" in await site.objects()
    assert "virtualDisks/web-disk0" in await site.held_locks()

    async def told() -> bool:
        return any(event.type == "ROLLBACK_FAILED" for event in await events_of(site))

    await site.wait_until(told)
    (event,) = [event for event in await events_of(site) if event.type == "ROLLBACK_FAILED"]
    assert (event.severity, event.object, event.job) == (
        event_pb2.SEVERITY_CRITICAL,
        "virtualDisks/web-disk0",
        job_of(name),
    )


async def events_of(site: Site) -> list[event_pb2.Event]:
    """Return every event, the first one first."""
    rows = await site.inventory.database.read(
        lambda connection: connection.execute("SELECT body FROM event ORDER BY number").fetchall()
    )
    return [event_pb2.Event.FromString(body) for (body,) in rows]


async def test_what_a_refused_undo_does_not_need_is_free(stuck: Stuck) -> None:
    """The residue and what is still to be undone stay locked; what is undone or was never made is not (P20)."""
    site, name, refusal = stuck
    needed = {"virtualDisks/web-disk0", "virtualMachines/web", "repositories/R", "serverPools/Finance"}

    async def shrunk() -> bool:
        return set(await site.held_locks()) == needed

    await site.wait_until(shrunk)
    refusal.lifted = True
    await site.service.RetryJob(job_service_pb2.RetryJobRequest(name=job_of(name)))
    assert (await metadata_of(site, name)).outcome == job_pb2.OUTCOME_NONE
    await site.wait_released()


@pytest.mark.parametrize("decision", ["retry", "accept"])
async def test_a_decision_is_followed_though_its_call_was_cut(stuck: Stuck, decision: str) -> None:
    """What is durable goes on: the caller, cut off right behind the commit, has nothing more to do with it (P30)."""
    site, name, refusal = stuck
    refusal.lifted = decision == "retry"
    asked = Decision(principal="user/admin", job=str(DISK_JOB))
    call = asyncio.create_task(getattr(site.jobs.scheduler, decision)(int(name.partition("/")[2]), asked))
    durable = {"retry": "jobs.unstuck", "accept": "jobs.accepted"}[decision]

    def cut(transition: str) -> None:
        if transition == durable:
            call.cancel()

    site.on_transition = cut
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await site.wait(name)).HasField("error")
    await site.wait_released()


async def test_a_restart_does_not_decide(stuck: Stuck) -> None:
    """The next scheduler undoes nothing past the refused undo, ends nothing and releases nothing."""
    site, name, refusal = stuck
    before, tries = await state_of(site), refusal.count
    await site.close_jobs()
    await site.open_jobs()
    # Whatever else the scheduler would do is done once another operation has gone all the way.
    site.faults.before.pop("CreateDiskFile")
    await site.succeed(machine("other", disks=0))
    assert await is_stuck(site, name)
    assert refusal.count == tries
    assert "virtualDisks/web-disk0" in await site.held_locks()
    assert {key: value for key, value in (await state_of(site))["objects"].items() if "other" not in key} == before[
        "objects"
    ]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_retry_undoes_the_rest_when_the_cause_is_gone(stuck: Stuck, restarted: bool) -> None:
    """Then everything is as before, the outcome is NONE, and the locks go."""
    site, name, refusal = stuck
    if restarted:
        await site.close_jobs()
        await site.open_jobs()
    refusal.lifted = True
    answer = await site.service.RetryJob(job_service_pb2.RetryJobRequest(name=job_of(name)))
    assert answer.name == job_of(name)
    metadata = await metadata_of(site, name)
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_FAILED, job_pb2.OUTCOME_NONE)
    assert not [each for each in await site.objects() if "web" in each]
    assert not [each for each in site.files() if each.endswith((".raw", ".qcow2"))]
    await site.wait_released()


async def test_a_retry_that_is_refused_again_is_stuck_again(stuck: Stuck) -> None:
    """One more try is made, and a person is asked again."""
    site, name, refusal = stuck
    tries = refusal.count
    await site.service.RetryJob(job_service_pb2.RetryJobRequest(name=job_of(name)))

    async def tried() -> bool:
        return refusal.count > tries and await is_stuck(site, name)

    await site.wait_until(tried)
    assert "virtualDisks/web-disk0" in await site.held_locks()


@pytest.mark.parametrize("restarted", [False, True])
async def test_accepted_residue_ends_the_operation_as_partial(stuck: Stuck, restarted: bool) -> None:
    """The rest is undone; what was left is named by the job for ever, and nothing stays locked."""
    site, name, refusal = stuck
    if restarted:
        await site.close_jobs()
        await site.open_jobs()
    tries = refusal.count
    await site.service.AcceptJob(job_service_pb2.AcceptJobRequest(name=job_of(name)))
    metadata = await metadata_of(site, name)
    assert (metadata.state, metadata.outcome) == (operation_pb2.OPERATION_STATE_FAILED, job_pb2.OUTCOME_PARTIAL)
    assert refusal.count == tries
    job = await get(site, name)
    assert (job.state, job.outcome) == (job_pb2.JOB_STATE_FAILED, job_pb2.OUTCOME_PARTIAL)
    assert list(job.residue) == ["Make the disk's image: the storage is away"]
    assert "virtualMachines/web" not in await site.objects()
    assert len([each for each in site.files() if each.endswith((".raw", ".qcow2"))]) == 1
    await site.wait_released()


async def test_only_a_stuck_job_takes_a_decision(stuck: Stuck) -> None:
    """A job that is not ROLLBACK_FAILED, one that ended, and one that is not there are refused; nothing changes."""
    site, name, refusal = stuck
    ended = (await site.succeed(machine("other", disks=0))).name
    retry, accept = job_service_pb2.RetryJobRequest, job_service_pb2.AcceptJobRequest
    for job, reason in (
        (job_of(name, 1), "WRONG_STATE"),
        (job_of(ended, 1), "WRONG_STATE"),
        ("jobs/99-1", "NOT_FOUND"),
    ):
        for call in (site.service.RetryJob(retry(name=job)), site.service.AcceptJob(accept(name=job))):
            assert (await refused(call)).reason == reason
    assert await is_stuck(site, name)
    assert refusal.count == MOST_ATTEMPTS


async def test_an_abort_is_no_decision(stuck: Stuck) -> None:
    """An abort of an operation that is being undone already changes nothing about what is stuck."""
    site, name, refusal = stuck
    tries = refusal.count
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=job_of(name, 1)))
    await site.succeed(machine("other", disks=0))
    assert await is_stuck(site, name)
    assert refusal.count == tries


async def test_a_submission_during_the_start_is_begun_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """One that becomes durable before the adoption is adopted, one after it is begun; neither runs twice."""
    adopted = asyncio.Event()
    await site.close_jobs()
    await site.open_jobs(start=False)
    submitted = [(await site.submit(machine("between", disks=1))).name]
    scheduler = site.jobs.scheduler
    store = scheduler.world.store
    adopt = store.adopt

    async def adopt_and_submit(note: Any = None) -> Any:
        found = await adopt(note)
        submitted.append((await site.submit(machine("after", disks=1))).name)
        adopted.set()
        return found

    store.adopt = adopt_and_submit  # type: ignore[method-assign]  # the moment between adoption and start
    await scheduler.start()
    assert adopted.is_set()
    epochs = []
    for name in submitted:
        operation = await site.wait(name)
        assert not operation.HasField("error"), operation.error
        epochs.append(operation_pb2.OperationMetadata.FromString(operation.metadata.value).epoch)
    assert epochs == [2, 1]
    assert site.faults.done["CreateDiskFile"] == 2
    # A second runner of the same operation would have been overtaken by the first.
    assert "is given up" not in caplog.text


async def test_a_stopping_scheduler_begins_nothing(site: Site) -> None:
    """What is submitted while it stops is durable and runs after the next start."""
    site.jobs.scheduler.stop()
    name = (await site.submit(machine("late", disks=1))).name
    assert site.jobs.scheduler.find(int(name.partition("/")[2])) is None
    await site.close_jobs()
    await site.open_jobs()
    assert not (await site.wait(name)).HasField("error")


async def test_a_stopping_scheduler_sends_no_step_of_what_runs(site: Site) -> None:
    """An answer that comes while it stops is in the host's ledger; the next step waits for the next start."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(_message: Any, _context: Any) -> None:
        begun.set()
        await go.wait()

    site.faults.before["CreateDiskFile"] = hold
    name = (await site.submit(machine("held", disks=1))).name
    async with asyncio.timeout(LIMIT):
        await begun.wait()
    site.jobs.scheduler.stop()
    before = list(site.transitions)
    go.set()

    async def goes_on() -> bool:
        return any(one.startswith("jobs.") for one in site.transitions[len(before) :])

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await site.wait_until(goes_on)
    assert site.faults.done["CreateDiskFile"] == 1
    await site.close_jobs()
    await site.open_jobs()
    assert not (await site.wait(name)).HasField("error")
    assert site.faults.done["CreateDiskFile"] == 1
