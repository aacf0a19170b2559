"""Gaps in the inventory's events: behind a restore or a cut journal triggers and webhooks are told only what is new."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.integration.jobs.receiver import receiving
from tests.integration.jobs.site import LIMIT, Site, running
from tests.integration.jobs.test_triggers import define, fired, labelled, looked_at, tell, wait_for
from tests.integration.jobs.test_webhooks import define as define_webhook
from tests.integration.jobs.test_webhooks import keys, until
from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc, schedule_pb2, trigger_pb2
from virtyard.api.operations.v1 import create_schedule_pb2, refresh_server_pb2, update_schedule_pb2, update_trigger_pb2
from virtyard.api.type.v1 import annotations_pb2
from virtyard.jobs.automatic import AutomaticSubmission
from virtyard.kernel import event_types
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import pack
from virtyard.processes.backup import back_up
from virtyard.processes.restore import restore
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.resume_point import ResumePoint


async def rest(site: Site, *, resting: bool = True) -> None:
    """Disable the trigger, or enable it again."""
    request = update_trigger_pb2.UpdateTriggerRequest()
    request.trigger.name = "triggers/look"
    request.trigger.state = trigger_pb2.TRIGGER_STATE_DISABLED if resting else trigger_pb2.TRIGGER_STATE_ENABLED
    await site.succeed(request)


async def acknowledge(site: Site, key: str) -> None:
    """Have a person acknowledge what was told, so that it is told again."""
    (event,) = [event for event in await site.events("repositories/R") if event.message == f"{key} is there"]
    request = inventory_service_pb2.AcknowledgeEventRequest(name=event.name, force=True)
    person = Principal.of("user/admin", frozenset({annotations_pb2.ROLE_ADMINISTRATOR}))
    async with LocalChannel(site.inventory.services, person) as channel:
        stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        await stub.AcknowledgeEvent(request)


async def reopen_behind_gap(site: Site, how: str) -> None:
    """Start the scheduler again, to which the feed has another incarnation, or has forgotten where it stood."""
    path = site.folder / "state" / "jobs.db"
    if how == "restored":
        with sqlite3.connect(path) as database:
            (token,) = database.execute("SELECT token FROM event_tail").fetchone()
            point = ResumePoint.parse(token)
            before = replace(point, incarnation="0." + point.incarnation.partition(".")[2])
            database.execute("UPDATE event_tail SET token = ?", (before.token(),))
        database.close()
    else:
        # As after so much news that neither the journal nor memory has what came behind the token.
        site.inventory.database._journal_keep = 1
        await tell(site, "of no consequence", kind=event_types.IMAGE_MISSING)
        site.inventory.feed._ring.clear()
    await site.open_jobs()


def reasons(records: list[Any]) -> list[str]:
    """Return which events had an operation, each with its trigger."""
    return [record.options.reason.removesuffix(" is there") for record in records]


@pytest.mark.parametrize("how", ["restored", "cut"])
async def test_behind_a_gap_only_what_is_new_fires(site: Site, how: str) -> None:
    """Neither what came while a trigger rested, acknowledged since or not, but what came meanwhile, of either sort."""
    await define(site, labelled(), hourly_limit=4)
    await define(site, labelled("other"), trigger_id="other")
    await tell(site, "a")
    await wait_for(site, "runs", 1)
    await rest(site)
    await tell(site, "resting")
    await tell(site, "seen")
    await wait_for(site, "runs", 3, "triggers/other")
    await rest(site, resting=False)
    await site.wait_released()
    await site.close_jobs()
    await acknowledge(site, "seen")
    await tell(site, "meanwhile")
    await tell(site, "seen meanwhile")
    await acknowledge(site, "seen meanwhile")
    await reopen_behind_gap(site, how)
    await tell(site, "later")
    other = await wait_for(site, "runs", 6, "triggers/other")
    shown = await wait_for(site, "runs", 4)
    assert (shown.runs, shown.left_out, other.runs, other.left_out) == (4, 0, 6, 0)
    told = reasons(await fired(site))
    assert sorted(reason for reason in told if reason.startswith("triggers/look")) == [
        f"triggers/look: {key}" for key in ("a", "later", "meanwhile", "seen meanwhile")
    ]
    assert len(told) == 10


async def test_a_scheduler_that_ends_behind_a_gap_goes_on_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the snapshot it is still known what is older than the gap, and what is newer though it comes revised."""
    await define(site, labelled())
    await define(site, labelled("other"), trigger_id="other", events="type = IMAGE_MISSING")
    await rest(site)
    await tell(site, "resting")
    await tell(site, "a", kind=event_types.IMAGE_MISSING)
    await wait_for(site, "runs", 1, "triggers/other")
    await rest(site, resting=False)
    await looked_at(site, "triggers/look")
    await site.wait_released()
    await site.close_jobs()
    await tell(site, "first meanwhile")
    await acknowledge(site, "resting")
    await tell(site, "second meanwhile")
    await acknowledge(site, "second meanwhile")
    submitted, submit = asyncio.Event(), AutomaticSubmission.submit

    async def stand_still(automatic: AutomaticSubmission, request: Message, **fields: Any) -> Any:
        await submit(automatic, request, **fields)
        submitted.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(AutomaticSubmission, "submit", stand_still)
        await reopen_behind_gap(site, "restored")
        async with asyncio.timeout(LIMIT):
            await submitted.wait()
        await site.close_jobs()
    await site.open_jobs()
    await tell(site, "later")
    await wait_for(site, "runs", 3)
    assert reasons(await fired(site)) == [
        "triggers/other: a",
        *(f"triggers/look: {key}" for key in ("first meanwhile", "second meanwhile", "later")),
    ]


async def test_behind_a_gap_webhooks_send_what_is_new(site: Site) -> None:
    """What a receiver has taken is not sent to it again."""
    with receiving() as receiver:
        await define_webhook(site, receiver.url)
        await tell(site, "a")
        await until(site, lambda shown: shown.delivered == 1)
        await site.close_jobs()
        await tell(site, "b")
        await reopen_behind_gap(site, "restored")
        await tell(site, "c")
        await until(site, lambda shown: shown.delivered >= 3)
    assert keys(receiver) == ["a", "b", "c"]


async def test_what_came_while_it_rests_is_not_made_up_for_after_a_restart(site: Site) -> None:
    """Though nothing else waited for it: that a trigger was enabled is durable, as far as the events were looked at."""
    await define(site, labelled())
    await rest(site)
    await tell(site, "resting")
    await rest(site, resting=False)
    await looked_at(site, "triggers/look")
    await site.close_jobs()
    await site.open_jobs()
    await tell(site, "awake")
    await wait_for(site, "runs", 1)
    assert reasons(await fired(site)) == ["triggers/look: awake"]


async def test_a_restored_site_fires_for_what_is_new(tmp_path: Path) -> None:
    """By a backup and a restore as they are: neither what rested nor what the other life did is fired for again."""
    seen = update_schedule_pb2.UpdateScheduleRequest()
    seen.schedule.name, seen.schedule.labels["seen"] = "schedules/target", "{event.name}"
    out = tmp_path / "backup"
    async with running(tmp_path / "before") as site:
        wanted = pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))
        target = schedule_pb2.Schedule(cron="0 0 1 1 *", request=wanted)
        await site.succeed(create_schedule_pb2.CreateScheduleRequest(schedule_id="target", schedule=target))
        await define(site, seen, hourly_limit=3)
        await define(site, seen, trigger_id="other")
        await tell(site, "a")
        await wait_for(site, "runs", 1)
        await rest(site)
        await tell(site, "resting")
        await wait_for(site, "runs", 2, "triggers/other")
        await rest(site, resting=False)
        await site.wait_released()
        state = site.folder / "state"
        await asyncio.to_thread(back_up, [state], out, pki=tmp_path, with_pki=False, context=tmp_path / "none.json")
        await tell(site, "of the other life")
        await wait_for(site, "runs", 2)
    state = tmp_path / "after" / "state"
    await asyncio.to_thread(restore, out, dict.fromkeys(("inventory", "jobs", "locks"), state), tmp_path, tell=print)
    async with running(tmp_path / "after") as site:
        await tell(site, "b")
        await tell(site, "c")
        shown = await wait_for(site, "runs", 3)
        other = await wait_for(site, "runs", 4, "triggers/other")
        assert (shown.runs, shown.left_out, other.runs) == (3, 0, 4)
        told = reasons(await fired(site))
    assert sorted(told) == [
        *(f"triggers/look: {key}" for key in ("a", "b", "c")),
        *(f"triggers/other: {key}" for key in ("a", "b", "c", "resting")),
    ]
