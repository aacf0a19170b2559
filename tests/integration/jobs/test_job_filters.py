"""Filters over operations: what is kept back has no locks and says why, and goes on when the filter lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import Message

from tests.integration.jobs.site import Site, running
from virtyard.api.inventory.v1 import filter_pb2
from virtyard.api.jobs.v1 import (
    automation_service_pb2,
    automation_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    operation_pb2,
)
from virtyard.api.operations.v1 import (
    create_filter_pb2,
    create_schedule_pb2,
    delete_filter_pb2,
    delete_schedule_pb2,
    refresh_server_pb2,
    update_filter_pb2,
)
from virtyard.api.type.v1 import annotations_pb2, submission_pb2
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import pack
from virtyard.runtime.local import LocalChannel

NAME = "filters/calm"
SCHEDULES = 'objects:"schedules/"'
"""What most filters here match: making schedules needs no host."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site without a server."""
    async with running(tmp_path) as site:
        yield site


async def define(site: Site, action: int, matches: str = SCHEDULES, **fields: Any) -> None:
    """Make a filter, and wait until the scheduler knows it."""
    wanted = filter_pb2.Filter(matches=matches, action=action, **fields)  # type: ignore[arg-type]  # an enum's number
    await site.succeed(create_filter_pb2.CreateFilterRequest(filter_id="calm", filter=wanted))
    await known(site, lambda filters: [each.name for each in filters] == [NAME])


async def known(site: Site, condition: Any) -> None:
    """Wait until the scheduler's filters are so."""
    definitions = site.jobs.scheduler.world.filters._definitions

    async def so() -> bool:
        return bool(condition(definitions.filters()))

    await site.wait_until(so)


def schedule(name: str, reason: str = "") -> create_schedule_pb2.CreateScheduleRequest:
    """Return the request for a schedule."""
    request = create_schedule_pb2.CreateScheduleRequest(
        schedule_id=name, options=submission_pb2.SubmissionOptions(reason=reason)
    )
    request.schedule.cron = "0 0 1 1 *"
    request.schedule.request.CopyFrom(pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1")))
    return request


async def submit_held(site: Site, request: Message) -> str:
    """Submit what a filter keeps back, wait until it is, and return its name."""
    name = (await site.submit(request)).name

    async def held() -> bool:
        return name in (await status(site)).held_operations

    await site.wait_until(held)
    return name


async def status(site: Site) -> automation_service_pb2.FilterStatus:
    """Return what the filter keeps back."""
    stub: Any = automation_service_pb2_grpc.AutomationServiceStub(site._near["jobs"])
    request = automation_service_pb2.GetFilterStatusRequest(name=NAME)
    found: automation_service_pb2.FilterStatus = await stub.GetFilterStatus(request)
    return found


async def ends_well(site: Site, name: str) -> None:
    """Wait for an operation, which must succeed."""
    assert not (await site.wait(name)).HasField("error")


async def test_what_is_paused_holds_no_lock_says_by_whom_and_goes_on_when_the_filter_is_gone(site: Site) -> None:
    """Kept back before its locks are asked for, over a restart too; what does not match is not."""
    await define(site, filter_pb2.FILTER_ACTION_PAUSE, f'{SCHEDULES} AND NOT reason = "urgent"')
    name = await submit_held(site, schedule("a"))
    (job,) = await site.jobs_of(name)
    assert (job.state, job.waiting_for) == (job_pb2.JOB_STATE_PENDING, f"{NAME}, which keeps it back")
    operation = await site.jobs.scheduler.look(int(name.partition("/")[2]))
    assert operation.record.held == job_pb2.HELD_REASON_FILTER
    assert await site.held_locks() == []
    await site.succeed(schedule("b", reason="urgent"))
    await site.wait_released()
    await site.close_jobs()
    await site.open_jobs()

    async def held_again() -> bool:
        return list((await status(site)).held_operations) == [name]

    await site.wait_until(held_again)
    assert await site.held_locks() == []
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name=NAME))
    await ends_well(site, name)
    assert (await site.jobs.scheduler.look(operation.number)).record.held == job_pb2.HELD_REASON_UNSPECIFIED


async def test_what_is_kept_back_can_be_aborted_and_a_filter_that_matches_all_be_disabled(site: Site) -> None:
    """The abort leaves nothing; operations on filters pass every filter."""
    await define(site, filter_pb2.FILTER_ACTION_PAUSE, "title:*")
    first, second = await submit_held(site, schedule("a")), await submit_held(site, schedule("b"))
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=f"jobs/{first.partition('/')[2]}-1"))
    ended = operation_pb2.OperationMetadata.FromString((await site.wait(first)).metadata.value)
    assert (ended.state, ended.outcome) == (operation_pb2.OPERATION_STATE_CANCELLED, job_pb2.OUTCOME_NONE)
    changed = update_filter_pb2.UpdateFilterRequest()
    changed.filter.name, changed.filter.state = NAME, filter_pb2.FILTER_STATE_DISABLED
    await site.succeed(changed)
    await ends_well(site, second)
    assert [name for name in await site.objects() if name.startswith("schedules/")] == ["schedules/b"]


async def test_what_is_rejected_is_refused_with_the_filter_and_leaves_nothing(site: Site) -> None:
    """Also as a preview; nothing is stored, and the same request id can be used once the filter is gone."""
    await define(site, filter_pb2.FILTER_ACTION_REJECT, "type = CreateSchedule", description="the year ends")
    request = schedule("a")
    request.request_id = "0d9b8a43-3b46-4d0f-9a54-0b1b8e2b6a11"
    jobs = len((await site.service.ListJobs(job_service_pb2.ListJobsRequest())).jobs)
    for preview in (False, True):
        request.validate_only = preview
        with pytest.raises(grpc.aio.AioRpcError, match=f"{NAME} rejects Create Schedule: the year ends") as refused:
            await site.submit(request)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert len((await site.service.ListJobs(job_service_pb2.ListJobsRequest())).jobs) == jobs
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name=NAME))
    await known(site, lambda filters: not filters)
    request.validate_only = False
    await site.succeed(request)


async def test_so_many_begin_in_a_minute_in_their_order(site: Site) -> None:
    """Of four, two begin; the third and fourth follow in their order once the limit is raised."""
    await define(site, filter_pb2.FILTER_ACTION_RATE_LIMIT, limit_per_minute=2)
    for name in ("a", "b"):
        await site.succeed(schedule(name))
    third, fourth = await submit_held(site, schedule("c")), await submit_held(site, schedule("d"))
    assert list((await status(site)).held_operations) == [third, fourth]
    changed = update_filter_pb2.UpdateFilterRequest()
    changed.filter.name, changed.filter.limit_per_minute = NAME, 3
    await site.succeed(changed)
    await ends_well(site, third)
    assert list((await status(site)).held_operations) == [fourth]
    changed.filter.limit_per_minute = 4
    await site.succeed(changed)
    await ends_well(site, fourth)


class Minutes:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Begin at nought."""
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.seconds


async def test_the_next_begins_once_a_minute_has_passed(site: Site) -> None:
    """By itself, no earlier, and no more than the limit."""
    filters: Any = site.jobs.scheduler.world.filters
    clock = filters._clock = Minutes()
    await define(site, filter_pb2.FILTER_ACTION_RATE_LIMIT, limit_per_minute=1)
    await site.succeed(schedule("a"))
    clock.seconds = 59.9
    second, third = await submit_held(site, schedule("b")), await submit_held(site, schedule("c"))
    assert [job.state for job in await site.jobs_of(second)] == [job_pb2.JOB_STATE_PENDING]
    # Each change of a filter has those that are kept back look again.
    other = filter_pb2.Filter(matches="title = none", action=filter_pb2.FILTER_ACTION_PAUSE)
    await site.succeed(create_filter_pb2.CreateFilterRequest(filter_id="other", filter=other))
    await known(site, lambda filters: len(filters) == 2)
    assert list((await status(site)).held_operations) == [second, third]
    clock.seconds = 60.0
    await ends_well(site, second)
    assert list((await status(site)).held_operations) == [third]
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name=NAME))
    await ends_well(site, third)
    # What was counted for it goes with it.
    assert not filters._begun


async def test_what_one_person_submits_is_kept_back(site: Site) -> None:
    """By the principal; what another person submits of the same kind is not."""
    await define(site, filter_pb2.FILTER_ACTION_PAUSE, 'principal = "user/ann"')
    ann = Principal.of("user/ann", frozenset({annotations_pb2.ROLE_ADMINISTRATOR}))
    async with LocalChannel(site.jobs.services, ann) as channel:
        stub: Any = job_service_pb2_grpc.JobServiceStub(channel)
        asked = job_service_pb2.SubmitOperationRequest(request=pack(schedule("a")))
        name = (await stub.SubmitOperation(asked)).name

    async def held() -> bool:
        return list((await status(site)).held_operations) == [name]

    await site.wait_until(held)
    await site.succeed(schedule("b"))
    assert [job.principal for job in await site.jobs_of(name)] == ["user/ann"]
    assert list((await status(site)).held_operations) == [name]
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name=NAME))
    await ends_well(site, name)


async def test_what_was_there_before_a_drain_runs_to_its_end(site: Site) -> None:
    """One that a pause kept back goes on when the pause becomes a drain; one that is submitted after it does not."""
    await site.succeed(schedule("old"))
    await define(site, filter_pb2.FILTER_ACTION_PAUSE)
    await site.succeed(
        create_filter_pb2.CreateFilterRequest(
            filter_id="other", filter=filter_pb2.Filter(matches="title = none", action=filter_pb2.FILTER_ACTION_PAUSE)
        )
    )
    before = await submit_held(site, delete_schedule_pb2.DeleteScheduleRequest(name="schedules/old"))
    drain = filter_pb2.Filter(matches=SCHEDULES, action=filter_pb2.FILTER_ACTION_DRAIN)
    await site.succeed(create_filter_pb2.CreateFilterRequest(filter_id="drain", filter=drain))
    await known(site, lambda filters: "filters/drain" in {each.name for each in filters})
    after = (await site.submit(schedule("new"))).name
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name=NAME))
    await ends_well(site, before)
    stub: Any = automation_service_pb2_grpc.AutomationServiceStub(site._near["jobs"])
    asked = automation_service_pb2.GetFilterStatusRequest(name="filters/drain")

    async def drained() -> bool:
        shown = await stub.GetFilterStatus(asked)
        return (list(shown.held_operations), list(shown.active_operations)) == ([after], [])

    await site.wait_until(drained)
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name="filters/drain"))
    await ends_well(site, after)
