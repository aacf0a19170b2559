"""Reports of agents: they write what was observed, and nothing else; silence is noticed."""

from __future__ import annotations

import pytest

from tests.contract.inventory.samples import GIB, create, delete, effect, server, undo, update
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from tests.contract.inventory.test_watch import BOOKMARK, Frames
from tests.fakes.clock import FakeClock
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, server_pb2, write_objects_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.inventory import observations, presence, writes
from virtyard.kernel.errors import PermissionDenied
from virtyard.runtime.status import errors_named

ONLINE = server_pb2.SERVER_STATE_ONLINE
OFFLINE = server_pb2.SERVER_STATE_OFFLINE


def report(
    name: str, *, memory: int = GIB, sequence: int = 1, guests: int = 0, ledger: str = ""
) -> host_service_pb2.ReportHostRequest:
    """Return the report of a host."""
    host = agent_service_pb2.Host(
        server=f"servers/{name}", memory_bytes=memory, ledger_sequence=sequence, ledger_id=ledger
    )
    host.guests.extend(agent_service_pb2.Guest(uid=str(number), running=True) for number in range(guests))
    return host_service_pb2.ReportHostRequest(host=host)


async def get(served: Served, name: str) -> server_pb2.Server:
    """Return a server as people see it."""
    return await served.reads.GetServer(inventory_service_pb2.GetServerRequest(name=f"servers/{name}"))


async def event_types(served: Served) -> list[str]:
    """Return the types of all events, the newest first."""
    page = await served.reads.ListEvents(inventory_service_pb2.ListEventsRequest())
    return [event.type for event in page.events]


async def test_report_of_an_unknown_server_is_not_kept(served: Served) -> None:
    """A host that was not discovered is told so, and nothing is stored."""
    before = served.inventory.feed.head
    answer = await served.host("s").ReportHost(report("s"))
    assert (answer.known, answer.report_interval_seconds) == (False, 10)
    assert served.inventory.feed.head == before


async def test_report_changes_what_was_observed_only(served: Served) -> None:
    """Generation and configuration stay; the etag, the state and the observation change (P19)."""
    await execute(served, effect("1/1/1", create(server("s"))))
    before = await get(served, "s")
    assert (await served.host("s").ReportHost(report("s", memory=5 * GIB, guests=2))).known
    after = await get(served, "s")
    assert (after.state, after.observed.memory_bytes, after.observed.running_guests) == (ONLINE, 5 * GIB, 2)
    assert after.observed.HasField("report_time")
    assert (after.generation, after.update_time) == (before.generation, before.update_time)
    assert after.etag != before.etag


async def test_agent_reports_on_its_own_server_only(served: Served) -> None:
    """An agent that speaks for another server is refused."""
    await execute(served, effect("1/1/1", create(server("s"))))
    with pytest.raises(PermissionDenied), errors_named():
        await served.host("t").ReportHost(report("s"))
    assert not (await get(served, "s")).HasField("observed")


async def test_report_that_says_nothing_new_costs_no_commit(served: Served, clock: FakeClock) -> None:
    """Liveness is kept in memory; only now and then the time of the report is stored."""
    await execute(served, effect("1/1/1", create(server("s"))))
    host = served.host("s")
    await host.ReportHost(report("s"))
    commits, etag = served.inventory.database.commits, (await get(served, "s")).etag
    for number in range(5):
        clock.advance(10)
        await host.ReportHost(report("s", sequence=2 + number))
    assert served.inventory.database.commits == commits
    clock.advance(10)
    await host.ReportHost(report("s", sequence=9))
    assert served.inventory.database.commits == commits + 1
    after = await get(served, "s")
    assert (after.etag, after.observed.ledger_sequence) == (etag, 9)


async def test_older_report_never_overwrites_a_newer_one(served: Served) -> None:
    """A report that reflects an older position of the ledger is left out, and still shows that the host lives (P27)."""
    await execute(served, effect("1/1/1", create(server("s"))))
    await served.host("s").ReportHost(report("s", memory=2 * GIB, sequence=5))
    answer = await served.host("s").ReportHost(report("s", memory=1 * GIB, sequence=4))
    assert answer.known
    assert (await get(served, "s")).observed.memory_bytes == 2 * GIB


async def test_report_of_another_ledger_counts_at_once(served: Served) -> None:
    """Where a ledger was lost its positions begin anew; what still comes of the one before says nothing more (P27)."""
    await execute(served, effect("1/1/1", create(server("s"))))
    host = served.host("s")
    await host.ReportHost(report("s", memory=2 * GIB, sequence=5000, ledger="a"))
    await host.ReportHost(report("s", memory=3 * GIB, sequence=1, ledger="b"))
    assert (await get(served, "s")).observed.memory_bytes == 3 * GIB
    await host.ReportHost(report("s", memory=4 * GIB, sequence=6000, ledger="a"))
    assert (await get(served, "s")).observed.memory_bytes == 3 * GIB
    await host.ReportHost(report("s", memory=5 * GIB, sequence=2, ledger="b"))
    await host.ReportHost(report("s", memory=6 * GIB, sequence=1, ledger="b"))
    assert (await get(served, "s")).observed.memory_bytes == 5 * GIB
    await execute(served, effect("2/1/1", looked(memory=7 * GIB, sequence=1, ledger="c"), token=2))
    assert (await get(served, "s")).observed.memory_bytes == 7 * GIB


async def test_older_look_of_a_job_never_overwrites_a_newer_report(served: Served) -> None:
    """A job writes what a host was like when it was looked at; a later report of the host counts (P27)."""
    await execute(served, effect("1/1/1", create(server("s"))))
    await served.host("s").ReportHost(report("s", memory=2 * GIB, sequence=5))
    before = await get(served, "s")
    await execute(served, effect("2/1/1", looked(memory=1 * GIB, sequence=4), token=2))
    assert await get(served, "s") == before
    await execute(served, effect("3/1/1", looked(memory=3 * GIB, sequence=6), token=3))
    after = await get(served, "s")
    assert (after.observed.memory_bytes, after.generation) == (3 * GIB, before.generation)
    assert after.state == server_pb2.SERVER_STATE_ONLINE


async def test_without_the_comparison_what_is_older_overwrites(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positions are what is compared: switched off, a report and then a job's look take back what is known."""
    monkeypatch.setattr(presence, "_is_outdated", lambda *_: False)
    monkeypatch.setattr(observations, "is_older", lambda *_: False)
    monkeypatch.setattr(writes, "_is_older", lambda *_: False)
    await execute(served, effect("1/1/1", create(server("s"))))
    await served.host("s").ReportHost(report("s", memory=3 * GIB, sequence=6))
    await served.host("s").ReportHost(report("s", memory=2 * GIB, sequence=5))
    assert (await get(served, "s")).observed.memory_bytes == 2 * GIB
    await execute(served, effect("2/1/1", looked(memory=1 * GIB, sequence=4), token=2))
    assert (await get(served, "s")).observed.memory_bytes == 1 * GIB


def looked(*, memory: int, sequence: int, ledger: str = "") -> write_objects_pb2.ObjectWrite:
    """Return the write of what a job saw of a host."""
    observed = server_pb2.ServerObservation(memory_bytes=memory, ledger_sequence=sequence, ledger_id=ledger)
    seen = server_pb2.Server(name="servers/s", observed=observed)
    return update(seen, "observed.memory_bytes", "observed.ledger_sequence", "observed.ledger_id")


async def test_silent_server_goes_offline_and_comes_back(served: Served, clock: FakeClock) -> None:
    """Silence is a commit, a frame and a warning; the next report brings the server back, with an event too."""
    await execute(served, effect("1/1/1", create(server("s")), create(server("t"))))
    await served.host("s").ReportHost(report("s"))
    watch = Frames(served)
    await watch.until(BOOKMARK)
    clock.advance(34)
    assert await served.inventory.presence.sweep() == []
    clock.advance(1)
    assert await served.inventory.presence.sweep() == ["servers/s"]
    assert (await watch.next()).object.server.state == OFFLINE
    assert (await get(served, "s")).state == OFFLINE
    assert await served.inventory.presence.sweep() == []
    await served.host("s").ReportHost(report("s"))
    # The warning, which is open with the server, is news of it, too.
    while (state := (await watch.next()).object.server.state) == OFFLINE:
        pass
    assert state == ONLINE
    assert await event_types(served) == ["SERVER_ONLINE", "SERVER_OFFLINE", "OBJECT_CREATED", "OBJECT_CREATED"]
    asked = 'object = "servers/s" AND type:SERVER_'
    page = await served.reads.ListEvents(inventory_service_pb2.ListEventsRequest(filter=asked))
    assert [event.severity for event in page.events] == [event_pb2.SEVERITY_INFORMATIONAL, event_pb2.SEVERITY_WARNING]


async def test_wall_clock_takes_no_server_offline(served: Served, clock: FakeClock) -> None:
    """A clock that jumps an hour is no silence (R8)."""
    await execute(served, effect("1/1/1", create(server("s"))))
    await served.host("s").ReportHost(report("s"))
    clock.jump(3600)
    assert await served.inventory.presence.sweep() == []


async def test_discovered_server_is_online_until_it_is_silent(served: Served, clock: FakeClock) -> None:
    """A server that was made with facts has the whole time of silence before it."""
    await execute(served, effect("1/1/1", create(server("s", memory=GIB))))
    assert (await get(served, "s")).state == ONLINE
    clock.advance(40)
    assert await served.inventory.presence.sweep() == ["servers/s"]


async def test_removed_server_is_forgotten(served: Served, clock: FakeClock) -> None:
    """Reports on a removed server are not kept, and its silence is nobody's business."""
    asked = effect("2/1/1", delete("servers/s"), token=2)
    await execute(served, effect("1/1/1", create(server("s", memory=GIB))), asked)
    assert not (await served.host("s").ReportHost(report("s"))).known
    clock.advance(100)
    assert await served.inventory.presence.sweep() == []
    await execute(served, undo(asked))
    assert (await served.host("s").ReportHost(report("s"))).known


async def test_job_and_report_do_not_overwrite_each_other(served: Served) -> None:
    """An undo restores configuration; what was reported meanwhile stays."""
    await execute(served, effect("1/1/1", create(server("s", memory=GIB))))
    changed = server("s")
    changed.description = "new"
    asked = effect("2/1/1", update(changed, "description"), token=2)
    await execute(served, asked)
    await served.host("s").ReportHost(report("s", memory=9 * GIB, sequence=7))
    await execute(served, undo(asked))
    after = await get(served, "s")
    assert (after.description, after.observed.memory_bytes) == ("", 9 * GIB)
