"""The ends of operations by webhook: each that is asked for, good ends as well, whatever fails in between."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from tests.integration.jobs.receiver import Receiver, receiving
from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Gate, Tries
from tests.integration.jobs.test_stuck import refused
from tests.integration.jobs.test_webhooks import change, define, secret, status, stub, until
from virtyard.api.inventory.v1 import webhook_pb2
from virtyard.api.jobs.v1 import automation_service_pb2 as pb
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.jobs import operation_ends
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.event_tail import EventTail

ENDS = webhook_pb2.WEBHOOK_CONTENT_OPERATIONS
BOTH = webhook_pb2.WEBHOOK_CONTENT_EVENTS_AND_OPERATIONS


async def define_ends(site: Site, url: str, webhook_id: str = "pager", **fields: Any) -> None:
    """Make a webhook that sends ends of operations."""
    await define(site, url, webhook_id, **{"content": ENDS, "event_filter": "", **fields})


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the type and the operation of all that came."""
    return [(event["type"].removeprefix("io.virtyard."), event["subject"]) for event in receiver.events()]


async def test_each_end_is_sent_as_a_signed_cloud_event(site: Site) -> None:
    """Good, bad and aborted ones, with what came of them; neither the request, nor events, nor their own webhook's."""
    with receiving() as receiver:
        await define_ends(site, receiver.url)
        good = await site.succeed(machine("web", disks=1))
        site.faults.before["CreateDiskFile"] = Tries(1)
        bad = await site.run(machine("bad", disks=1))
        gate = site.faults.before["CreateDiskFile"] = Gate()
        late = await site.submit(machine("late", disks=1))
        async with asyncio.timeout(LIMIT):
            await gate.reached.wait()
        (first_job, *_) = await site.jobs_of(late.name)
        await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=first_job.name))
        await site.wait(late.name)
        await change(site, description="it is about itself")
        await until(site, lambda shown: shown.delivered == 3)
        assert told(receiver) == [
            ("operation.SUCCEEDED", good.name),
            ("operation.FAILED", bad.name),
            ("operation.CANCELLED", late.name),
        ]
        first, second, third = receiver.events()
        assert receiver.verified(await secret(site), 0).get_source() == "/virtyard/jobs"
    assert (first["object"], first["data"]["name"], first["data"]["done"]) == ("virtualMachines/web", good.name, True)
    metadata = first["data"]["metadata"]
    assert (metadata["principal"], metadata["outcome"]) == ("user/admin", "OUTCOME_COMPLETE")
    assert metadata["endTime"] == first["time"]
    assert "response" in first["data"]
    assert not {"request", "resumeTokens"} & set(metadata)
    assert second["data"]["error"]["message"] == "the disk is full"
    assert third["data"]["error"]["code"] == grpc.StatusCode.CANCELLED.value[0]


async def test_only_what_is_asked_for_is_sent(site: Site) -> None:
    """By the filter of operations, by the object that they lock, with events beside, and nothing while it rests."""
    await site.succeed(machine("web", disks=0, vnics=0))
    with receiving() as bad, receiving() as inside, receiving() as both:
        await define_ends(site, bad.url, "bad", operation_filter="state = FAILED")
        await define_ends(site, inside.url, "inside", within="virtualMachines/web")
        await define(
            site, both.url, "both", content=BOTH, event_filter="type = JOB_FAILED", operation_filter="title:Delete"
        )
        await define_ends(site, both.url, "resting", state=webhook_pb2.WEBHOOK_STATE_DISABLED)
        site.faults.before["CreateDiskFile"] = Tries(1)
        failed = await site.run(machine("other", disks=1))
        gone = await site.succeed(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))
        await until(site, lambda shown: shown.delivered >= 1, "webhooks/bad")
        await until(site, lambda shown: shown.delivered >= 1, "webhooks/inside")
        await until(site, lambda shown: shown.delivered >= 2 and not shown.pending, "webhooks/both")
        assert told(bad) == [("operation.FAILED", failed.name)]
        assert told(inside) == [("operation.SUCCEEDED", gone.name)]
        assert ("operation.SUCCEEDED", gone.name) in told(both)
        assert {kind for kind, _ in told(both)} == {"operation.SUCCEEDED", "event.JOB_FAILED"}
        assert [subject for kind, subject in told(both) if kind.startswith("operation")] == [gone.name]


async def test_an_end_costs_no_commit_of_its_own(site: Site) -> None:
    """It is in line with the commit that ends the operation, so that nothing can come in between."""
    await define_ends(site, "http://127.0.0.1:9/ends")
    await site.succeed(machine("first", disks=0, vnics=0))
    await until(site, lambda shown: shown.pending == 1)  # so that the webhook is known
    before = len(site.transitions)
    operation = await site.succeed(machine("web", disks=0, vnics=0))
    _, listed = await deliveries(site)
    assert (listed.operation, listed.event, listed.event_type) == (operation.name, "", "OPERATION_SUCCEEDED")
    assert not {"jobs.webhook_ends", "jobs.webhook_queued"} & set(site.transitions[before:])


async def deliveries(site: Site, state: int = 0) -> list[pb.WebhookDelivery]:
    """Return what is in line, or was given up."""
    request = pb.ListWebhookDeliveriesRequest(name="webhooks/pager", state=pb.WebhookDeliveryState.ValueType(state))
    return list((await stub(site).ListWebhookDeliveries(request)).deliveries)


async def test_a_webhook_counts_from_the_end_of_its_operation_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though no event tells the scheduler of it: whatever ends later is matched with it, and with what it becomes."""

    async def deaf(*_: object) -> None:
        """Hear of nothing."""

    monkeypatch.setattr(EventTail, "_deal_with", deaf)
    with receiving() as receiver:
        await define_ends(site, receiver.url)
        first = await site.succeed(machine("web", disks=0, vnics=0))
        await until(site, lambda shown: shown.delivered == 1)
        await change(site, operation_filter="title:Delete")
        await site.succeed(machine("other", disks=0, vnics=0))
        second = await site.succeed(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))
        await until(site, lambda shown: shown.delivered == 2)
        assert [subject for _, subject in told(receiver)] == [first.name, second.name]


async def test_an_end_before_the_webhooks_are_known_is_sent_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends right after a start waits in the database until they were read, also over another start."""
    gate = site.faults.before["CreateDiskFile"] = Gate()
    with receiving() as receiver:
        await define_ends(site, receiver.url)
        name = (await site.submit(machine("web", disks=1))).name
        async with asyncio.timeout(LIMIT):
            await gate.reached.wait()
        await site.close_jobs()
        with monkeypatch.context() as patched:
            patched.setattr(Definitions, "load", held_back)
            await site.open_jobs()
            gate.opened.set()
            await site.wait(name)
            assert (await site.row_counts())["jobs", "webhook_delivery"] == 1
            await site.close_jobs()
        assert not receiver.taken
        await site.open_jobs()
        await until(site, lambda shown: (shown.delivered, shown.pending) == (1, 0))
        assert told(receiver) == [("operation.SUCCEEDED", name)]
        assert (await site.row_counts())["jobs", "webhook_delivery"] == 0


async def held_back(_: Definitions) -> None:
    """Never read them."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("transition", ["jobs.Ct", "jobs.webhook_taken"])
async def test_a_scheduler_that_ends_in_between_loses_no_end(site: Site, transition: str) -> None:
    """Ended right after a durable transition; what comes twice comes under one id."""
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def notice(name: str) -> None:
        if name == transition:
            loop.call_soon_threadsafe(reached.set)

    with receiving() as receiver:
        await define_ends(site, receiver.url)
        site.on_transition = notice
        name = (await site.submit(machine("web", disks=0, vnics=0))).name
        async with asyncio.timeout(LIMIT):
            await reached.wait()
        site.on_transition = lambda _: None
        await site.close_jobs()
        await site.open_jobs()
        await until(site, lambda shown: shown.delivered == 1 and not shown.pending)
        assert set(told(receiver)) == {("operation.SUCCEEDED", name)}
        assert len({event["id"] for event in receiver.events()}) == 1


async def test_what_was_given_up_is_forgotten_when_asked_for(site: Site) -> None:
    """One, then all; what is not there is said, and what waits still is left."""
    with receiving() as receiver:
        receiver.answer = lambda _: (410, {})
        await define_ends(site, receiver.url)
        for name in ("a", "b", "c"):
            await site.succeed(machine(name, disks=0, vnics=0))
        await until(site, lambda shown: shown.dead == 3)
        first, *_ = await deliveries(site, pb.WEBHOOK_DELIVERY_STATE_DEAD)
        assert (first.last_error, first.attempts) == ("the receiver answered 410 Gone", 1)
        await change(site, url="http://127.0.0.1:9/ends")
        await site.succeed(machine("d", disks=0, vnics=0))

        async def discard(identifier: str) -> int:
            request = pb.DiscardWebhookDeliveriesRequest(name="webhooks/pager", id=identifier)
            return int((await stub(site).DiscardWebhookDeliveries(request)).count)

        assert await discard(first.id) == 1
        assert (await refused(discard(first.id))).reason == "NOT_FOUND"
        assert await discard("") == 2
        shown = await status(site)
        assert (shown.dead, shown.pending, shown.delivered) == (0, 1, 0)


async def test_an_end_that_cannot_be_told_ends_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in what is sent costs the message, never the operation; the next end is told again."""

    def broken(_: object) -> operations_pb2.Operation:
        raise ValueError("it cannot be shown")

    with receiving() as receiver:
        await define_ends(site, receiver.url)
        first = await site.succeed(machine("first", disks=0, vnics=0))
        await until(site, lambda shown: shown.delivered == 1)  # so that the webhook is known
        with monkeypatch.context() as patched:
            patched.setattr(operation_ends, "shown_at_end", broken)
            await site.succeed(machine("web", disks=0, vnics=0))
        second = await site.succeed(machine("other", disks=0, vnics=0))
        await until(site, lambda shown: shown.delivered == 2)
        assert told(receiver) == [("operation.SUCCEEDED", each.name) for each in (first, second)]
