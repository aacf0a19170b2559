"""Gaps in the inventory's events: behind a restore or a cut journal triggers and webhooks are told only what is new."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.jobs.receiver import receiving
from tests.integration.jobs.site import Site
from tests.integration.jobs.test_triggers import define, fired, labelled, looked_at, tell, wait_for
from tests.integration.jobs.test_webhooks import define as define_webhook
from tests.integration.jobs.test_webhooks import keys, until
from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc, trigger_pb2
from virtyard.api.operations.v1 import update_trigger_pb2
from virtyard.api.type.v1 import annotations_pb2
from virtyard.kernel import event_types
from virtyard.kernel.permissions import Principal
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
