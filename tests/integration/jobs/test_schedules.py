"""Schedules: each due time once, whatever ends in between, by their policies for overlap and for what was missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from tests.integration.jobs import site as site_module
from tests.integration.jobs.site import Site, running
from tests.integration.jobs.test_trigger_defects import spoil
from virtyard.api.inventory.v1 import schedule_pb2
from virtyard.api.jobs.v1 import automation_service_pb2, automation_service_pb2_grpc, job_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.operations.v1 import (
    create_schedule_pb2,
    delete_schedule_pb2,
    refresh_server_pb2,
    update_schedule_pb2,
)
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedules
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import pack
from virtyard.locks.model import LockSet, LockWish

NAME = "schedules/often"


class SteeredClock:
    """The real clock, which a test puts forward."""

    def __init__(self) -> None:
        """Begin with the real time."""
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        """Return the real seconds."""
        return time.monotonic()

    def not_before(self, floor: datetime | None) -> None:
        """Never fall."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SteeredClock:
    """Return the clock of the whole site, at which schedules look all the time."""
    steered = SteeredClock()
    monkeypatch.setattr(site_module, "SystemClock", lambda **_: steered)
    monkeypatch.setattr(schedules, "_LOOK", 0.02)
    return steered


@pytest.fixture
async def site(tmp_path: Path, clock: SteeredClock) -> AsyncIterator[Site]:
    """Run a site without a server: schedules here change labels of another schedule."""
    async with running(tmp_path) as site:
        await define(site, refresh_server_pb2.RefreshServerRequest(name="servers/s1"), "target", cron="0 0 1 1 *")
        yield site


def labelled() -> Message:
    """Return the request that most schedules here submit."""
    request = update_schedule_pb2.UpdateScheduleRequest()
    request.schedule.name, request.schedule.labels["seen"] = "schedules/target", "yes"
    return request


async def define(site: Site, do: Message, schedule_id: str = "often", **fields: Any) -> None:
    """Make a schedule."""
    wanted = schedule_pb2.Schedule(request=pack(do), **fields)
    await site.succeed(create_schedule_pb2.CreateScheduleRequest(schedule_id=schedule_id, schedule=wanted))


def service(site: Site) -> Any:
    """Return the stub of the service that shows what schedules do."""
    return automation_service_pb2_grpc.AutomationServiceStub(site._near["jobs"])


async def status(site: Site) -> automation_service_pb2.ScheduleStatus:
    """Return what a schedule has done, and does next."""
    request = automation_service_pb2.GetScheduleStatusRequest(name=NAME)
    found: automation_service_pb2.ScheduleStatus = await service(site).GetScheduleStatus(request)
    return found


async def wait_for(site: Site, **counts: int) -> automation_service_pb2.ScheduleStatus:
    """Wait until counts of the schedule have been reached, and return its status."""

    async def reached() -> bool:
        shown = await status(site)
        return all(getattr(shown, name) >= count for name, count in counts.items())

    await site.wait_until(reached)
    return await status(site)


async def scheduled(site: Site) -> list[record_pb2.OperationRecord]:
    """Return the records of the operations that came of schedules, the oldest first."""
    operations = await site.jobs.scheduler.world.store.operations_before(1 << 40, 1000)
    found = [each.record for each in operations if each.record.origin == job_pb2.ORIGIN_SCHEDULE]
    return sorted(found, key=lambda record: record.number)


@asynccontextmanager
async def locked(site: Site) -> AsyncIterator[None]:
    """Hold what the operations of schedules need, so that they do not end."""
    locks: Any = site.jobs.scheduler.world.locks
    wish = LockWish(object="schedules/target", mode=LockMode.X, job="")
    await locks.acquire(LockSet(owner="operations/900000", epoch=1, locks=(wish,), purpose="a test"), lambda _: None)
    yield
    await locks.release([lock_service_pb2.OwnerRelease(owner="operations/900000", epoch=1)])


async def test_a_due_time_has_its_operation_submitted_and_the_next_five_are_shown(
    site: Site, clock: SteeredClock
) -> None:
    """In the name of who made the schedule, with the chain of causes; not before it is due, and once."""
    await define(site, labelled(), interval_seconds=600)
    before = await status(site)
    times = [each.ToDatetime(UTC) for each in before.next_times]
    created = before.schedule.create_time.ToDatetime(UTC)
    assert times == [created + timedelta(seconds=600 * number) for number in range(1, 6)]
    assert before.runs == 0
    clock.ahead += timedelta(seconds=600)
    shown = await wait_for(site, runs=1)
    assert not (await site.wait(shown.last_operation)).HasField("error")
    (record,) = await scheduled(site)
    assert (record.principal, [link.source for link in record.reason_trail]) == ("user/admin", [NAME])
    assert record.reason_trail[0].time.ToDatetime(UTC) == times[0]
    assert shown.next_times[0].ToDatetime(UTC) == times[1]
    await site.succeed(delete_schedule_pb2.DeleteScheduleRequest(name=NAME))
    clock.ahead += timedelta(seconds=600)
    await asyncio.gather(*(site.objects() for _ in range(3)))
    assert len(await scheduled(site)) == 1


@pytest.mark.parametrize("transition", ["jobs.C1", "jobs.Ct", "inventory.I"])
async def test_a_scheduler_that_ends_in_between_runs_it_once(site: Site, clock: SteeredClock, transition: str) -> None:
    """Ended right after a durable transition of a run, the next scheduler neither repeats nor loses it."""
    await define(site, labelled(), interval_seconds=600)
    await site.wait_released()
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def notice(name: str) -> None:
        if name == transition:
            loop.call_soon_threadsafe(reached.set)

    site.on_transition = notice
    clock.ahead += timedelta(seconds=600)
    async with asyncio.timeout(20):
        await reached.wait()
    site.on_transition = lambda _: None
    await site.close_jobs()
    await site.open_jobs()
    (record,) = await scheduled(site)
    assert not (await site.wait(f"operations/{record.number}")).HasField("error")
    clock.ahead += timedelta(seconds=600)
    assert (await wait_for(site, runs=2)).left_out == 0
    assert len(await scheduled(site)) == 2


@pytest.mark.parametrize(
    ("policy", "runs", "left_out"),
    [
        (schedule_pb2.CATCH_UP_POLICY_NONE, 0, 5),
        (schedule_pb2.CATCH_UP_POLICY_LAST, 1, 4),
        (schedule_pb2.CATCH_UP_POLICY_ALL, 3, 2),
    ],
)
async def test_what_was_missed_is_made_up_for_as_it_says(
    site: Site, clock: SteeredClock, policy: schedule_pb2.CatchUpPolicy.ValueType, runs: int, left_out: int
) -> None:
    """Of five times that passed while no scheduler ran: none, the last, or the last three one after another."""
    await define(site, labelled(), interval_seconds=600, catch_up=policy, most_caught_up=3)
    await site.wait_released()
    await site.close_jobs()
    clock.ahead += timedelta(seconds=3300)
    await site.open_jobs()
    shown = await wait_for(site, runs=runs, left_out=left_out)
    records = await scheduled(site)
    assert (shown.runs, shown.left_out, len(records)) == (runs, left_out, runs)
    due = [record.reason_trail[0].time.ToDatetime(UTC) for record in records]
    created = shown.schedule.create_time.ToDatetime(UTC)
    assert due == [created + timedelta(seconds=600 * number) for number in range(6 - runs, 6)]
    if runs:
        await site.wait(shown.last_operation)
    clock.ahead += timedelta(seconds=300)
    assert (await wait_for(site, runs=runs + 1)).left_out == left_out


@pytest.mark.parametrize(
    ("policy", "runs", "left_out", "after"),
    [
        (schedule_pb2.OVERLAP_POLICY_SKIP, 1, 2, 1),
        (schedule_pb2.OVERLAP_POLICY_QUEUE, 1, 1, 2),
        (schedule_pb2.OVERLAP_POLICY_RUN, 3, 0, 3),
    ],
)
async def test_a_run_that_meets_the_one_before_does_as_its_policy_says(
    site: Site,
    clock: SteeredClock,
    policy: schedule_pb2.OverlapPolicy.ValueType,
    runs: int,
    left_out: int,
    after: int,
) -> None:
    """Three are due while the first is held up: the others are skipped, one of them waits, or all are submitted."""
    await define(site, labelled(), interval_seconds=600, overlap=policy)
    await site.wait_released()
    async with locked(site):
        for number in range(1, 4):
            clock.ahead += timedelta(seconds=600)
            decided = number if policy == schedule_pb2.OVERLAP_POLICY_RUN else 1
            skipped = 0 if policy == schedule_pb2.OVERLAP_POLICY_RUN else number - 1
            queued = min(skipped, 1) if policy == schedule_pb2.OVERLAP_POLICY_QUEUE else 0
            await wait_for(site, runs=decided, left_out=skipped - queued, queued=queued)
        shown = await status(site)
        assert (shown.runs, shown.left_out) == (runs, left_out)
    shown = await wait_for(site, runs=after)
    assert (shown.queued, len(await scheduled(site))) == (0, after)


async def test_while_it_is_disabled_it_runs_only_when_somebody_asks(site: Site, clock: SteeredClock) -> None:
    """What passes meanwhile is not made up for; a run now is the asker's, has both causes, and is once for its id."""
    await define(site, labelled(), interval_seconds=600, state=schedule_pb2.SCHEDULE_STATE_DISABLED)
    assert not (await status(site)).next_times
    clock.ahead += timedelta(seconds=1200)
    asked = automation_service_pb2.RunScheduleRequest(name=NAME, request_id="6fd0f5f2-6a9f-4b58-9c0e-6bb5b2e4c0aa")
    operation: operations_pb2.Operation = await service(site).RunSchedule(asked)
    assert not (await site.wait(operation.name)).HasField("error")
    assert (await service(site).RunSchedule(asked)).name == operation.name
    (record,) = await scheduled(site)
    assert [link.source for link in record.reason_trail] == ["user/admin", NAME]
    shown = await status(site)
    assert (shown.runs, shown.last_operation) == (1, operation.name)
    changed = update_schedule_pb2.UpdateScheduleRequest()
    changed.schedule.name, changed.schedule.state = NAME, schedule_pb2.SCHEDULE_STATE_ENABLED
    await site.succeed(changed)
    clock.ahead += timedelta(seconds=600)
    shown = await wait_for(site, runs=2)
    assert (shown.left_out, len(await scheduled(site))) == (0, 2)


async def wait_failure_told(site: Site) -> None:
    """Wait for the warning that a due time failed; it is delivered behind the count that says so."""

    async def told() -> bool:
        return [event.type for event in await site.events(NAME)] == ["SCHEDULE_FAILED"]

    await site.wait_until(told)


async def test_a_request_that_is_refused_is_told_and_the_next_time_is_kept(site: Site, clock: SteeredClock) -> None:
    """Its warning says why, and nothing else stops."""
    await define(site, refresh_server_pb2.RefreshServerRequest(name="servers/gone"), interval_seconds=600)
    clock.ahead += timedelta(seconds=600)
    failed = await wait_for(site, failed=1)
    assert "servers/gone does not exist" in failed.last_error
    await wait_failure_told(site)
    clock.ahead += timedelta(seconds=600)
    assert (await wait_for(site, failed=2)).runs == 0


async def test_a_defect_of_its_type_is_told_and_the_next_time_is_kept(
    site: Site, clock: SteeredClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails for a reason that nobody expects has failed, and is not tried for ever."""
    await define(site, labelled(), interval_seconds=600)
    await site.wait_released()
    spoil(site, monkeypatch, "UpdateSchedule", ValueError("a defect"))
    clock.ahead += timedelta(seconds=600)
    failed = await wait_for(site, failed=1)
    assert "in the log of the job service under the reference" in failed.last_error
    await wait_failure_told(site)
    clock.ahead += timedelta(seconds=600)
    assert (await wait_for(site, runs=1)).failed == 1


async def test_a_schedule_does_what_its_owner_may_do_now(site: Site, clock: SteeredClock) -> None:
    """A due time fails that the owner's last certificate does not allow; who asks himself shows his own."""
    await define(site, labelled(), interval_seconds=600)
    site.authority.issue("user/admin", site.folder / "certificates" / "admin", roles=["operator"])
    clock.ahead += timedelta(seconds=600)
    shown = await wait_for(site, failed=1)
    assert "needs the role administrator; user/admin has operator" in shown.last_error
    await wait_failure_told(site)
    operation = await service(site).RunSchedule(automation_service_pb2.RunScheduleRequest(name=NAME))
    assert not (await site.wait(operation.name)).HasField("error")
    site.authority.issue("user/admin", site.folder / "certificates" / "admin")
    clock.ahead += timedelta(seconds=600)
    assert (await wait_for(site, runs=2)).failed == 1
