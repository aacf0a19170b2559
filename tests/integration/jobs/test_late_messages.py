"""Messages that arrive late: held on their way by hand, and let go when the world has moved on (P1, P5, P14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from google.longrunning import operations_pb2

from tests.integration.jobs.site import MIB, Site
from virtyard.agent import ledger
from virtyard.agent.ledger import Ledger
from virtyard.agent.model import Key
from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import create_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.jobs.participants import Link, Listener
from virtyard.kernel.errors import OwnerClosed, StaleEpoch
from virtyard.kernel.names import INVENTORY
from virtyard.locks.model import LockSet, Release
from virtyard.runtime.channel import open_channel
from virtyard.runtime.status import from_status


class Post:
    """Holds what a scheduler sends to hosts, until it is delivered by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Hold everything from now on."""
        self.held: list[tuple[str, participant.Effect]] = []
        self.came = asyncio.Event()
        send = Link.send

        def hold(link: Link, effects: list[participant.Effect], listener: Listener) -> None:
            if link.name == INVENTORY:
                send(link, effects, listener)
                return
            self.held += [(link.name, effect) for effect in effects]
            self.came.set()

        patch.setattr(Link, "send", hold)

    async def wait(self) -> None:
        """Wait until something is held."""
        async with asyncio.timeout(20):
            await self.came.wait()

    async def deliver(self, site: Site) -> participant.EffectRecord:
        """Deliver the message that was held first, by a scheduler that has just woken up; return what it is told."""
        server, effect = self.held[0]
        name = server.partition("/")[2]

        async def one() -> AsyncIterator[participant.ExecuteRequest]:
            # Under the present handshake: that an older one is refused would hide what is to be seen here.
            hello = site.jobs.scheduler.world.store.ledgers.of(server).hello
            yield participant.ExecuteRequest(effects=[effect], hello=hello)

        async with (
            asyncio.timeout(20),
            open_channel(site.addresses[name], site.credentials, f"agent/{name}") as channel,
        ):
            stub = participant_grpc.ParticipantServiceStub(channel)
            async for response in cast(Any, stub.Execute)(one()):
                for report in response.reports:
                    if report.HasField("result"):
                        return cast(participant.EffectRecord, report.result)
        raise AssertionError("the stream ended without a result")


def new_disk() -> create_virtual_disk_pb2.CreateVirtualDiskRequest:
    """Return a request for a disk; its first step is a host's."""
    disk = virtual_disk_pb2.VirtualDisk(repository="repositories/R", size_bytes=MIB)
    return create_virtual_disk_pb2.CreateVirtualDiskRequest(virtual_disk_id="late", virtual_disk=disk)


async def abort(site: Site, operation: str) -> None:
    """Abort an operation."""
    number = operation.partition("/")[2]
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=f"jobs/{number}-1"))


async def abort_unsent(site: Site, patch: pytest.MonkeyPatch) -> Post:
    """Abort an operation whose first intent is durable and on its way to a host; return what is on its way."""
    before = site.files()
    with patch.context() as holding:
        post = Post(holding)
        operation = await site.submit(new_disk())
        await post.wait()
        await abort(site, operation.name)
        ended = await site.wait(operation.name)
        assert ended.HasField("error")
        await site.wait_released()
    assert site.files() == before
    return post


async def test_a_message_that_comes_after_the_abort_does_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: its host has heard of no newer token; that the step was settled is what refuses it, for ever."""
    post = await abort_unsent(site, monkeypatch)
    # Its locks have gone to somebody else, who makes a disk of the same name.
    await site.succeed(new_disk())
    files = site.files()
    record = await post.deliver(site)
    assert record.state == participant.EFFECT_STATE_NOT_BEGUN
    assert site.files() == files
    assert site.faults.done["CreateDiskFile"] == 1


async def test_without_the_tombstone_the_late_message_acts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a settlement that is not durable: tokens and epoch refuse nothing, and a file is left behind."""

    def forget(self: Ledger, sql: object, key: Key, *_: object) -> participant.EffectRecord:
        return participant.EffectRecord(step_key=key.step_key, state=participant.EFFECT_STATE_NOT_BEGUN)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_refuse_for_ever", forget)
        post = await abort_unsent(site, monkeypatch)
    before = site.files()
    record = await post.deliver(site)
    assert record.state == participant.EFFECT_STATE_DONE
    assert len(site.files()) > len(before)


async def adopted(site: Site, patch: pytest.MonkeyPatch, gate: asyncio.Event) -> tuple[Post, operations_pb2.Operation]:
    """Let a scheduler stand still between an intent and its message, and another one run the step up to a gate."""
    began = asyncio.Event()

    async def wait(*_: object) -> None:
        began.set()
        await gate.wait()

    with patch.context() as holding:
        post = Post(holding)
        operation = await site.submit(new_disk())
        await post.wait()
        await site.close_jobs()
    site.faults.before["CreateDiskFile"] = wait
    await site.open_jobs()
    async with asyncio.timeout(20):
        await began.wait()
    return post, operation


async def test_a_scheduler_that_wakes_up_before_its_message_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P14: its effect and its Settle carry the old epoch; what the new scheduler runs goes on, and is done once."""
    gate = asyncio.Event()
    post, operation = await adopted(site, monkeypatch, gate)
    server, effect = post.held[0]
    record = await post.deliver(site)
    assert from_status(record.error).reason == "STALE_EPOCH"
    with pytest.raises(StaleEpoch):
        await site.jobs.scheduler.world.participants.link(server).settle(stopping(effect))
    gate.set()
    assert not (await site.wait(operation.name)).HasField("error")
    assert site.faults.done["CreateDiskFile"] == 1


def stopping(effect: participant.Effect) -> participant.SettleRequest:
    """Return what a scheduler that has not heard of the adoption asks to stop a step."""
    return participant.SettleRequest(
        step_key=effect.step_key, phase=effect.phase, attempt=effect.attempt, epoch=1, stop=True
    )


async def test_a_scheduler_that_wakes_up_before_its_acquire_is_refused(site: Site) -> None:
    """P14: the one that has adopted holds the locks; neither an Acquire nor a Release of the old epoch moves them."""
    asked, began, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent: list[LockSet] = []

    async def hold(wanted: LockSet, *_: object) -> None:
        sent.append(wanted)
        asked.set()
        await asyncio.Event().wait()

    async def wait(*_: object) -> None:
        began.set()
        await gate.wait()

    cast(Any, site.jobs.scheduler.world.locks).acquire = hold
    site.faults.before["CreateDiskFile"] = wait
    operation = await site.submit(new_disk())
    async with asyncio.timeout(20):
        await asked.wait()
        await site.close_jobs()
        await site.open_jobs()
        await began.wait()
    held = await site.held_locks()
    locks: Any = site.jobs.scheduler.world.locks
    with pytest.raises(StaleEpoch):
        await locks.acquire(sent[0])
    with pytest.raises(StaleEpoch):
        await locks.release([Release(owner=operation.name, epoch=1)])
    assert held
    assert await site.held_locks() == held
    gate.set()
    assert not (await site.wait(operation.name)).HasField("error")


async def test_without_the_epoch_a_scheduler_that_wakes_up_stops_anothers_step(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch is what refuses: with the check switched off an old settlement stops what the new scheduler runs."""
    post, operation = await adopted(site, monkeypatch, asyncio.Event())
    server, effect = post.held[0]
    monkeypatch.setattr(ledger, "check_epoch", lambda *_: None)
    await site.jobs.scheduler.world.participants.link(server).settle(stopping(effect))
    assert (await site.wait(operation.name)).HasField("error")


async def test_an_acquire_that_comes_after_the_end_gets_nothing(site: Site) -> None:
    """P5, the third interleaving: stopped just before it asks for locks, and woken when the operation has ended."""
    asked, gate = asyncio.Event(), asyncio.Event()
    proxy: Any = site.jobs.scheduler.world.locks
    acquire, sent = proxy.acquire, []

    async def late(wanted: LockSet, *rest: Any) -> Any:
        sent.append(wanted)
        asked.set()
        await gate.wait()
        return await acquire(wanted, *rest)

    proxy.acquire = late
    operation = await site.submit(new_disk())
    async with asyncio.timeout(20):
        await asked.wait()
    await abort(site, operation.name)
    assert (await site.wait(operation.name)).HasField("error")
    proxy.acquire = acquire
    # That it was released is a row here, and reaches the lock service in its own time.
    await site.wait_until(lambda: nothing_due(site))
    with pytest.raises(OwnerClosed):
        await proxy.acquire(sent[0], lambda place: None)
    gate.set()
    assert not await site.held_locks()


async def nothing_due(site: Site) -> bool:
    """Tell whether every release was made."""
    return site.jobs.scheduler._due.pending == 0
