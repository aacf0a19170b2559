"""Webhooks: every event at least once, signed so that the standards' own libraries agree, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from tests.contract.inventory.samples import create, effect, pool, update
from tests.integration.jobs.receiver import Receiver, receiving
from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_triggers import tell
from virtyard.api.inventory.v1 import virtual_machine_pb2, webhook_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import automation_service_pb2 as pb
from virtyard.api.jobs.v1 import automation_service_pb2_grpc
from virtyard.api.operations.v1 import create_webhook_pb2, delete_webhook_pb2, update_webhook_pb2
from virtyard.api.participant.v1 import participant_service_pb2
from virtyard.api.participant.v1.participant_service_pb2_grpc import ParticipantServiceStub
from virtyard.jobs.webhooks import WEBHOOK_POLICY

QUICK = replace(WEBHOOK_POLICY, first_pause=0.01, longest_pause=0.05)
"""Tries again at once."""


def stub(site: Site) -> Any:
    """Return the stub of the service."""
    return automation_service_pb2_grpc.AutomationServiceStub(site._near["jobs"])


async def define(site: Site, url: str, webhook_id: str = "pager", **fields: Any) -> None:
    """Make a webhook that sends what `tell` tells."""
    wanted = webhook_pb2.Webhook(url=url, **{"event_filter": "type = FOREIGN_FILE", **fields})
    await site.succeed(create_webhook_pb2.CreateWebhookRequest(webhook_id=webhook_id, webhook=wanted))


async def change(site: Site, **fields: Any) -> None:
    """Change it."""
    request = update_webhook_pb2.UpdateWebhookRequest()
    request.webhook.MergeFrom(webhook_pb2.Webhook(name="webhooks/pager", **fields))
    await site.succeed(request)


async def status(site: Site, name: str = "webhooks/pager") -> pb.WebhookStatus:
    """Return what it has sent."""
    found: pb.WebhookStatus = await stub(site).GetWebhookStatus(pb.GetWebhookStatusRequest(name=name))
    return found


async def until(site: Site, reached: Callable[[pb.WebhookStatus], bool], name: str = "webhooks/pager") -> None:
    """Wait for a status."""

    async def look() -> bool:
        return reached(await status(site, name))

    await site.wait_until(look)


async def secret(site: Site) -> str:
    """Return the secret as a receiver is given it."""
    found: pb.WebhookSecret = await stub(site).GetWebhookSecret(pb.GetWebhookSecretRequest(name="webhooks/pager"))
    return found.secret


async def restart(site: Site, **policy: Any) -> None:
    """Have the scheduler start again, with this policy."""
    site.webhooks = replace(QUICK, **policy)
    await site.close_jobs()
    await site.open_jobs()


def keys(receiver: Receiver) -> list[str]:
    """Return which events came, by the key that `tell` was given."""
    return [event["data"]["message"].removesuffix(" is there") for event in receiver.events()]


async def test_an_event_is_sent_as_a_signed_cloud_event(site: Site) -> None:
    """Both standards' libraries read it; a changed body and another's secret are found out."""
    with receiving() as receiver:
        await define(site, receiver.url)
        await tell(site, "a")
        await until(site, lambda shown: shown.delivered == 1)
    event = receiver.verified(await secret(site))
    assert event.get_type() == "io.virtyard.event.FOREIGN_FILE"
    assert (event.get_source(), event.get_subject()) == ("/virtyard/inventory", "repositories/R")
    assert event.get_data()["message"] == "a is there"
    headers, body = receiver.taken[0]
    assert headers["webhook-id"] == event.get_id()
    assert headers["content-type"].startswith("application/cloudevents+json")
    receiver.taken[0] = (headers, body.replace(b"a is there", b"b is there"))
    with pytest.raises(WebhookVerificationError):
        _ = receiver.verified(await secret(site))
    shown = await status(site)
    assert (shown.pending, shown.dead, shown.last_error) == (0, 0, "")


async def test_a_raised_version_has_another_secret_and_both_sign_meanwhile(site: Site) -> None:
    """So that a receiver can be changed after the webhook."""
    with receiving() as receiver:
        await define(site, receiver.url)
        old = await secret(site)
        await change(site, secret_version=2)
        new = await secret(site)
        assert new != old
        await tell(site, "a")
        await until(site, lambda shown: shown.delivered == 1)
        assert receiver.verified(old).get_id() == receiver.verified(new).get_id()
        await change(site, secret_version=3)
        await tell(site, "b")
        await until(site, lambda shown: shown.delivered == 2)
        _ = receiver.verified(new)
        with pytest.raises(WebhookVerificationError):
            _ = receiver.verified(old)


async def test_what_is_refused_is_sent_again_and_keeps_nothing_back(site: Site) -> None:
    """One event that is refused three times passes the others by, under the same id each time."""
    await restart(site)
    refusals = iter([500, 503, 429])

    def answer(event: Any) -> tuple[int, dict[str, str]]:
        return (next(refusals, 204), {}) if event["data"]["message"].startswith("bad") else (204, {})

    with receiving() as receiver:
        receiver.answer = answer
        await define(site, receiver.url)
        for key in ("bad", "b", "c"):
            await tell(site, key)
        await until(site, lambda shown: shown.delivered == 3)
    assert sorted(keys(receiver)) == ["b", "bad", "bad", "bad", "bad", "c"]
    assert len({event["id"] for event in receiver.events() if event["data"]["message"].startswith("bad")}) == 1


async def test_events_wait_for_a_receiver_that_is_away_and_for_a_scheduler_that_restarts(site: Site) -> None:
    """Nothing is lost by either, and they come in their order."""
    await restart(site)
    with receiving() as receiver:
        port = urlsplit(receiver.url).port or 0
        await define(site, receiver.url)
    for key in ("a", "b", "c"):
        await tell(site, key)
    await until(site, lambda shown: shown.pending == 3 and "ConnectError" in shown.last_error)
    await restart(site)
    with receiving(port) as receiver:
        await until(site, lambda shown: shown.delivered == 3)
    # One that was tried waits a moment longer than those that were not.
    assert sorted(keys(receiver)) == ["a", "b", "c"]


@pytest.mark.parametrize("transition", ["jobs.webhook_queued", "jobs.webhook_taken"])
async def test_a_scheduler_that_ends_in_between_loses_none(site: Site, transition: str) -> None:
    """Ended right after a durable transition; what comes twice comes under one id."""
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def notice(name: str) -> None:
        if name == transition:
            loop.call_soon_threadsafe(reached.set)

    with receiving() as receiver:
        await define(site, receiver.url)
        site.on_transition = notice
        await tell(site, "a")
        async with asyncio.timeout(20):
            await reached.wait()
        site.on_transition = lambda _: None
        await site.close_jobs()
        await tell(site, "b")
        await site.open_jobs()
        await until(site, lambda shown: shown.delivered == 2 and not shown.pending)
        assert set(keys(receiver)) == {"a", "b"}
        assert len({event["id"] for event in receiver.events()}) == 2


async def test_what_is_given_up_is_listed_told_and_sent_again_when_asked_for(site: Site) -> None:
    """By age, and at once where the receiver says that it is gone for good."""
    await restart(site, give_up=timedelta(0))
    with receiving() as receiver:
        receiver.answer = lambda _: (503, {})
        await define(site, receiver.url)
        await tell(site, "a")
        await until(site, lambda shown: shown.dead == 1)
        await restart(site)
        receiver.answer = lambda _: (410, {})
        await tell(site, "b")
        await until(site, lambda shown: shown.dead == 2)
        dead = pb.WEBHOOK_DELIVERY_STATE_DEAD
        request = pb.ListWebhookDeliveriesRequest(name="webhooks/pager", page_size=1, state=dead)
        first = await stub(site).ListWebhookDeliveries(request)
        request.page_token = first.next_page_token
        second = await stub(site).ListWebhookDeliveries(request)
        listed = [*first.deliveries, *second.deliveries]
        assert [each.last_error for each in listed] == [
            "the receiver answered 503 Service Unavailable",
            "the receiver answered 410 Gone",
        ]
        assert not second.next_page_token
        assert [event.type for event in await site.events("webhooks/pager")] == ["WEBHOOK_FAILED"]
        receiver.answer = lambda _: (204, {})
        with pytest.raises(grpc.aio.AioRpcError, match="has given up no delivery none"):
            _ = await stub(site).RetryWebhookDeliveries(
                pb.RetryWebhookDeliveriesRequest(name="webhooks/pager", id="none")
            )
        retry = pb.RetryWebhookDeliveriesRequest(name="webhooks/pager", id=listed[1].id)
        assert (await stub(site).RetryWebhookDeliveries(retry)).count == 1
        await until(site, lambda shown: (shown.delivered, shown.dead) == (1, 1))
        retry.id = ""
        assert (await stub(site).RetryWebhookDeliveries(retry)).count == 1
        await until(site, lambda shown: (shown.delivered, shown.dead) == (2, 0))


async def test_what_waits_is_bounded_and_what_is_crowded_out_is_told(site: Site) -> None:
    """The oldest are given up, and of those the oldest are forgotten: the database does not grow."""
    await restart(site, pending=2, dead=3)
    await define(site, "http://127.0.0.1:9/events")
    for key in "abcdefgh":
        await tell(site, key)
    await until(site, lambda shown: (shown.pending, shown.dead) == (2, 3))

    async def told() -> bool:
        return [event.type for event in await site.events("webhooks/pager")] == ["WEBHOOK_FAILED"]

    await site.wait_until(told)


async def test_a_redirect_is_not_followed_and_a_slow_receiver_is_not_waited_for(site: Site) -> None:
    """Else a receiver could send the scheduler anywhere, or keep it."""
    await restart(site, timeout=0.2)
    with receiving() as elsewhere, receiving() as receiver:
        receiver.answer = lambda _: (307, {"location": elsewhere.url})
        await define(site, receiver.url)
        await tell(site, "a")
        await until(site, lambda shown: "redirects are not followed" in shown.last_error)
        receiver.answer = lambda _: (204, {"content-length": "5"})
        await until(site, lambda shown: shown.delivered == 1)
        assert not elsewhere.taken

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        await change(site, url=f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/")
        await tell(site, "b")
        await until(site, lambda shown: "no answer within 0.2 s" in shown.last_error)


async def test_a_webhook_that_rests_sends_nothing_and_one_that_is_deleted_leaves_nothing(site: Site) -> None:
    """What waited waits on while it rests; what comes meanwhile is not made up for."""
    await restart(site)
    await define(site, "http://127.0.0.1:9/events")
    await tell(site, "a")
    await until(site, lambda shown: shown.pending == 1)
    await change(site, state=webhook_pb2.WEBHOOK_STATE_DISABLED)
    with receiving() as receiver:
        await change(site, url=receiver.url)
        await define(site, receiver.url, "other")
        await tell(site, "b")
        await until(site, lambda shown: shown.delivered == 1, "webhooks/other")
        assert keys(receiver) == ["b"]
        await change(site, state=webhook_pb2.WEBHOOK_STATE_ENABLED)
        await until(site, lambda shown: shown.delivered == 1)
        assert keys(receiver) == ["b", "a"]
    await tell(site, "c")
    await until(site, lambda shown: shown.pending == 1)
    for name in ("pager", "other"):
        await site.succeed(delete_webhook_pb2.DeleteWebhookRequest(name=f"webhooks/{name}"))

    async def nothing_left() -> bool:
        rows = await site.row_counts()
        return not rows["jobs", "webhook_delivery"]

    await site.wait_until(nothing_left)


async def write(site: Site, number: int, change: write_objects_pb2.ObjectWrite) -> None:
    """Write to the inventory what no operation does: one effect of an operation of its own, with its token."""
    call = ParticipantServiceStub(site._near["inventory"]).Execute()
    asked = effect(f"{number}/1/1", change, token=number)
    await call.write(participant_service_pb2.ExecuteRequest(effects=[asked]))
    await call.done_writing()
    reports = [report async for response in call for report in response.reports]
    assert [report.result.state for report in reports] == [participant_service_pb2.EFFECT_STATE_DONE], reports


def moved(name: str, pool: str) -> write_objects_pb2.ObjectWrite:
    """Return the write that moves a machine to another pool."""
    return update(virtual_machine_pb2.VirtualMachine(name=name, server_pool=pool), "server_pool")


async def test_one_of_a_pool_sends_what_is_about_the_pool_and_what_belongs_to_it_when_it_happens(site: Site) -> None:
    """A machine's events come while it is in the pool, from its move on; those of another pool do not."""
    finance, mover, other = "serverPools/Finance", "virtualMachines/mover", "serverPools/other"
    await write(site, 1_000_000, create(pool("other")))
    for name in ("inside", "mover"):
        await site.succeed(machine(name, disks=0, vnics=0))
    await write(site, 1_000_001, moved(mover, other))
    with receiving() as receiver:
        await define(site, receiver.url, within=finance)
        await define(site, receiver.url, "every")
        for key, subject in (("a", finance), ("b", "virtualMachines/inside"), ("c", mover), ("d", other)):
            await tell(site, key, subject)
        # Frames say what an object belongs to when they come, so the move waits for those before it.
        await until(site, lambda shown: shown.delivered == 4, "webhooks/every")
        await write(site, 1_000_002, moved(mover, finance))
        await tell(site, "e", mover)
        await until(site, lambda shown: shown.delivered == 5, "webhooks/every")
        await write(site, 1_000_003, moved(mover, other))
        await tell(site, "f", mover)
        await until(site, lambda shown: shown.delivered == 6, "webhooks/every")
        # Both were lined up in one commit for each event.
        await until(site, lambda shown: not shown.pending)
    assert Counter(keys(receiver)) == {"a": 2, "b": 2, "c": 1, "d": 1, "e": 2, "f": 1}
