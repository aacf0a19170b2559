"""Runs that have ended by an agent's word: applied once to the record that they belong to, and to no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.inventory.samples import GIB, create, delete, effect, pool, server, update
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_guests import Locks
from tests.contract.inventory.test_hosts import get
from tests.contract.inventory.test_life import done, events, in_state
from tests.contract.inventory.test_reads import execute
from tests.fakes.clock import FakeClock
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.inventory.guests import GuestReports
from virtyard.inventory.restarts import MOST_RESTARTS
from virtyard.inventory.sqlite_store import SqliteStore

CRASHED = agent_service_pb2.GUEST_END_CRASHED
BY_GUEST = agent_service_pb2.GUEST_END_BY_GUEST
BY_ACTION = agent_service_pb2.GUEST_END_BY_ACTION
UNKNOWN = agent_service_pb2.GUEST_END_UNKNOWN
STOPPED = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
NAME = "virtualMachines/m"
POLICIES = {
    "NEVER": virtual_machine_pb2.RESTART_POLICY_NEVER,
    "ON_CRASH": virtual_machine_pb2.RESTART_POLICY_ON_CRASH,
    "ALWAYS": virtual_machine_pb2.RESTART_POLICY_ALWAYS,
    "": virtual_machine_pb2.RESTART_POLICY_UNSPECIFIED,
}


def running(run: str, policy: str = "") -> Any:
    """Return machine m as it runs on server s."""
    made = in_state("m", "RUNNING", "servers/s")
    made.placement.run, made.placement.serial_log_path = run, "/log"
    made.restart_policy = POLICIES[policy]
    return made


def guest(
    run: str, end: agent_service_pb2.GuestEnd.ValueType | None = CRASHED, reason: str = "it burnt"
) -> agent_service_pb2.Guest:
    """Return the guest of machine m as its agent reports it; one without an end runs."""
    if end is None:
        return agent_service_pb2.Guest(uid="uid-m", running=True, run=run)
    return agent_service_pb2.Guest(uid="uid-m", run=run, end=end, end_reason=reason)


@pytest.fixture
def locks() -> Locks:
    """Return locks that are known, and held by nobody."""
    return Locks()


@pytest.fixture
async def reports(store: SqliteStore, locks: Locks) -> GuestReports:
    """Return the comparison over a store in which machine m runs on server s."""
    made = GuestReports(store, locks.of)
    store.on_effects(made.notice)
    await done(store, effect("1/1/1", create(server("s", memory=8 * GIB)), create(running("r1"))))
    return made


async def report(reports: GuestReports, *guests: agent_service_pb2.Guest) -> bool:
    """Report the guests of server s."""
    return await reports.report("servers/s", list(guests))


async def types(store: SqliteStore) -> list[str]:
    """Return the types of the events about the machine that no effect told."""
    return [event.type for event in await events(store, f'object = "{NAME}"') if not event.operation]


async def start_again(store: SqliteStore, number: int, policy: str = "") -> str:
    """Record that an operation has started the machine, and return its run."""
    run = f"r{number}"
    started = update(running(run, policy), "state", "server", "placement")
    await done(store, effect(f"{number}/1/1", started, token=number))
    return run


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (CRASHED, "MACHINE_CRASHED"),
        (BY_GUEST, "MACHINE_STOPPED_BY_GUEST"),
        (UNKNOWN, "MACHINE_STOPPED_UNEXPECTEDLY"),
    ],
)
async def test_a_run_that_ended_is_recorded_at_once(
    store: SqliteStore, reports: GuestReports, end: agent_service_pb2.GuestEnd.ValueType, told: str
) -> None:
    """The machine is stopped and placed nowhere; generation stays, etag moves, memory is free, the event says why."""
    before = await store.get(NAME)
    assert not await report(reports, guest("r1", end))
    after = await store.get(NAME)
    assert (after.state, after.server, after.HasField("placement")) == (STOPPED, "", False)
    assert after.generation == before.generation
    assert after.etag != before.etag
    assert (await store.get("servers/s")).reserved_memory_bytes == 0
    (event,) = [event for event in await events(store, f'object = "{NAME}"') if not event.operation]
    assert event.type == told
    assert event.message == f"{NAME} does not run on servers/s any more: it burnt; its console's log is /log there"


async def test_a_run_is_told_once_however_often_it_is_reported(store: SqliteStore, locks: Locks) -> None:
    """By the same service and by one that has just started: an agent reports a guest that ended for ever."""
    await done(store, effect("1/1/1", create(server("s")), create(running("r1"))))
    for _ in range(2):
        reports = GuestReports(store, locks.of)
        for _ in range(2):
            await report(reports, guest("r1"))
    assert await types(store) == ["MACHINE_CRASHED"]


async def test_the_end_of_an_earlier_run_changes_nothing(store: SqliteStore, reports: GuestReports) -> None:
    """A report from before a start, that arrives after its record, is of another run (P27)."""
    await report(reports, guest("r1"))
    run = await start_again(store, 2)
    await report(reports, guest("r1"))
    await report(reports, guest(run, None))
    assert (await store.get(NAME)).state == RUNNING
    assert await types(store) == ["MACHINE_CRASHED"]
    await report(reports, guest(run))
    assert await types(store) == ["MACHINE_CRASHED", "MACHINE_CRASHED"]


async def test_what_an_operation_does_is_no_crash(store: SqliteStore, reports: GuestReports, locks: Locks) -> None:
    """While an operation works on the machine nothing is recorded, and the next report is wanted soon."""
    locks.operation = "operations/2"
    assert await report(reports, guest("r1"))
    assert (await store.get(NAME)).state == RUNNING
    await done(store, effect("2/1/1", update(in_state("m", "STOPPED"), "state", "server", "placement"), token=2))
    locks.operation = ""
    await report(reports, guest("r1"))
    assert await types(store) == []


async def test_what_an_operation_leaves_ended_is_recorded_after_it(
    store: SqliteStore, reports: GuestReports, locks: Locks
) -> None:
    """A guest that died while an operation worked on its machine, and is left so, has crashed."""
    locks.operation = "operations/2"
    assert await report(reports, guest("r1"))
    locks.operation = ""
    assert not await report(reports, guest("r1"))
    assert await types(store) == ["MACHINE_CRASHED"]


async def test_a_guest_that_its_agent_is_ending_is_no_news(store: SqliteStore, reports: GuestReports) -> None:
    """Though no lock is known: the agent says itself that an action is about it."""
    assert await report(reports, guest("r1", BY_ACTION))
    assert await report(reports, guest("r1", BY_ACTION))
    assert (await store.get(NAME)).state == RUNNING
    assert await types(store) == []


async def test_a_record_without_a_run_is_never_changed(store: SqliteStore, reports: GuestReports) -> None:
    """A machine that an earlier release started may be another run: an event after two looks, as for unknown guests."""
    await done(store, effect("2/1/1", update(running(""), "placement"), token=2))
    assert await report(reports, guest("r1"))
    await report(reports, guest("r1"))
    assert await types(store) == ["MACHINE_STOPPED_UNEXPECTEDLY"]
    assert (await store.get(NAME)).state == RUNNING


async def test_a_machine_that_starts_is_looked_at_again_soon(store: SqliteStore, reports: GuestReports) -> None:
    """A guest that dies before its start is recorded is found by the report after that."""
    await report(reports, guest("r1"))
    starting = in_state("m", "STARTING", "servers/s")
    await done(store, effect("2/1/1", update(starting, "state", "server"), token=2))
    assert await report(reports, guest("r2"))
    await done(store, effect("2/1/2", update(running("r2"), "state", "placement"), token=2))
    assert not await report(reports, guest("r2"))
    assert await types(store) == ["MACHINE_CRASHED", "MACHINE_CRASHED"]


async def test_the_next_write_of_a_job_has_an_etag_of_its_own(store: SqliteStore, reports: GuestReports) -> None:
    """The etag that a report left is gone with the next write, or it would hide every later change."""
    await report(reports, guest("r1"))
    etags = [(await store.get(NAME)).etag]
    for number in (2, 3):
        wanted = in_state("m", "STOPPED")
        wanted.description = f"changed {number}"
        await done(store, effect(f"{number}/1/1", update(wanted, "description"), token=number))
        etags.append((await store.get(NAME)).etag)
    assert len(set(etags)) == 3


@pytest.mark.parametrize(
    ("policy", "end", "due"),
    [
        ("", CRASHED, False),
        ("NEVER", CRASHED, False),
        ("ON_CRASH", CRASHED, True),
        ("ON_CRASH", BY_GUEST, False),
        ("ON_CRASH", UNKNOWN, False),
        ("ALWAYS", CRASHED, True),
        ("ALWAYS", BY_GUEST, True),
        ("ALWAYS", UNKNOWN, True),
    ],
)
async def test_a_restart_is_due_by_policy(
    store: SqliteStore,
    reports: GuestReports,
    policy: str,
    end: agent_service_pb2.GuestEnd.ValueType,
    due: bool,
) -> None:
    """What nobody knows is no crash, so only ALWAYS covers it."""
    await done(store, effect("2/1/1", update(running("r2", policy), "placement", "restart_policy"), token=2))
    await report(reports, guest("r2", end))
    assert ("MACHINE_RESTART_DUE" in await types(store)) == due


async def test_a_machine_that_crashes_again_and_again_is_left_alone(
    store: SqliteStore, reports: GuestReports, clock: FakeClock
) -> None:
    """The first restart is due at once, each further one after twice the pause, and the sixth within an hour never."""
    await done(store, effect("2/1/1", update(running("r2", "ON_CRASH"), "placement", "restart_policy"), token=2))
    pauses, number = [], 2
    for _ in range(MOST_RESTARTS):
        await report(reports, guest(f"r{number}"))
        waited = 0
        while (await types(store))[-1] != "MACHINE_RESTART_DUE":
            clock.advance(1)
            waited += 1
            await store.raise_due_restarts()
        pauses.append(waited)
        number += 1
        await start_again(store, number, "ON_CRASH")
    assert pauses == [0, 10, 20, 40, 80]
    await report(reports, guest(f"r{number}"))
    clock.advance(600)
    assert await store.raise_due_restarts() is None
    assert (await types(store))[-2:] == ["MACHINE_CRASHED", "MACHINE_RESTART_GIVEN_UP"]
    clock.advance(3600)
    await start_again(store, number + 1, "ON_CRASH")
    await report(reports, guest(f"r{number + 1}"))
    assert (await types(store))[-1] == "MACHINE_RESTART_DUE", "an hour later it is tried again"


@pytest.mark.parametrize("meanwhile", ["started", "policy", "deleted", "labelled"])
async def test_a_restart_that_waits_is_held_against_the_machine_as_it_is_then(
    store: SqliteStore, reports: GuestReports, clock: FakeClock, meanwhile: str
) -> None:
    """Started, given another policy or removed during the pause it is not started; any other change is no matter."""
    await done(store, effect("2/1/1", update(running("r2", "ON_CRASH"), "placement", "restart_policy"), token=2))
    await report(reports, guest("r2"))
    await start_again(store, 3, "ON_CRASH")
    await report(reports, guest("r3"))
    assert await types(store) == ["MACHINE_CRASHED", "MACHINE_RESTART_DUE", "MACHINE_CRASHED"]
    stopped = in_state("m", "STOPPED")
    if meanwhile == "started":
        await start_again(store, 4, "ON_CRASH")
        await done(store, effect("5/1/1", update(stopped, "state", "server", "placement"), token=5))
    elif meanwhile == "policy":
        stopped.restart_policy = POLICIES["NEVER"]
        await done(store, effect("4/1/1", update(stopped, "restart_policy"), token=4))
    elif meanwhile == "deleted":
        await done(store, effect("4/1/1", delete(NAME), token=4))
    else:
        stopped.description = "looked at"
        await done(store, effect("4/1/1", update(stopped, "description"), token=4))
    clock.advance(30)
    await store.raise_due_restarts()
    assert ((await types(store))[-1] == "MACHINE_RESTART_DUE") == (meanwhile == "labelled")


async def test_a_look_that_comes_late_says_nothing(served: Served) -> None:
    """Of two looks with the same position of the ledger the later one counts, in whatever order they arrive."""
    await execute(served, effect("1/1/1", create(pool("p")), create(server("s"))))

    async def look(number: int, memory: int, start: int = 1) -> None:
        host = agent_service_pb2.Host(server="servers/s", memory_bytes=memory, agent_start=start, look=number)
        await served.host("s").ReportHost(host_service_pb2.ReportHostRequest(host=host))

    async def memory() -> int:
        found: server_pb2.Server = await get(served, "s")
        return found.observed.memory_bytes

    await look(1, 1 * GIB)
    await look(3, 1 * GIB)
    await look(2, 2 * GIB)
    assert await memory() == 1 * GIB, "though the look before it said nothing new and was not stored"
    await look(1, 3 * GIB, start=2)
    assert await memory() == 3 * GIB, "an agent that has started again counts its looks anew"
    await look(4, 1 * GIB, start=1)
    assert await memory() == 3 * GIB
