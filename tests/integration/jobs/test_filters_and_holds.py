"""A hold and a filter on one operation: each lasts as long as itself, and neither touches what has asked for locks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.integration.jobs.site import Site, running
from tests.integration.jobs.test_explaining import explain
from tests.integration.jobs.test_job_filters import (
    NAME,
    SCHEDULES,
    Minutes,
    define,
    ends_well,
    known,
    schedule,
    status,
    submit_held,
)
from virtyard.api.inventory.v1 import filter_pb2, server_pb2
from virtyard.api.jobs.v1 import (
    job_control_pb2,
    job_pb2,
    job_service_pb2,
    lock_control_service_pb2,
    lock_control_service_pb2_grpc,
)
from virtyard.api.jobs.v1 import wait_explanation_pb2 as waits
from virtyard.api.operations.v1 import (
    create_filter_pb2,
    delete_filter_pb2,
    delete_schedule_pb2,
    discover_server_pb2,
    update_server_pb2,
)
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.status import named

FILTER, PERSON = job_pb2.HELD_REASON_FILTER, job_pb2.HELD_REASON_PERSON
PAUSE = filter_pb2.FILTER_ACTION_PAUSE
CALM = f'{SCHEDULES} AND NOT reason = "urgent"'
"""Lets an urgent operation through, by whose end the others have done whatever they had to do."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site without a server."""
    async with running(tmp_path) as site:
        yield site


def first_job(operation: str) -> str:
    """Return the name of an operation's first job."""
    return f"jobs/{operation.partition('/')[2]}-1"


async def get(site: Site, operation: str) -> job_pb2.Job:
    """Return the first job of an operation."""
    found: job_pb2.Job = await site.service.GetJob(job_service_pb2.GetJobRequest(name=first_job(operation)))
    return found


async def hold(site: Site, operation: str) -> job_pb2.Job:
    """Set an operation aside."""
    request = job_control_pb2.HoldJobRequest(name=first_job(operation), reason="let me look")
    held: job_pb2.Job = await site.service.HoldJob(request)
    return held


async def release(site: Site, operation: str) -> job_pb2.Job:
    """Let an operation go on."""
    request = job_control_pb2.ReleaseJobRequest(name=first_job(operation))
    released: job_pb2.Job = await site.service.ReleaseJob(request)
    return released


async def restart(site: Site) -> None:
    """Stop the scheduler and start another one on its database, which knows the filters."""
    await site.close_jobs()
    await site.open_jobs()
    await known(site, bool)


async def settled(site: Site) -> None:
    """Return once the scheduler has done whatever it had to do: a whole operation has gone its way meanwhile.

    It is known there too, so that no news comes after this.
    """
    name = f"other{len(site.transitions)}"
    await site.succeed(schedule(name, reason="urgent"))
    definitions = site.jobs.scheduler.world.filters._definitions

    async def is_known() -> bool:
        return f"schedules/{name}" in {each.name for each in definitions.schedules()}

    await site.wait_until(is_known)


async def undefine(site: Site) -> None:
    """Delete the filter, and wait until the scheduler knows it."""
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name=NAME))
    await known(site, lambda filters: NAME not in {each.name for each in filters})


async def wait_queued(site: Site) -> tuple[str, str]:
    """Return a person's lock, and an operation that waits for it in the queue."""
    await site.succeed(schedule("old"))
    await site.wait_released()
    wanted = lock_control_service_pb2.TakeLockRequest(object="schedules/old", purpose="backup")
    wanted.duration.FromTimedelta(timedelta(hours=1))
    lock = (await locks(site).TakeLock(wanted)).name
    name = (await site.submit(delete_schedule_pb2.DeleteScheduleRequest(name="schedules/old"))).name
    await site.wait_until(lambda: is_queued(site, name, lock))
    return lock, name


async def is_queued(site: Site, name: str, lock: str) -> bool:
    """Tell whether an operation waits in the queue for a person's lock."""
    return lock in (await get(site, name)).waiting_for


def locks(site: Site) -> Any:
    """Return the stub of the service for people's locks."""
    return lock_control_service_pb2_grpc.LockControlServiceStub(site._near["jobs"])


async def give_back(site: Site, lock: str) -> None:
    """Release a person's lock."""
    await locks(site).ReleaseLock(lock_control_service_pb2.ReleaseLockRequest(name=lock))


async def names_of_schedules(site: Site) -> set[str]:
    """Return the schedules that a test is about."""
    return {name for name in await site.objects() if name.startswith("schedules/") and "other" not in name}


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_hold_on_what_a_filter_keeps_back_outlives_the_filter(site: Site, restarted: bool) -> None:
    """It takes the place of the filter's hold; the filter gone, the operation asks for no lock until it is let go."""
    await define(site, PAUSE, CALM)
    name = await submit_held(site, schedule("a"))
    assert (await get(site, name)).hold.principal == NAME
    held = await hold(site, name)
    assert (held.held, held.hold.principal, held.hold.reason) == (PERSON, "user/admin", "let me look")
    if restarted:
        await restart(site)
    await undefine(site)
    await settled(site)
    job = await get(site, name)
    assert (job.held, job.state, job.waiting_for) == (PERSON, job_pb2.JOB_STATE_PENDING, "")
    assert await names_of_schedules(site) == set()
    await release(site, name)
    await ends_well(site, name)


async def test_a_hold_on_what_waits_for_locks_is_not_lost_to_a_filter_by_a_restart(site: Site) -> None:
    """The person's hold stays as it was, and what it keeps back does not begin when the filter goes."""
    lock, name = await wait_queued(site)
    await hold(site, name)
    await define(site, PAUSE, CALM)
    await restart(site)
    await site.wait_until(lambda: is_known(site, name))
    await give_back(site, lock)
    await undefine(site)
    await settled(site)
    job = await get(site, name)
    assert (job.held, job.hold.principal) == (PERSON, "user/admin")
    assert await names_of_schedules(site) == {"schedules/old"}
    await release(site, name)
    await ends_well(site, name)


async def is_known(site: Site, name: str) -> bool:
    """Tell whether the scheduler runs an operation."""
    return site.jobs.scheduler.find(int(name.partition("/")[2])) is not None


async def test_what_a_person_lets_go_is_kept_back_by_the_filter_that_matches_still(site: Site) -> None:
    """The answer says so at once; it is in nobody's way, and begins when the filter goes."""
    await define(site, PAUSE, CALM)
    name = await submit_held(site, schedule("a"))
    await hold(site, name)
    assert list((await status(site)).held_operations) == [name]
    released = await release(site, name)
    assert (released.held, released.hold.principal) == (FILTER, NAME)
    await settled(site)
    job = await get(site, name)
    assert (job.held, job.state, job.waiting_for) == (FILTER, job_pb2.JOB_STATE_PENDING, f"{NAME}, which keeps it back")
    await undefine(site)
    await ends_well(site, name)


async def test_a_filter_that_is_made_during_a_hold_keeps_back_what_has_no_locks(site: Site) -> None:
    """Set aside before its locks were asked for, it has to pass once it is let go on."""
    await define(site, PAUSE, CALM)
    name = await submit_held(site, schedule("a"))
    await hold(site, name)
    await undefine(site)
    await settled(site)
    assert (await get(site, name)).waiting_for == ""
    wanted = filter_pb2.Filter(matches=CALM, action=PAUSE)
    await site.succeed(create_filter_pb2.CreateFilterRequest(filter_id="later", filter=wanted))
    await known(site, bool)
    await settled(site)
    released = await release(site, name)
    assert (released.held, released.hold.principal) == (FILTER, "filters/later")
    await settled(site)
    assert await names_of_schedules(site) == set()
    await site.succeed(delete_filter_pb2.DeleteFilterRequest(name="filters/later"))
    await ends_well(site, name)


async def test_a_release_alone_has_what_was_kept_back_go_on(tmp_path: Path) -> None:
    """Of an operation on what is no definition, so that no event of it has the filters read again."""
    async with running(tmp_path, "s1") as site:
        server = server_pb2.Server(agent_address=site.addresses["s1"])
        await site.succeed(discover_server_pb2.DiscoverServerRequest(server_id="s1", server=server))
        await define(site, PAUSE, "type = UpdateServer")
        changed = server_pb2.Server(name="servers/s1", description="in the other rack")
        name = await submit_held(site, update_server_pb2.UpdateServerRequest(server=changed))
        await hold(site, name)
        await undefine(site)
        await settled(site)
        assert (await get(site, name)).state == job_pb2.JOB_STATE_PENDING
        await release(site, name)
        await ends_well(site, name)


async def test_what_a_person_holds_takes_no_turn_of_a_rate_limit_and_is_in_nobodys_way(site: Site) -> None:
    """Its turn goes to the next; let go on, it is the first again."""
    filters: Any = site.jobs.scheduler.world.filters
    clock = filters._clock = Minutes()
    await define(site, filter_pb2.FILTER_ACTION_RATE_LIMIT, limit_per_minute=1)
    await site.succeed(schedule("a"))
    second, third = await submit_held(site, schedule("b")), await submit_held(site, schedule("c"))
    await hold(site, second)
    clock.seconds = 60.0
    filters.look_again()
    await ends_well(site, third)
    assert (await get(site, second)).held == PERSON
    fourth = await submit_held(site, schedule("d"))
    await release(site, second)
    clock.seconds = 120.0
    filters.look_again()
    await ends_well(site, second)
    assert list((await status(site)).held_operations) == [fourth]
    clock.seconds = 180.0
    filters.look_again()
    await ends_well(site, fourth)


async def test_what_a_filter_keeps_back_is_not_released_and_the_advice_is_to_see_to_the_filter(site: Site) -> None:
    """A release is refused with the filter and changes nothing; the explanation names the filter and what helps."""
    await define(site, PAUSE)
    name = await submit_held(site, schedule("a"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await release(site, name)
    refused = named(caught.value)
    assert (refused.reason, refused.metadata["filter"]) == ("WRONG_STATE", NAME)
    assert f"{NAME} keeps {name} back" in refused.message
    assert (await get(site, name)).held == FILTER
    told = await explain(site, name)
    assert told.cause == waits.WAIT_CAUSE_FILTER
    assert told.summary.endswith(f"{NAME} keeps it back")
    commands = [remedy.command for remedy in told.remedies]
    assert commands == ["virtyard filter show calm", f"virtyard job abort {first_job(name)[5:]} --operation"]
    assert "OPERATION_RELEASED" not in [event.type for event in await site.events("schedules/a", "INFORMATIONAL")]


@pytest.mark.parametrize("action", [PAUSE, filter_pb2.FILTER_ACTION_RATE_LIMIT])
async def test_what_waits_in_the_queue_is_past_every_filter_after_a_restart(site: Site, action: int) -> None:
    """It keeps its place, gets its locks and goes to its end, while the filter lasts; it takes no turn of a limit."""
    lock, name = await wait_queued(site)
    limited = action == filter_pb2.FILTER_ACTION_RATE_LIMIT
    await define(site, action, limit_per_minute=1 if limited else 0)
    await restart(site)
    await site.wait_until(lambda: is_queued(site, name, lock))
    job = await get(site, name)
    assert (job.held, job.state) == (0, job_pb2.JOB_STATE_WAITING_FOR_LOCKS)
    if limited:
        await site.succeed(schedule("a"))
        await submit_held(site, schedule("b"))
    await give_back(site, lock)
    await ends_well(site, name)


class Away:
    """The lock service as it is seen by who cannot reach it at first."""

    def __init__(self, there: Any) -> None:
        """Be away for one question."""
        self._there = there
        self.asked = 0

    async def explain(self, owner: str) -> Any:
        """Answer from the second time on."""
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("the lock service cannot be reached", resource=owner, retry_after=1.0)
        return await self._there.explain(owner)


async def test_nothing_is_guessed_while_the_lock_service_cannot_be_asked(site: Site) -> None:
    """It is asked again until it answers; what waits in its queue is not kept back meanwhile either."""
    lock, name = await wait_queued(site)
    await define(site, PAUSE)
    await site.close_jobs()
    await site.open_jobs(start=False)
    filters: Any = site.jobs.scheduler.world.filters
    away = filters._locks = Away(filters._locks)
    await site.jobs.scheduler.start()
    await site.wait_until(lambda: is_queued(site, name, lock))
    assert (away.asked, (await get(site, name)).held) == (2, 0)
    assert "jobs.held_by_filter" not in site.transitions
    await give_back(site, lock)
    await ends_well(site, name)


async def test_what_has_its_locks_is_past_every_filter_when_a_hold_ends(site: Site) -> None:
    """Set aside in the queue and granted meanwhile, it goes on when it is released, whatever filter was made since."""
    lock, name = await wait_queued(site)
    await hold(site, name)
    await give_back(site, lock)

    async def has_locks() -> bool:
        return "schedules/old" in await site.held_locks()

    await site.wait_until(has_locks)
    await define(site, PAUSE)
    await release(site, name)
    await ends_well(site, name)
