"""The archive of events: what has left the live log is found as before, never changes, and is bounded."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.contract.inventory.samples import create, effect, pool
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2_grpc
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.api.type.v1 import watch_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.retention import Keep, archive_some, forget_some
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel import event_types
from virtyard.kernel.errors import InvalidRequest, NotFound, WrongState
from virtyard.runtime.status import errors_named

DAY = timedelta(days=1)
NEWEST = 4


async def fill(served: Served, clock: FakeClock, days: int = 9) -> datetime:
    """Record a usual event and a warning a day about pools p1 and so on, and return the time of the first day."""
    began = clock.now()
    for number in range(1, days + 1):
        await execute(served, effect(f"{number}/1/1", create(pool(f"p{number}"))))
        failed = event_types.new_event(event_types.JOB_FAILED, f"serverPools/p{number}", "failed")
        keyed = control_service_pb2.KeyedEvent(key=str(number), event=failed)
        await served.control.RaiseEvents(control_service_pb2.RaiseEventsRequest(events=[keyed]))
        clock.advance(DAY.total_seconds())
    return began


async def archive(served: Served, clock: FakeClock, count: int = NEWEST) -> None:
    """Leave so many of each sort in the live log."""
    keep = Keep(age=1000 * DAY, count=count)
    for grave in (False, True):
        assert not await archive_some(served.inventory.database, clock.now(), keep, grave=grave)


async def listed(served: Served, request: pb.ListEventsRequest) -> list[event_pb2.Event]:
    """Return the events of a list, read in pages of three."""
    request.page_size = 3
    found: list[event_pb2.Event] = []
    while True:
        page = await served.reads.ListEvents(request)
        found += page.events
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return found


async def exported(served: Served, request: pb.ExportEventsRequest) -> list[event_pb2.Event]:
    """Return the events of an export."""
    return [each.event async for each in served.reads.ExportEvents(request)]


def pools(events: list[event_pb2.Event]) -> str:
    """Return the numbers of the pools that events are about."""
    return "".join(event.object.removeprefix("serverPools/p") for event in events)


async def test_nothing_is_lost_or_doubled_by_leaving_the_live_log(served: Served, clock: FakeClock) -> None:
    """Live and archived events together are those that there were, but for the word that they are archived."""
    await fill(served, clock)
    before = await listed(served, pb.ListEventsRequest())
    await archive(served, clock)
    live = await listed(served, pb.ListEventsRequest())
    gone = await listed(served, pb.ListEventsRequest(archived=True))
    assert gone
    assert all(event.archived for event in gone)
    assert not any(event.archived for event in live)
    assert await exported(served, pb.ExportEventsRequest()) == live + gone
    for event in gone:
        assert await served.reads.GetEvent(pb.GetEventRequest(name=event.name)) == event
        event.archived = False
    assert live + gone == before


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (pb.ListEventsRequest(filter="type = JOB_FAILED", archived=True), "54321"),
        (pb.ListEventsRequest(filter="archived = true AND severity >= WARNING"), "54321"),
        (pb.ListEventsRequest(filter="severity = INFORMATIONAL", order_by="name", archived=True), "12345"),
        (pb.ListEventsRequest(filter='object = "serverPools/p2"', archived=True), "22"),
        (pb.ListEventsRequest(filter='object = "serverPools/p2" AND open = true', archived=True), "2"),
        (pb.ListEventsRequest(filter='object = "serverPools/p8"', archived=True), ""),
        (pb.ListEventsRequest(filter='operation = "operations/3"', archived=True), "3"),
        (pb.ListEventsRequest(filter="message = failed", archived=True), "54321"),
        (pb.ListEventsRequest(within="serverPools/p4", archived=True), "44"),
        (pb.ListEventsRequest(filter="archived = false AND type = JOB_FAILED"), "9876"),
        (pb.ListEventsRequest(filter="type = JOB_FAILED"), "9876"),
    ],
)
async def test_archive_is_found_by_the_filters_of_the_log(
    served: Served, clock: FakeClock, request_: pb.ListEventsRequest, found: str
) -> None:
    """Each kind of index, what has no column, the order, and an object with what belongs to it."""
    await fill(served, clock)
    await archive(served, clock)
    assert pools(await listed(served, request_)) == found


async def test_a_page_token_is_for_the_list_that_it_is_of(served: Served, clock: FakeClock) -> None:
    """With the live log's token the archive is not read on."""
    await fill(served, clock)
    await archive(served, clock)
    token = (await served.reads.ListEvents(pb.ListEventsRequest(page_size=1))).next_page_token
    with pytest.raises(InvalidRequest, match="page_token"), errors_named():
        await served.reads.ListEvents(pb.ListEventsRequest(page_size=1, page_token=token, archived=True))


async def test_times_are_found_in_log_and_archive(served: Served, clock: FakeClock) -> None:
    """A span over both, by a filter and by an export's own times; one that ends before it begins is refused."""
    began = await fill(served, clock)
    await archive(served, clock)
    request = pb.ExportEventsRequest(filter="type = JOB_FAILED")
    request.since.FromDatetime(began + 3 * DAY)
    request.until.FromDatetime(began + 7 * DAY)
    assert pools(await exported(served, request)) == "7654"
    request.filter = "type = JOB_FAILED AND archived = true"
    assert pools(await exported(served, request)) == "54"
    assert pools(await exported(served, pb.ExportEventsRequest(within="serverPools/p2"))) == "22"
    request.until.FromDatetime(began)
    with pytest.raises(InvalidRequest, match="until") as caught, errors_named():
        await exported(served, request)
    assert "after since" in caught.value.violations[0].description


async def test_an_export_misses_nothing_that_is_archived_meanwhile(
    served: Served, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of its pieces everything leaves the live log."""
    monkeypatch.setattr("virtyard.inventory.event_export._LOOKED_AT", 5)
    await fill(served, clock)
    before = [event.name for event in await listed(served, pb.ListEventsRequest())]
    found = []
    async for each in SqliteStore(served.inventory.database, clock).export_events(""):
        found.append(each.name)
        if len(found) == NEWEST:
            await archive(served, clock, 0)
    assert found == before


async def test_an_archived_event_never_changes(served: Served, clock: FakeClock) -> None:
    """It cannot be acknowledged, is not cleared by what comes later, and is shown at no object any more."""
    await fill(served, clock)
    await archive(served, clock)
    (first,) = await listed(
        served, pb.ListEventsRequest(filter='object = "serverPools/p1" AND open = true', archived=True)
    )
    with pytest.raises(WrongState, match="in the archive"), errors_named():
        await inventory_service_pb2_grpc.InventoryServiceStub(served.dial("user/operator")).AcknowledgeEvent(
            pb.AcknowledgeEventRequest(name=first.name)
        )
    assert await served.reads.GetEvent(pb.GetEventRequest(name=first.name)) == first


async def test_watches_show_the_live_log_only(served: Served, clock: FakeClock) -> None:
    """A new watch begins with what is live, and one that asks for archived events is shown none."""
    await fill(served, clock)
    await archive(served, clock)
    live = [event.name for event in await listed(served, pb.ListEventsRequest(order_by="name"))]
    for text, expected in (("", live), ("archived = true", [])):
        names = []
        async with asyncio.timeout(30):
            async for frame in served.reads.WatchEvents(pb.WatchEventsRequest(filter=text)):
                if frame.kind == watch_pb2.FRAME_KIND_BOOKMARK:
                    break
                names.append(frame.name)
        assert names == expected


@pytest.mark.parametrize("keep", [Keep(age=timedelta(days=6.5), count=100), Keep(age=100 * DAY, count=2)])
async def test_the_archive_is_bounded_by_age_and_number(served: Served, clock: FakeClock, keep: Keep) -> None:
    """Whichever is exceeded, the oldest are forgotten for good; of the other sort, and of what is live, nothing is."""
    await fill(served, clock)
    await archive(served, clock)
    oldest = (await listed(served, pb.ListEventsRequest(filter="type = JOB_FAILED", archived=True)))[-1]
    assert not await forget_some(served.inventory.database, clock.now(), keep, grave=True)
    left = {kind: f"type = {kind} AND archived = true" for kind in ("JOB_FAILED", "OBJECT_CREATED")}
    assert pools(await listed(served, pb.ListEventsRequest(filter=left["JOB_FAILED"]))) == "54"
    assert pools(await listed(served, pb.ListEventsRequest(filter=left["OBJECT_CREATED"]))) == "54321"
    assert pools(await listed(served, pb.ListEventsRequest(filter="type = JOB_FAILED"))) == "9876"
    with pytest.raises(NotFound), errors_named():
        await served.reads.GetEvent(pb.GetEventRequest(name=oldest.name))
