"""Retries of triggers: what failed is submitted again, a few times, once each, whatever ends in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.protobuf.message import Message

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_triggers import define, fired, status, tell, wait_for
from virtyard.agent.actions.contract import Context
from virtyard.api.inventory.v1 import trigger_pb2
from virtyard.api.operations.v1 import (
    delete_trigger_pb2,
    refresh_repository_pb2,
    start_virtual_machine_pb2,
    update_trigger_pb2,
)
from virtyard.jobs import retries
from virtyard.kernel import event_types
from virtyard.kernel.errors import WrongState

REFRESH = refresh_repository_pb2.RefreshRepositoryRequest(name="{event.object}")
START = start_virtual_machine_pb2.StartVirtualMachineRequest(name="{event.object}")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses be short."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", timedelta(seconds=0.02))


def fail(site: Site, times: int) -> None:
    """Let the look at a repository fail so often."""
    left = [times]

    async def refuse(_: Message, __: Context) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise WrongState("the switch is off")

    site.faults.before["ScanRepository"] = refuse


async def types(site: Site, name: str = "triggers/look") -> list[str]:
    """Return the types of a trigger's own events that no job told."""
    return [event.type for event in await site.events(name) if event.type.startswith("TRIGGER_")]


async def settled(site: Site, operations: int) -> None:
    """Wait until so many operations came of events, and all have ended."""

    async def ended() -> bool:
        return len(await fired(site)) >= operations and not list((await status(site)).retry_times)

    await site.wait_until(ended)
    for record in await fired(site):
        await site.wait(f"operations/{record.number}")


async def test_what_failed_is_submitted_again_until_it_succeeds(site: Site) -> None:
    """Each try has one more link in its chain of causes, which says why; nothing comes after a success."""
    await define(site, REFRESH, retry_limit=3)
    fail(site, 2)
    await tell(site, "a")
    await settled(site, 3)
    records = await fired(site)
    assert [record.HasField("error") for record in records] == [True, True, False]
    assert [[link.source for link in record.reason_trail] for record in records] == [
        ["triggers/look"] * count for count in (1, 2, 3)
    ]
    told = [link.reason for link in records[2].reason_trail]
    first = f"operations/{records[0].number} failed: "
    assert told[0] == "FOREIGN_FILE on repositories/R"
    assert told[1].startswith(f"FOREIGN_FILE on repositories/R, try 2 of 4: {first}")
    assert "the switch is off" in told[1]
    assert (await status(site)).runs == 3
    assert await types(site) == []


async def test_what_fails_every_time_is_given_up_and_told(site: Site) -> None:
    """After its tries an event says so once, and the next event begins anew."""
    await define(site, REFRESH, retry_limit=2)
    fail(site, 3)
    await tell(site, "a")

    async def given_up() -> bool:
        return await types(site) == ["TRIGGER_GAVE_UP"]

    await site.wait_until(given_up)
    assert len(await fired(site)) == 3
    await tell(site, "b")
    await settled(site, 4)
    assert not (await fired(site))[3].HasField("error")


async def test_without_a_limit_nothing_is_tried_again(site: Site) -> None:
    """As triggers were before; the failed job's own event is all."""
    await define(site, REFRESH)
    await define(site, REFRESH, trigger_id="other", events='type = IMAGE_MISSING AND object = "repositories/R"')
    fail(site, 1)
    await tell(site, "a")
    await site.wait((await wait_for(site, "runs", 1)).last_operation)
    await tell(site, "b", kind=event_types.IMAGE_MISSING)
    await site.wait((await wait_for(site, "runs", 1, "triggers/other")).last_operation)
    assert (await status(site)).runs == 1
    assert not (await status(site)).retry_times
    assert await types(site) == []


@pytest.mark.parametrize("transition", ["jobs.run_state", "jobs.C1", "jobs.Ct"])
async def test_a_scheduler_that_ends_in_between_tries_once(site: Site, transition: str) -> None:
    """Ended right after a durable moment of a try, the next scheduler neither repeats nor loses it."""
    await define(site, REFRESH, retry_limit=3)
    fail(site, 1)
    await site.wait_released()
    reached, loop, seen = asyncio.Event(), asyncio.get_running_loop(), list[str]()

    def notice(name: str) -> None:
        seen.append(name)
        # The first C1 and Ct are of the operation that fails.
        if name == transition and "jobs.run_state" in seen:
            loop.call_soon_threadsafe(reached.set)

    site.on_transition = notice
    await tell(site, "a")
    async with asyncio.timeout(20):
        await reached.wait()
    site.on_transition = lambda _: None
    await site.close_jobs()
    await site.open_jobs()
    await settled(site, 2)
    await tell(site, "b")
    await settled(site, 3)
    records = await fired(site)
    assert [record.HasField("error") for record in records] == [True, False, False]
    assert [len(record.reason_trail) for record in records] == [1, 2, 1]


async def test_a_request_that_is_refused_for_the_moment_is_tried_again(site: Site) -> None:
    """A server that is full or silent may not be so later; what never can be is refused at once."""
    await define(site, START, events="type = MACHINE_RESTART_DUE", retry_limit=1)
    await tell(site, "a", "virtualMachines/none", event_types.MACHINE_RESTART_DUE)
    shown = await wait_for(site, "failed", 1)
    assert not shown.retry_times

    async def refused() -> bool:
        return await types(site) == ["TRIGGER_FAILED"]

    await site.wait_until(refused)
    wanted = machine("m", disks=0, vnics=0)
    wanted.virtual_machine.ClearField("boot")
    await site.succeed(wanted)
    await site.succeed(start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/m"))
    await tell(site, "b", "virtualMachines/m", event_types.MACHINE_RESTART_DUE)

    async def given_up() -> bool:
        return sorted(await types(site)) == ["TRIGGER_FAILED", "TRIGGER_GAVE_UP"]

    await site.wait_until(given_up)
    (event,) = [event for event in await site.events("triggers/look") if event.type == "TRIGGER_GAVE_UP"]
    assert "virtualMachines/m is running; it must be stopped" in event.message
    assert await fired(site) == []


@pytest.mark.parametrize("how", ["disabled", "deleted"])
async def test_a_trigger_that_is_gone_tries_no_more(site: Site, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What waits for its time is dropped with whoever would submit it."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", timedelta(seconds=1))
    await define(site, REFRESH, retry_limit=3)
    fail(site, 1)
    await tell(site, "a")

    async def waits() -> bool:
        return bool((await status(site)).retry_times)

    await site.wait_until(waits)
    if how == "deleted":
        await site.succeed(delete_trigger_pb2.DeleteTriggerRequest(name="triggers/look"))
    else:
        changed = update_trigger_pb2.UpdateTriggerRequest()
        changed.trigger.name, changed.trigger.state = "triggers/look", trigger_pb2.TRIGGER_STATE_DISABLED
        await site.succeed(changed)

        async def dropped() -> bool:
            return not await waits()

        await site.wait_until(dropped)
    assert len(await fired(site)) == 1


async def test_a_try_is_needless_once_the_condition_has_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that ends what the first one told of drops the try, and so does one that fires the trigger anew."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", timedelta(hours=1))
    await define(site, REFRESH, retry_limit=3)
    fail(site, 2)
    await tell(site, "a")

    async def waits(count: int = 1) -> bool:
        return len((await status(site)).retry_times) == count

    await site.wait_until(waits)
    (before,) = (await status(site)).retry_times
    await tell(site, "b")
    await wait_for(site, "runs", 2)

    async def another() -> bool:
        found = list((await status(site)).retry_times)
        return len(found) == 1 and found != [before]

    await site.wait_until(another)
    await tell(site, "gone", kind=event_types.OBJECT_DELETED)

    async def none() -> bool:
        return await waits(0)

    await site.wait_until(none)
    assert len(await fired(site)) == 2
