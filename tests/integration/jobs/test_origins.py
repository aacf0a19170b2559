"""Origins: a job is a job whoever asked for it: a person, an event, a schedule, a parent, a server that is behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.jobs.site import LIMIT, Site
from tests.integration.jobs.test_history import ARCHIVED, NOTHING, listed, tidy
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import schedule_pb2, server_pb2, trigger_pb2
from virtyard.api.jobs.v1 import (
    automation_service_pb2,
    automation_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    operation_pb2,
)
from virtyard.api.locks.v1 import lock_service_pb2, lock_service_pb2_grpc
from virtyard.api.operations.v1 import (
    create_schedule_pb2,
    create_trigger_pb2,
    unpresent_repository_pb2,
    update_repository_pb2,
)
from virtyard.internal.inventory.v1 import (
    control_service_pb2,
    control_service_pb2_grpc,
    host_service_pb2,
    host_service_pb2_grpc,
)
from virtyard.inventory.built_in import built_in_objects
from virtyard.jobs import roll_call
from virtyard.kernel import event_types
from virtyard.kernel.errors import NotFound
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import pack
from virtyard.kernel.view import select
from virtyard.locks.model import LockSet, LockWish
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.status import errors_named

WAITING, COMPLETED = job_pb2.JOB_STATE_WAITING_FOR_LOCKS, job_pb2.JOB_STATE_COMPLETED
PERSON, EVENT, SCHEDULE = job_pb2.ORIGIN_PERSON, job_pb2.ORIGIN_EVENT, job_pb2.ORIGIN_SCHEDULE
PARENT = job_pb2.ORIGIN_PARENT


def labelled(name: str) -> update_repository_pb2.UpdateRepositoryRequest:
    """Return a request that changes labels of a repository."""
    request = update_repository_pb2.UpdateRepositoryRequest()
    request.repository.name, request.repository.labels["seen"] = name, "yes"
    return request


async def by_person(site: Site) -> str:
    """Have a person ask for a change."""
    return (await site.submit(labelled("repositories/R"))).name


async def by_event(site: Site) -> str:
    """Record an event that a trigger waits for."""
    wanted = trigger_pb2.Trigger(event_filter="type = FOREIGN_FILE", request=pack(labelled("{event.object}")))
    await site.succeed(create_trigger_pb2.CreateTriggerRequest(trigger_id="look", trigger=wanted))
    stub: Any = control_service_pb2_grpc.ControlServiceStub(site._near["inventory"])
    request = control_service_pb2.RaiseEventsRequest()
    event = event_types.new_event(event_types.FOREIGN_FILE, "repositories/R", "a file is there")
    request.events.add(key="a", event=event)
    await stub.RaiseEvents(request)
    return await submitted_by(site, "triggers/look")


async def by_schedule(site: Site) -> str:
    """Run a schedule."""
    wanted = schedule_pb2.Schedule(cron="0 0 1 1 *", request=pack(labelled("repositories/R")))
    await site.succeed(create_schedule_pb2.CreateScheduleRequest(schedule_id="yearly", schedule=wanted))
    request = automation_service_pb2.RunScheduleRequest(name="schedules/yearly")
    return str((await automation(site).RunSchedule(request)).name)


async def by_parent(site: Site) -> str:
    """Ask for a change whose jobs for each server are children."""
    request = unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/R", servers=["servers/s1"])
    return (await site.submit(request)).name


async def by_return(site: Site) -> str:
    """Have a server report that was away while a change was made; the trigger is the one that every site has."""
    (catch_up,) = (each for each in built_in_objects() if each.name == "triggers/catch-up")
    wanted = trigger_pb2.Trigger(event_filter=catch_up.event_filter, request=catch_up.request)
    await site.succeed(create_trigger_pb2.CreateTriggerRequest(trigger_id="catch-up", trigger=wanted))
    async with LocalChannel(site.inventory.services, Principal.of("agent/s2")) as channel:
        stub: Any = host_service_pb2_grpc.HostServiceStub(channel)
        host = agent_service_pb2.Host(server="servers/s2", agent_address=site.addresses["s2"])
        assert (await stub.ReportHost(host_service_pb2.ReportHostRequest(host=host))).known
    return await submitted_by(site, "triggers/catch-up")


CAUSES: dict[str, tuple[Callable[[Site], Awaitable[str]], int, str]] = {
    "person": (by_person, PERSON, "repositories/R"),
    "event": (by_event, EVENT, "repositories/R"),
    "schedule": (by_schedule, SCHEDULE, "repositories/R"),
    "parent": (by_parent, PERSON, "servers/s1"),
    "reconcile": (by_return, EVENT, "servers/s2"),
}


def automation(site: Site) -> Any:
    """Return the stub of what shows triggers and schedules."""
    return automation_service_pb2_grpc.AutomationServiceStub(site._near["jobs"])


async def submitted_by(site: Site, trigger: str) -> str:
    """Wait until a trigger has submitted an operation, and return its name."""
    request = automation_service_pb2.GetTriggerStatusRequest(name=trigger)

    async def runs() -> bool:
        return bool((await automation(site).GetTriggerStatus(request)).runs)

    await site.wait_until(runs)
    return str((await automation(site).GetTriggerStatus(request)).last_operation)


@asynccontextmanager
async def locked(site: Site, name: str) -> AsyncIterator[None]:
    """Hold an object, so that what changes it waits."""
    locks: Any = site.jobs.scheduler.world.locks
    wish = LockWish(object=name, mode=LockMode.X, job="")
    await locks.acquire(LockSet(owner="operations/900000", epoch=1, locks=(wish,), purpose="a test"), lambda _: None)
    yield
    await locks.release([lock_service_pb2.OwnerRelease(owner="operations/900000", epoch=1)])


async def watched(site: Site) -> dict[str, job_pb2.Job]:
    """Return the jobs that a watcher of all jobs is shown first."""
    seen = {}
    async for frame in site.service.WatchJobs(job_service_pb2.WatchJobsRequest()):
        if not frame.HasField("job"):
            break
        seen[frame.name] = frame.job
    return seen


@pytest.fixture
async def changes(site: Site) -> AsyncIterator[dict[str, list[job_pb2.Job]]]:
    """Collect what a watcher of all jobs is told behind its snapshot, by the jobs' names."""
    seen: dict[str, list[job_pb2.Job]] = {}
    live = asyncio.Event()

    async def watch() -> None:
        async for frame in site.service.WatchJobs(job_service_pb2.WatchJobsRequest()):
            if not frame.HasField("job"):
                live.set()
            elif live.is_set():
                seen.setdefault(frame.name, []).append(frame.job)

    task = asyncio.create_task(watch())
    async with asyncio.timeout(LIMIT):
        await live.wait()
    yield seen
    task.cancel()


async def check_transcript(site: Site, jobs: list[job_pb2.Job], *, aborted: bool) -> None:
    """See that an export has the jobs as they ended, and with the first one what was told of the operation."""
    request = job_service_pb2.ExportJobsRequest(filter=f'operation = "{jobs[0].operation}"')

    async def told() -> bool:
        found = {each.job.name: each async for each in site.service.ExportJobs(request)}
        assert [found[job.name].job for job in jobs] == jobs
        events = [event.type for event in found[jobs[0].name].events]
        assert aborted or not {"ABORT_REQUESTED", "OPERATION_ABORTED"} & {*events}
        return not aborted or {"ABORT_REQUESTED", "OPERATION_ABORTED"} <= {*events}

    await site.wait_until(told)  # events follow their operation


async def check_retention(site: Site, name: str) -> None:
    """See that ended jobs leave the live list and its watch as they are, answer from the archive, and then are gone."""
    live = await site.jobs_of(name)
    await tidy(site, ARCHIVED)
    assert not set(await watched(site)) & {job.name for job in live}
    assert await listed(site, f'operation = "{name}"') == []
    for job in live:
        job.archived = True
    by_name = {job.name: job for job in await listed(site, f'operation = "{name}"', archived=True)}
    assert by_name == {job.name: job for job in live}
    assert await site.service.GetJob(job_service_pb2.GetJobRequest(name=live[0].name)) == live[0]
    # What a trigger or a schedule submits has a request id too, for which it would be kept longer.
    await tidy(site, replace(ARCHIVED, archive=NOTHING, request_ids=timedelta()))
    assert await listed(site, f'operation = "{name}"', archived=True) == []
    with pytest.raises(NotFound), errors_named():
        await site.service.GetJob(job_service_pb2.GetJobRequest(name=live[0].name))


@pytest.mark.parametrize("cause", sorted(CAUSES))
@pytest.mark.parametrize("aborted", [False, True], ids=["done", "aborted"])
async def test_a_job_is_a_job_whoever_asked_for_it(
    site: Site,
    cause: str,
    aborted: bool,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, list[job_pb2.Job]],
) -> None:
    """It is listed, watched, counted, waits for locks by its name, is aborted or ends, is told of and kept."""
    ask, origin, target = CAUSES[cause]
    if cause == "reconcile":
        monkeypatch.setattr(roll_call, "PATIENCE", 0.5)
        await site.close_agent("s2")
        names = ["servers/s1", "servers/s2"]
        await site.run(unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/R", servers=names))
        await site.open_agent("s2")
        await site.wait_released()
    async with locked(site, target):
        name = await ask(site)

        async def waits() -> bool:
            return (await site.jobs_of(name))[0].state == WAITING

        await site.wait_until(waits)
        jobs = await site.jobs_of(name)
        assert [job.origin for job in jobs] == [PARENT if job.parent_job else origin for job in jobs]
        assert [bool(job.parent_job) for job in jobs] == [False, *[cause == "parent"] * (len(jobs) - 1)]
        everything = (await site.service.ListJobs(job_service_pb2.ListJobsRequest(page_size=1000))).jobs
        assert {job.name for job in jobs} <= {job.name for job in everything} & set(await watched(site))
        assert (await site.service.GetJobSummary(job_service_pb2.GetJobSummaryRequest())).pending >= 1
        locks: Any = lock_service_pb2_grpc.LockServiceStub(site._near["locks"])
        waiting = (await locks.ListLocks(lock_service_pb2.ListLocksRequest())).locks
        assert target in {lock.object for lock in waiting if lock.owner == name and lock.waiting}
        await tidy(site, ARCHIVED)
        assert not any(job.archived for job in await site.jobs_of(name)), "what is open is no history"
        if aborted:
            await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=jobs[-1].name, reason="a test"))
            await site.wait(name)
    ended = await site.wait(name)
    metadata = operation_pb2.OperationMetadata.FromString(ended.metadata.value)
    assert metadata.state == (
        operation_pb2.OPERATION_STATE_CANCELLED if aborted else operation_pb2.OPERATION_STATE_SUCCEEDED
    )
    for job in await site.jobs_of(name):
        assert job.done
        assert job.state == (job_pb2.JOB_STATE_ABORTED if aborted else COMPLETED)
        assert aborted == all(step.state != job_pb2.STEP_STATE_DONE for step in job.steps)
        assert (await site.service.GetJob(job_service_pb2.GetJobRequest(name=job.name))).title == job.title
    finished = await site.jobs_of(name)

    async def all_told() -> bool:
        return {job.name for job in finished} <= {told for told, states in changes.items() if states[-1].done}

    await site.wait_until(all_told)
    for job in finished:
        assert (changes[job.name][0].done, changes[job.name][-1]) == (False, job), "it was told of from its beginning"
    await check_transcript(site, finished, aborted=aborted)
    await site.wait_released()
    if cause == "reconcile":
        server = (await site.view(select("servers/s2"))).get("servers/s2", server_pb2.Server)
        assert (server.desired_revision - server.applied_revision) == int(aborted)
    await check_retention(site, name)
