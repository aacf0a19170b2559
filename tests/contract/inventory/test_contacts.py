"""Contact of agents: its loss is told at once and once, unless the agent said goodbye or has made contact anew."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.contract.inventory.samples import GIB, create, delete, effect, server
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_hosts import get, report
from tests.contract.inventory.test_reads import execute
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, server_pb2
from virtyard.internal.inventory.v1 import host_service_pb2

ONLINE = server_pb2.SERVER_STATE_ONLINE
OFFLINE = server_pb2.SERVER_STATE_OFFLINE


class Contact:
    """The stream of the agent of server s, as the agent holds it."""

    def __init__(self, served: Served) -> None:
        self._goodbye = asyncio.Event()
        self._call: Any = served.host("s").KeepContact(self._requests())

    async def _requests(self) -> Any:
        yield host_service_pb2.KeepContactRequest()
        await self._goodbye.wait()
        yield host_service_pb2.KeepContactRequest(goodbye=True)

    async def made(self) -> Contact:
        """Wait until the inventory knows of it."""
        async with asyncio.timeout(30):
            await self._call.read()
        return self

    def break_off(self) -> None:
        """End it as a process that is killed does."""
        self._call.cancel()

    async def say_goodbye(self) -> None:
        """End it in good order, and see that the inventory has ended it."""
        self._goodbye.set()
        await self.ended()

    async def ended(self) -> None:
        """Wait until the inventory has ended it."""
        async with asyncio.timeout(30):
            while await self._call.read():
                pass


async def told(served: Served) -> list[event_pb2.Event]:
    """Return the events of server s that say whether it is there, in their order."""
    asked = 'object = "servers/s" AND type:SERVER_'
    request = inventory_service_pb2.ListEventsRequest(filter=asked, order_by="create_time")
    return list((await served.reads.ListEvents(request)).events)


async def kinds(served: Served) -> list[str]:
    """Return the types of those."""
    return [event.type for event in await told(served)]


async def wait_told(served: Served, *wanted: str) -> None:
    """Wait until exactly these were told."""
    async with asyncio.timeout(30):
        while await kinds(served) != list(wanted):
            await asyncio.sleep(0.01)


async def prepare(served: Served) -> None:
    """Make server s, which reports."""
    await execute(served, effect("1/1/1", create(server("s", memory=GIB))))
    await served.host("s").ReportHost(report("s"))


async def test_a_server_is_disconnected_then_offline_then_back(served: Served, clock: FakeClock) -> None:
    """In this order, each once; the return ends both, and the state of the server waits for its time."""
    await prepare(served)
    (await Contact(served).made()).break_off()
    await wait_told(served, "SERVER_DISCONNECTED")
    assert (await get(served, "s")).state == ONLINE
    clock.advance(35)
    assert await served.inventory.presence.sweep() == ["servers/s"]
    assert (await get(served, "s")).state == OFFLINE
    await served.host("s").ReportHost(report("s"))
    await wait_told(served, "SERVER_DISCONNECTED", "SERVER_OFFLINE", "SERVER_ONLINE")
    assert [event.open for event in await told(served)] == [False, False, False]
    assert {event.cleared_by for event in (await told(served))[:2]} == {(await told(served))[2].name}


async def test_a_server_that_is_heard_in_time_is_reconnected(served: Served) -> None:
    """By any report, though it says nothing new; the next loss is told again."""
    await prepare(served)
    (await Contact(served).made()).break_off()
    await wait_told(served, "SERVER_DISCONNECTED")
    assert [event.open for event in await told(served)] == [True]
    for _ in range(2):
        await served.host("s").ReportHost(report("s"))
    await wait_told(served, "SERVER_DISCONNECTED", "SERVER_RECONNECTED")
    assert [event.open for event in await told(served)] == [False, False]
    (await Contact(served).made()).break_off()
    await wait_told(served, "SERVER_DISCONNECTED", "SERVER_RECONNECTED", "SERVER_DISCONNECTED")


async def test_an_agent_that_says_goodbye_is_not_disconnected(served: Served, clock: FakeClock) -> None:
    """Its server goes offline in time, and that is all; neither is one whose agent made contact anew."""
    await prepare(served)
    first = await Contact(served).made()
    second = await Contact(served).made()
    first.break_off()
    await second.say_goodbye()
    clock.advance(35)
    assert await served.inventory.presence.sweep() == ["servers/s"]
    assert await kinds(served) == ["SERVER_OFFLINE"]


async def test_a_server_that_hangs_is_disconnected_before_it_is_offline(served: Served, clock: FakeClock) -> None:
    """Its stream does not end: its silence tells both; the same stream ends later, and tells it again."""
    await prepare(served)
    contact = await Contact(served).made()
    clock.advance(35)
    assert await served.inventory.presence.sweep() == ["servers/s"]
    assert await kinds(served) == ["SERVER_DISCONNECTED", "SERVER_OFFLINE"]
    await served.host("s").ReportHost(report("s"))
    contact.break_off()
    await wait_told(served, "SERVER_DISCONNECTED", "SERVER_OFFLINE", "SERVER_ONLINE", "SERVER_DISCONNECTED")


async def test_an_inventory_that_stops_disconnects_nobody(served: Served) -> None:
    """It ends the streams itself, and so do agents whose server is not recorded, or not any more."""
    contact = await Contact(served).made()
    contact.break_off()
    asked = effect("2/1/1", delete("servers/s"), token=2)
    await prepare(served)
    last = await Contact(served).made()
    served.inventory.end_streams()
    await last.ended()
    assert await kinds(served) == []
    await execute(served, asked)
    assert "SERVER_DISCONNECTED" not in await kinds(served)
