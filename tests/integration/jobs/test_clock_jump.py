"""Clocks that are set while services run: one time for all that a process writes, and no end by a jump (P33, R8)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.integration.jobs import site as site_module
from tests.integration.jobs.site import Site, running
from tests.integration.jobs.test_job_filters import SCHEDULES, define, ends_well, schedule, status, submit_held
from tests.integration.jobs.test_person_locks import person
from tests.integration.jobs.test_schedules import define as define_schedule
from tests.integration.jobs.test_schedules import labelled, wait_for
from tests.integration.jobs.test_schedules import status as schedule_status
from virtyard.api.inventory.v1 import event_pb2, filter_pb2, inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.api.jobs.v1 import job_service_pb2, lock_control_service_pb2
from virtyard.api.operations.v1 import delete_filter_pb2, refresh_server_pb2
from virtyard.api.type.v1 import annotations_pb2
from virtyard.jobs import schedules
from virtyard.jobs.history import JOB_HISTORY, History, Keep
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.permissions import Principal
from virtyard.processes.clock_watch import ClockWatch
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.local import LocalChannel

START = datetime(2030, 1, 1, 12, 15, tzinfo=UTC).timestamp()
HOUR = 3600.0
CLOCK = "services/up"
SLACK = 60.0
"""Seconds that a test may take where it compares times; far less than any jump here."""


class Machine:
    """The clocks of the machine that a site runs on, of which a test sets the wall clock, or passes time on both."""

    def __init__(self) -> None:
        """Begin at a quarter past noon, so that no hour begins by itself while a test runs."""
        self.set_by = 0.0
        """Seconds by which the wall clock was set."""
        self.passed = 0.0
        """Seconds that a test has let pass."""
        self._began = time.monotonic()
        self.clock = self.start()

    def start(self) -> SystemClock:
        """Return the clock of a process that starts now."""
        return SystemClock(wall=lambda: START + self.set_by + self._steady() - self._began, steady=self._steady)

    def _steady(self) -> float:
        return time.monotonic() + self.passed


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return the machine of the whole site, whose processes are one, as under `virtyard up`."""
    made = Machine()
    monkeypatch.setattr(site_module, "SystemClock", lambda **_: made.clock)
    return made


@pytest.fixture
async def site(tmp_path: Path, machine: Machine) -> AsyncIterator[Site]:
    """Run a site without a server."""
    async with running(tmp_path) as site:
        yield site


def times(message: Message) -> Iterator[datetime]:
    """Yield every time in a message, however deep."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if isinstance(value, list) or hasattr(value, "append") else [value]:
            if isinstance(each, Timestamp):
                yield each.ToDatetime(UTC)
            else:
                yield from times(each)


async def test_all_times_of_an_operation_are_of_one_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its record, its abort and its events, where the machine's clock was set back since."""
    ahead = SystemClock(wall=lambda: time.time() + HOUR)
    monkeypatch.setattr(site_module, "SystemClock", lambda **_: ahead)
    began = ahead.now()
    async with running(tmp_path) as site:
        await define(site, filter_pb2.FILTER_ACTION_DRAIN)
        name = await submit_held(site, schedule("late"))
        (job,) = await site.jobs_of(name)
        await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=job.name, reason="enough"))
        ended = await site.wait(name)
        other = await site.succeed(delete_filter_pb2.DeleteFilterRequest(name="filters/calm"))
        jobs = [*await site.jobs_of(name), *await site.jobs_of(other.name)]
        events = await site.events("filters/calm", "INFORMATIONAL") + await site.events("schedules/late", "UNKNOWN")
    assert ended.error.message.startswith("aborted on request: enough")
    assert len(events) >= 4
    assert all(each.HasField("create_time") and each.HasField("end_time") for each in jobs)
    found = [each for message in [*jobs, *events] for each in times(message)]
    assert len(found) > 10
    # To the microsecond, which a Timestamp made of a datetime has.
    assert min(found) >= began.replace(microsecond=0)
    assert max(found) <= ahead.now()


async def test_a_drain_holds_what_comes_after_it_though_the_clock_was_set_back(site: Site, machine: Machine) -> None:
    """What is submitted later is later, by whatever time the machine has got."""
    for jump in (-HOUR, HOUR):
        machine.set_by += jump
        await define(site, filter_pb2.FILTER_ACTION_DRAIN, SCHEDULES)
        name = await submit_held(site, schedule(f"s{int(machine.set_by)}"))
        assert name in (await status(site)).held_operations
        await site.succeed(delete_filter_pb2.DeleteFilterRequest(name="filters/calm"))
        await ends_well(site, name)


class Watched:
    """A clock watch over a running site, whose looks a test takes by hand."""

    def __init__(self, site: Site, machine: Machine) -> None:
        """Watch the clock of the site, beside no time service."""
        self._site = site
        self.synchronised = False
        self.watch = ClockWatch(machine.clock, CLOCK, site._near["inventory"], lambda: self.synchronised)

    async def look(self) -> list[event_pb2.Event]:
        """Look once, and return what has been told of the clock, the oldest first."""
        await self.watch.look()
        return sorted(await self._site.events(CLOCK, "INFORMATIONAL"), key=lambda event: int(event.name[7:]))

    async def acknowledge(self, event: event_pb2.Event) -> event_pb2.Event:
        """Acknowledge an event as a person does."""
        person = Principal.of("user/ann", frozenset({annotations_pb2.ROLE_OPERATOR}))
        async with LocalChannel(self._site.inventory.services, person) as channel:
            stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)
            request = inventory_service_pb2.AcknowledgeEventRequest(name=event.name, comment="it was wrong before")
            done: event_pb2.Event = await stub.AcknowledgeEvent(request)
            return done


@pytest.fixture
def watched(site: Site, machine: Machine) -> Watched:
    """Return the watch of the site's clock."""
    return Watched(site, machine)


async def test_a_jump_whose_telling_seemed_to_fail_is_told_once(machine: Machine, watched: Watched) -> None:
    """The inventory had it, and its answer was late: the event that a person acknowledges is the one that counts."""
    raised = watched.watch._control.RaiseEvents

    async def late(request: Any, **options: Any) -> None:
        await raised(request, **options)
        watched.watch._control.RaiseEvents = raised
        raise Unavailable("no answer in time")

    watched.watch._control.RaiseEvents = late
    machine.set_by = HOUR
    with pytest.raises(Unavailable):
        await watched.look()
    (jumped,) = await watched.look()
    assert (await watched.look()) == [jumped]
    await watched.acknowledge(jumped)
    assert [event.type for event in await watched.look()] == ["CLOCK_JUMPED", "CLOCK_AGREES"]


async def test_clocks_that_agree_cost_nothing(site: Site, machine: Machine, watched: Watched) -> None:
    """Nothing is told of them, and after the first look nobody is even asked."""
    assert await watched.look() == []
    machine.set_by += 30.0
    before = site.commits()["inventory"]
    watched.watch._events = watched.watch._control = None
    for _ in range(3):
        assert await watched.look() == []
    assert site.commits()["inventory"] == before


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forth", "back"])
async def test_a_jump_is_told_once_and_followed_when_a_person_confirms_it(
    machine: Machine, watched: Watched, jump: float
) -> None:
    """Until then time goes on as before; acknowledging the event is all that is to be done."""
    machine.set_by += jump
    before = machine.clock.now()
    (told,) = await watched.look()
    assert (told.type, told.open, told.severity) == ("CLOCK_JUMPED", True, event_pb2.SEVERITY_WARNING)
    assert f"1:00:00 {'ahead of' if jump > 0 else 'behind'} that of {CLOCK}" in told.message
    assert await watched.look() == [told]
    assert abs((machine.clock.now() - before).total_seconds()) < SLACK
    acknowledged = await watched.acknowledge(told)
    assert "does not follow" in acknowledged.still_held
    agrees = (await watched.look())[-1]
    assert (agrees.type, "as user/ann confirmed" in agrees.message) == ("CLOCK_AGREES", True)
    assert not machine.clock.jumped
    passed = (machine.clock.now() - before).total_seconds()
    assert max(jump, 0.0) <= passed < max(jump, 0.0) + SLACK
    assert [each.type for each in await watched.look()] == ["CLOCK_JUMPED", "CLOCK_AGREES"]


async def test_a_clock_that_is_set_right_again_clears_the_event(machine: Machine, watched: Watched) -> None:
    """Nobody needs to acknowledge what is over, and time was never moved."""
    before = machine.clock.now()
    machine.set_by += HOUR
    await watched.look()
    machine.set_by -= HOUR
    told, agrees = await watched.look()
    assert (told.open, told.cleared_by, agrees.type) == (False, agrees.name, "CLOCK_AGREES")
    assert (machine.clock.now() - before).total_seconds() < SLACK


async def test_who_confirmed_one_jump_has_not_confirmed_the_next(machine: Machine, watched: Watched) -> None:
    """A further jump is told anew before the first one's confirmation is looked at, and is not followed by it."""
    machine.set_by += HOUR
    (first,) = await watched.look()
    await watched.acknowledge(first)
    machine.set_by += HOUR
    _, second = await watched.look()
    assert (second.type, second.open) == ("CLOCK_JUMPED", True)
    assert "2:00:00" in second.message
    assert machine.clock.jumped
    machine.set_by += HOUR
    _, second, third = await watched.look()
    assert (second.cleared_by, third.open) == (third.name, True)
    await watched.acknowledge(third)
    await watched.look()
    assert not machine.clock.jumped


async def test_a_time_service_confirms_a_jump_once_that_has_stood(machine: Machine, watched: Watched) -> None:
    """Not at once, as it may take that back, and never without it."""
    machine.set_by += HOUR
    await watched.look()
    watched.watch._stands_since += HOUR  # however slow this test is
    watched.synchronised = True
    assert [each.type for each in await watched.look()] == ["CLOCK_JUMPED"]
    watched.watch._stands_since -= HOUR + 60.0
    watched.synchronised = False
    assert [each.type for each in await watched.look()] == ["CLOCK_JUMPED"]
    watched.synchronised = True
    told, agrees = await watched.look()
    assert (told.open, agrees.type) == (False, "CLOCK_AGREES")
    assert "time service" in agrees.message


async def test_a_restart_ends_a_jump_that_was_told_before(site: Site, machine: Machine, watched: Watched) -> None:
    """The next process begins with the machine's time, and knows of the event that is open still."""
    machine.set_by += HOUR
    await watched.look()
    machine.clock = machine.start()
    told, agrees = await Watched(site, machine).look()
    assert (told.open, agrees.type) == (False, "CLOCK_AGREES")


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forth", "back"])
async def test_a_schedule_is_due_by_what_has_passed(
    site: Site, machine: Machine, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """What comes every hour neither comes by a jump, nor again by one back; after an hour it comes."""
    monkeypatch.setattr(schedules, "_LOOK", 0.02)
    await define_schedule(site, refresh_server_pb2.RefreshServerRequest(name="servers/s1"), "target", cron="0 0 1 1 *")
    await define_schedule(site, labelled(), cron="0 * * * *")
    first = (await schedule_status(site)).next_times[0]
    assert first.ToDatetime(UTC) == datetime(2030, 1, 1, 13, tzinfo=UTC)
    machine.set_by += jump
    shown = await schedule_status(site)
    assert (shown.next_times[0], shown.runs) == (first, 0)
    await site.close_jobs()
    await site.open_jobs()
    shown = await schedule_status(site)
    assert (shown.next_times[0], shown.runs) == (first, 0)
    machine.passed += HOUR
    shown = await wait_for(site, runs=1)
    assert shown.next_times[0].seconds == first.seconds + HOUR


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forth", "back"])
async def test_a_lock_of_a_person_has_the_rest_of_its_time(site: Site, machine: Machine, jump: float) -> None:
    """What is left of half an hour is the same before a jump, after it, and after a restart of the scheduler."""
    await define_schedule(site, refresh_server_pb2.RefreshServerRequest(name="servers/s1"), "target", cron="0 0 1 1 *")
    await site.wait_released()
    async with AsyncExitStack() as stack:
        taken = await (await person(site, stack, "ann")).take("schedules/target", seconds=HOUR / 2)
        machine.set_by += jump
        await site.close_jobs()
        await site.open_jobs()
        ann = await person(site, stack, "ann")

        async def held() -> bool:
            return [each.state for each in await ann.list()] == [lock_control_service_pb2.PERSON_LOCK_STATE_HELD]

        await site.wait_until(held)
        (lock,) = await ann.list()
        assert lock.name == taken.name
        left = lock.end_time.ToDatetime(UTC) - machine.clock.now()
        assert HOUR / 2 - SLACK < left.total_seconds() <= HOUR / 2
        assert await site.held_locks() == ["schedules/target"]


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forth", "back"])
async def test_what_is_kept_for_a_time_is_kept_for_what_has_passed(site: Site, machine: Machine, jump: float) -> None:
    """Half an hour after its end an operation is archived: not by a jump, and not late by one back."""
    name = (await site.succeed(schedule("kept"))).name
    half = Keep(age=timedelta(seconds=HOUR / 2), count=10**6)
    retention = replace(JOB_HISTORY, live=half, archive=Keep(age=timedelta(days=365), count=10**6))
    store = site.jobs.scheduler.world.store
    machine.set_by += jump
    await History(store, machine.clock, retention).tidy()
    assert await site.jobs_of(name)
    machine.passed += HOUR / 2 + SLACK
    await History(store, machine.clock, retention).tidy()
    assert not await site.jobs_of(name)
