"""Steps that make no progress: told of once, shown while it lasts, and told of again when it is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_failure import Gate
from tests.integration.jobs.test_stuck import events_of
from virtyard.agent.actions.contract import Context
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.jobs import next_tries
from virtyard.jobs.effects import STALL_SECONDS
from virtyard.kernel.errors import WrongState

DISK = "virtualDisks/web-disk0"


class Slow(Gate):
    """A gate that tells how far it is when it is asked to."""

    def __init__(self) -> None:
        """Make a closed gate."""
        super().__init__()
        self.told = 0
        self._context: Context | None = None

    async def __call__(self, message: object, context: object) -> None:  # type: ignore[explicit-override]  # a fault
        """Wait."""
        assert isinstance(context, Context)
        self._context = context
        await super().__call__(message, context)

    def get_on(self) -> None:
        """Tell of one more part of ten."""
        assert self._context is not None
        self.told += 1
        self._context.progress(self.told, 10, "copying")


async def disk_job(site: Site, name: str, number: int = 3) -> job_pb2.Job:
    """Return the job that makes the disk, or another one."""
    found: job_pb2.Job = await site.service.GetJob(
        job_service_pb2.GetJobRequest(name=f"jobs/{name.partition('/')[2]}-{number}")
    )
    return found


async def told_of(site: Site, subject: str = DISK) -> list[str]:
    """Return the types of the events about stalls of an object, the first one first."""
    return [event.type for event in await events_of(site) if event.object == subject and event.type.startswith("JOB_")]


async def pass_time(site: Site, seconds: float) -> None:
    """Let time pass for the scheduler, and let it look."""
    site.skipped += seconds
    await site.jobs.scheduler.stalls.look()


async def begin(site: Site, gate: Gate) -> str:
    """Submit a machine whose disk is not made before the gate opens, and have the scheduler look at it once."""
    site.faults.before["CreateDiskFile"] = gate
    name = (await site.submit(machine("web", disks=1))).name
    await gate.reached.wait()
    await pass_time(site, 0)
    return name


async def has_events(site: Site, *types: str, subject: str = DISK) -> None:
    """Wait until the object has exactly these events about stalls."""

    async def there() -> bool:
        return await told_of(site, subject) == list(types)

    await site.wait_until(there)


async def test_a_step_without_progress_is_told_of_once_and_its_end_too(site: Site) -> None:
    """Not before the limit, once however often it is looked at, with the flag until the step has ended."""
    gate = Gate()
    name = await begin(site, gate)
    await pass_time(site, STALL_SECONDS - 10)
    assert not (await disk_job(site, name)).stalled
    for _ in range(3):
        await pass_time(site, 20)
    job = await disk_job(site, name)
    assert job.stalled
    assert 'makes no progress with "Make the disk\'s image"' in job.waiting_for
    assert job.state == job_pb2.JOB_STATE_RUNNING
    assert not (await disk_job(site, name, 1)).stalled
    await has_events(site, "JOB_STUCK")
    (event,) = [event for event in await events_of(site) if event.type == "JOB_STUCK"]
    assert (event.operation, event.job) == (name, job.name)
    gate.opened.set()
    await site.wait(name)
    await has_events(site, "JOB_STUCK", "JOB_GOES_ON")
    job = await disk_job(site, name)
    assert (job.stalled, job.waiting_for) == (False, "")


async def test_it_is_progress_that_counts_and_not_age(site: Site) -> None:
    """A step that gets on is never stuck, however long it takes; one that was stuck and gets on is so no more."""
    gate = Slow()
    name = await begin(site, gate)

    async def shown() -> bool:
        return (await disk_job(site, name)).progress.done_units == gate.told

    for _ in range(4):
        gate.get_on()
        await site.wait_until(shown)
        await pass_time(site, STALL_SECONDS - 10)
    assert not (await disk_job(site, name)).stalled
    await pass_time(site, STALL_SECONDS)
    await has_events(site, "JOB_STUCK")
    gate.get_on()
    await site.wait_until(shown)
    await pass_time(site, 0)
    await has_events(site, "JOB_STUCK", "JOB_GOES_ON")
    assert not (await disk_job(site, name)).stalled
    await pass_time(site, STALL_SECONDS + 10)
    await has_events(site, "JOB_STUCK", "JOB_GOES_ON", "JOB_STUCK")
    gate.opened.set()
    await site.wait(name)
    await has_events(site, "JOB_STUCK", "JOB_GOES_ON", "JOB_STUCK", "JOB_GOES_ON")


async def test_a_restart_tells_nobody_twice(site: Site) -> None:
    """The flag is still there, no second event is raised, and the end is told."""
    gate = Gate()
    name = await begin(site, gate)
    await pass_time(site, STALL_SECONDS)
    await site.close_jobs()
    await site.open_jobs()
    assert (await disk_job(site, name)).stalled
    for _ in range(3):
        await pass_time(site, STALL_SECONDS)
    gate.opened.set()
    await site.wait(name)
    await has_events(site, "JOB_STUCK", "JOB_GOES_ON")


async def test_a_silent_host_is_not_a_stall(site: Site) -> None:
    """Lost contact is shown as such; the time of silence does not count."""
    gate = Gate()
    name = await begin(site, gate)
    (server,) = {step.participant for step in (await disk_job(site, name)).steps} - {"inventory"}
    agent = server.partition("/")[2]
    await site.close_agent(agent)

    async def lost() -> bool:
        return (await disk_job(site, name)).contact_lost

    await site.wait_until(lost)
    await pass_time(site, 10 * STALL_SECONDS)
    assert not (await disk_job(site, name)).stalled
    gate.opened.set()
    await site.open_agent(agent)
    await site.wait(name)
    assert await told_of(site) == []


async def test_a_step_behind_the_pivot_that_is_tried_in_vain_is_stuck(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried for ever, and attempts are no progress; the event says how often, and why the last one failed."""
    monkeypatch.setattr(next_tries, "PAUSE", 0.001)
    await site.succeed(machine("web", disks=1))
    attempts = 0
    enough, mended = asyncio.Event(), asyncio.Event()

    async def refuse(_message: Any, _context: Any) -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 3:
            enough.set()
        if not mended.is_set():
            raise WrongState("the storage is away", resource="repositories/R")

    site.faults.before["EraseDiskFiles"] = refuse
    request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web")
    name = (await site.submit(request)).name
    await site.wait_until(lambda: _reaches(site, name))
    await pass_time(site, 0)
    await enough.wait()
    await pass_time(site, STALL_SECONDS)

    async def told() -> bool:
        return any(event.type == "JOB_STUCK" for event in await events_of(site))

    await site.wait_until(told)
    (event,) = [event for event in await events_of(site) if event.type == "JOB_STUCK"]
    assert "at attempt" in event.message
    assert event.causes[0].message == "the storage is away"
    mended.set()
    metadata = operation_pb2.OperationMetadata.FromString((await site.wait(name)).metadata.value)
    assert metadata.state == operation_pb2.OPERATION_STATE_SUCCEEDED
    await has_events(site, "JOB_STUCK", "JOB_GOES_ON", subject=event.object)


async def _reaches(site: Site, name: str) -> bool:
    """Return whether the operation has passed its pivot's intent."""
    jobs = await site.jobs_of(name)
    return any(step.attempt > 1 for job in jobs for step in job.steps)
