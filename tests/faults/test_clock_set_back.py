"""A machine whose clock is set back an hour between two lives of its processes: no time that they write falls (P33).

Real processes, which see the machine's wall clock through a file; see `processes/faults.py`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.asking import LIMIT, prepare, run
from tests.acceptance.site import Site, open_site
from tests.faults.test_restart import wait_answered
from tests.invariants.records import agents, read
from tests.torture.bugs import VARIABLE
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.operations.v1 import refresh_repository_pb2
from virtyard_client.client import Client

HOUR = 3600.0
PROCESSES = ("up", "s1")
REFRESH = refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/shared")

pytestmark = pytest.mark.timeout(240)


async def times(site: Site, client: Client, above: int = 0) -> dict[str, list[float]]:
    """Return every time that was written of the operations above a number, in seconds since 1970, by its clock."""
    found = []
    hosts = {}
    for operation in read(site.folder).operations.values():
        if operation.number > above:
            record = operation.record
            stamps = [record.create_time, record.end_time]
            stamps += [stamp for job in record.jobs.values() for stamp in (job.start_time, job.end_time)]
            found += [stamp.ToNanoseconds() / 1e9 for stamp in stamps]
    for agent in agents(site.folder):
        with closing(sqlite3.connect(agent / "ledger.db")) as sql:
            accepted = sql.execute("SELECT accept_time FROM ledger WHERE operation > ?", (above,)).fetchall()
        assert accepted, "the host has done something, too"
        hosts[agent.name] = [seconds for (seconds,) in accepted]
    for event in await events(client):
        if int(event.operation.rpartition("/")[2] or 0) > above:
            found.append(event.create_time.ToNanoseconds() / 1e9)
    return {"the control plane": found, **hosts}


async def events(client: Client, wanted: str = "") -> list[event_pb2.Event]:
    """Return the events that match a filter."""
    request = inventory_service_pb2.ListEventsRequest(filter=wanted, page_size=1000)
    return list((await client.inventory.ListEvents(request)).events)


async def told(client: Client, kind: str, name: str) -> event_pb2.Event:
    """Wait until an event of this type has been told of an object, and return the only one."""
    async with asyncio.timeout(LIMIT):
        while not (found := await events(client, f'type = {kind} AND object = "{name}"')):
            await asyncio.sleep(0.05)
    (event,) = found
    return event


async def live_again(site: Site, client: Client, set_by: float) -> int:
    """Kill everything, set the machine's clock, start again and let a job run; return the last operation before it."""
    before = max(read(site.folder).operations)
    for name in PROCESSES:
        site.kill(name)
        site.set_wall_clock(name, set_by)
    for name in PROCESSES:
        site.start(name)
    await wait_answered(site, client)
    await run(client, REFRESH)
    return before


@pytest.fixture
def site() -> Iterator[Site]:
    """A control plane in one process, and a host."""
    with open_site(nursed=True) as site:
        yield site


@pytest.mark.slow
async def test_no_time_falls_though_the_clock_was_set_back_between_two_lives(site: Site) -> None:
    """The jump is told, can be confirmed, and of the host too; without the database's floor, times do fall."""
    async with site.client() as client:
        await prepare(site, client)
        first = await times(site, client)
        before = await live_again(site, client, -HOUR)
        second = await times(site, client, before)
        # Each by its own clock: the control plane still writes an end and events when the host has nothing to write.
        assert second.keys() == first.keys()
        for whose in first:
            assert min(second[whose]) >= max(first[whose]), whose
            assert max(second[whose]) - max(first[whose]) < HOUR / 2, whose
        jumped = await told(client, "CLOCK_JUMPED", "services/up")
        assert "0:59:" in jumped.message or "1:00:" in jumped.message
        assert "behind that of services/up" in jumped.message
        differs = await told(client, "HOST_CLOCK_DIFFERS", "servers/s1")
        assert "behind that of the control plane" in differs.message
        request = inventory_service_pb2.AcknowledgeEventRequest(name=jumped.name, comment="it was ahead before")
        await client.inventory.AcknowledgeEvent(request)
        agrees = await told(client, "CLOCK_AGREES", "services/up")
        assert "at half its pace" in agrees.message
        for name in PROCESSES:
            site.set_wall_clock(name, 0.0)
        await told(client, "HOST_CLOCK_AGREES", "servers/s1")
        site.settings[VARIABLE] = "clock-floor-dropped"
        before = await live_again(site, client, -2 * HOUR)
        third = await times(site, client, before)
        assert all(max(third[whose]) < min(second[whose]) for whose in second)


@pytest.mark.slow
async def test_the_process_of_the_lock_service_tells_of_a_jump() -> None:
    """It has found the inventory by itself, of which the service knows nothing, and follows what is acknowledged."""
    with open_site("split", servers=(), nursed=True) as site:
        site.stop("locks")
        site.start("locks")  # from here on its command line knows where the inventory is
        site.set_wall_clock("locks", HOUR)
        async with site.client() as client:
            jumped = await told(client, "CLOCK_JUMPED", "services/locks")
            assert "ahead of that of services/locks" in jumped.message
            request = inventory_service_pb2.AcknowledgeEventRequest(name=jumped.name, comment="it was behind before")
            await client.inventory.AcknowledgeEvent(request)
            agrees = await told(client, "CLOCK_AGREES", "services/locks")
            assert "as user/admin confirmed" in agrees.message
