"""The worst open event of an object is shown with it, in reads and watches, and is known again after a restart."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import grpc.aio

from tests.contract.inventory.samples import create, effect, pool
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_acknowledging import acknowledged, raised
from tests.contract.inventory.test_reads import execute
from tests.contract.inventory.test_watch import BOOKMARK, Frames
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.api.type.v1 import activity_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.main import open_inventory
from virtyard.inventory.open_events import InventoryFeed, OpenEvents, read_open
from virtyard.inventory.retention import Keep, archive_some
from virtyard.kernel import event_types
from virtyard.kernel.permissions import Principal
from virtyard.runtime.local import LocalChannel


async def shown(served: Served) -> activity_pb2.Activity:
    """Return the activity of the pool as it is read."""
    listed = (await served.reads.ListServerPools(pb.ListServerPoolsRequest())).server_pools[0]
    read = await served.reads.GetServerPool(pb.GetServerPoolRequest(name="serverPools/p"))
    assert listed.activity == read.activity
    return read.activity


async def test_the_worst_open_event_is_shown_with_its_object(served: Served) -> None:
    """The gravest, the latest of several; what is acknowledged counts no more, and none leaves nothing behind."""
    await execute(served, effect("9/1/1", create(pool("p"))))
    assert not (await shown(served)).worst_event
    first = await raised(served, event_types.JOB_FAILED, "serverPools/p", "1")
    worst = await raised(served, event_types.SAFETY_VIOLATED, "serverPools/p", "2")
    second = await raised(served, event_types.JOB_FAILED, "serverPools/p", "3")
    now = await shown(served)
    assert (now.worst_event, now.worst_severity, now.open_events) == (worst.name, "CRITICAL", 3)
    assert now.locks_unknown, "there is no lock service here, which must not look like no locks"
    await acknowledged(served, worst.name)
    now = await shown(served)
    assert (now.worst_event, now.worst_severity, now.open_events) == (second.name, "WARNING", 2)
    for event in (first, second):
        await acknowledged(served, event.name)
    assert not (await shown(served)).worst_event


async def test_who_watches_the_object_is_told(served: Served) -> None:
    """Though the object itself is as it was."""
    await execute(served, effect("9/1/1", create(pool("p"))))
    watch = Frames(served)
    await watch.until(BOOKMARK)
    event = await raised(served, event_types.JOB_FAILED, "serverPools/p", "1")
    assert (await watch.next()).object.server_pool.activity.worst_severity == "WARNING"
    await acknowledged(served, event.name)
    assert not (await watch.next()).object.server_pool.activity.worst_severity


async def test_it_is_known_again_after_a_restart_and_forgotten_with_the_log(tmp_path: Path, clock: FakeClock) -> None:
    """What is kept in memory is what the log has, each time."""

    def failure(key: str) -> control_service_pb2.RaiseEventsRequest:
        event = event_types.new_event(event_types.JOB_FAILED, "serverPools/p", "failed")
        return control_service_pb2.RaiseEventsRequest(events=[control_service_pb2.KeyedEvent(key=key, event=event)])

    async with AsyncExitStack() as stack:
        served = await opened(tmp_path, clock, stack)
        await served.control.RaiseEvents(failure("1"))
        # The first one is cleared by that.
        await execute(served, effect("9/1/1", create(pool("p"))))
        await served.control.RaiseEvents(failure("2"))
        assert (await shown(served)).open_events == 1
    async with AsyncExitStack() as stack:
        served = await opened(tmp_path, clock, stack)
        assert (await shown(served)).open_events == 1
        clock.advance(100)
        keep = Keep(age=timedelta(seconds=10), count=1000)
        inventory = served.inventory
        assert isinstance(inventory.feed, InventoryFeed)
        forgotten = inventory.feed.open_events.forget
        await archive_some(inventory.database, clock.now(), keep, grave=True, gone=forgotten)
        assert not (await shown(served)).worst_event
        assert await inventory.database.read(read_open) == []


async def opened(folder: Path, clock: FakeClock, stack: AsyncExitStack) -> Served:
    """Open an inventory, and channels to it."""
    inventory = await stack.enter_async_context(open_inventory(folder, clock))
    channel = await stack.enter_async_context(LocalChannel(inventory.services, Principal.of("service/jobs")))

    def dial(_: str) -> grpc.aio.Channel:
        return channel

    return Served(inventory=inventory, dial=dial)


def test_it_is_bounded_by_what_is_open() -> None:
    """Nothing is left of an event that is open no more, nor of its object."""
    known = OpenEvents()
    for number in range(1, 1000):
        event = event_types.new_event(event_types.JOB_FAILED, f"servers/s{number}", "failed", name=f"events/{number}")
        event.open = True
        known.take(event)
        event.open = False
        known.take(event)
    assert not known._of
    assert not known._objects
