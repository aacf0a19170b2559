"""What agents report of guests against what jobs recorded: an event once it is certain, never a change of a record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.inventory.samples import create, delete, effect, server, update
from tests.contract.inventory.test_life import done, in_state, story
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.guests import GuestReports
from virtyard.inventory.sqlite_store import SqliteStore

STOPPED = (
    "MACHINE_STOPPED_UNEXPECTEDLY: virtualMachines/m does not run on servers/s any more, and no operation stopped it"
)
LOST = "type = MACHINE_STOPPED_UNEXPECTEDLY"


class Locks:
    """Who works on machines, as the tests say."""

    def __init__(self) -> None:
        self.known = True
        self.operation = ""

    def of(self, _: str) -> activity_pb2.Activity | None:
        """Return what is known."""
        return activity_pb2.Activity(current_operations=list(filter(None, [self.operation]))) if self.known else None


@pytest.fixture
def locks() -> Locks:
    """Return locks that are known, and held by nobody."""
    return Locks()


@pytest.fixture
async def reports(store: SqliteStore, locks: Locks) -> GuestReports:
    """Return the comparison, over a store in which machines m and n run on server s."""
    made = GuestReports(store, locks.of)
    store.on_effects(made.notice)
    running = (in_state("m", "RUNNING", "servers/s"), in_state("n", "RUNNING", "servers/s"))
    await done(store, effect("1/1/1", create(server("s")), *map(create, running)))
    return made


async def report(reports: GuestReports, *names: str) -> None:
    """Report the guests that run on server s."""
    await reports.report("servers/s", [agent_service_pb2.Guest(uid=f"uid-{name}", running=True) for name in names])


async def test_a_guest_that_is_gone_twice_is_told_once(store: SqliteStore, reports: GuestReports) -> None:
    """The first report makes a suspect, the second an event on that machine alone; the record stays as it is."""
    await report(reports, "m", "n")
    await report(reports, "n")
    assert await story(store, LOST) == []
    before = await store.get("virtualMachines/m")
    await report(reports, "n")
    assert await story(store, LOST) == [STOPPED]
    for _ in range(3):
        await report(reports, "n")
    assert await story(store, LOST) == [STOPPED]
    assert await store.get("virtualMachines/m") == before


async def test_a_guest_that_never_was_reported_is_missed(store: SqliteStore, reports: GuestReports) -> None:
    """A machine whose guest ended before the first report after its start is told as well."""
    await report(reports, "n")
    await report(reports, "n")
    assert await story(store, LOST) == [STOPPED]


async def test_a_guest_that_comes_back_in_between_is_no_news(store: SqliteStore, reports: GuestReports) -> None:
    """One report without it may have been made in a bad moment."""
    for names in (("m", "n"), ("n",), ("m", "n"), ("n",), ("m", "n")):
        await report(reports, *names)
    assert await story(store, LOST) == []


async def test_what_an_operation_does_is_no_contradiction(
    store: SqliteStore, reports: GuestReports, locks: Locks
) -> None:
    """While an operation works on the machine nothing is concluded; what it leaves behind is looked at afterwards."""
    await report(reports, "m", "n")
    locks.operation = "operations/2"
    for _ in range(3):
        await report(reports, "n")
    assert await story(store, LOST) == []
    locks.operation = ""
    await report(reports, "n")
    await report(reports, "n")
    assert await story(store, LOST) == [STOPPED]


async def test_a_stop_between_two_reports_is_no_contradiction(store: SqliteStore, reports: GuestReports) -> None:
    """A report from before the record of a stop makes no event after it (P27)."""
    await report(reports, "m", "n")
    await report(reports, "n")
    await done(store, effect("2/1/1", update(in_state("m", "STOPPED"), "state", "server"), token=2))
    await report(reports, "n")
    await report(reports, "n")
    assert await story(store, LOST) == []


async def test_a_start_after_an_old_report_is_no_contradiction(store: SqliteStore, reports: GuestReports) -> None:
    """A look from before a start, reported after its record, counts once and not twice."""
    stopped: Any = in_state("m", "STOPPED")
    await done(store, effect("2/1/1", update(stopped, "state", "server"), token=2))
    await report(reports, "n")
    await done(store, effect("3/1/1", update(in_state("m", "RUNNING", "servers/s"), "state", "server"), token=3))
    await report(reports, "n")
    await report(reports, "m", "n")
    assert await story(store, LOST) == []


async def test_a_record_that_changes_before_the_commit_is_no_contradiction(
    store: SqliteStore, reports: GuestReports
) -> None:
    """What was read is looked at again in the transaction of the event: another start in between is another case."""
    await report(reports, "m", "n")
    (lacking,) = [guest for guest in await store.recorded_guests("servers/s") if guest.uid == "uid-m"]
    await done(store, effect("2/1/1", update(in_state("m", "STOPPED"), "state", "server"), token=2))
    await store.tell_stopped("servers/s", {lacking})
    await done(store, effect("3/1/1", update(in_state("m", "RUNNING", "servers/s"), "state", "server"), token=3))
    await store.tell_stopped("servers/s", {lacking})
    assert await story(store, LOST) == []


async def test_each_start_can_be_lost_again(store: SqliteStore, reports: GuestReports) -> None:
    """After another start the machine is a new case."""
    await report(reports, "n")
    await report(reports, "n")
    await done(store, effect("2/1/1", update(in_state("m", "STOPPED"), "state", "server"), token=2))
    await done(store, effect("3/1/1", update(in_state("m", "RUNNING", "servers/s"), "state", "server"), token=3))
    await report(reports, "m", "n")
    await report(reports, "n")
    await report(reports, "n")
    assert await story(store, LOST) == [STOPPED, STOPPED]


async def test_nothing_is_concluded_while_locks_are_not_known(
    store: SqliteStore, reports: GuestReports, locks: Locks
) -> None:
    """Without the lock service's stream nobody can tell a crash from a stop that is under way."""
    locks.known = False
    for _ in range(3):
        await report(reports, "n")
    assert await story(store, LOST) == []
    locks.known = True
    await report(reports, "n")
    await report(reports, "n")
    assert await story(store, LOST) == [STOPPED]


async def test_a_report_that_says_nothing_new_reads_nothing(
    store: SqliteStore, reports: GuestReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site at rest pays for its reports with no query."""
    await report(reports, "m", "n")

    async def refuse(_: str) -> Any:
        raise AssertionError("the records were read")

    monkeypatch.setattr(store, "recorded_guests", refuse)
    await report(reports, "n", "m")
    with pytest.raises(AssertionError, match="were read"):
        await report(reports, "n")


async def test_an_ended_guest_is_spent_once_its_machine_is_elsewhere_or_gone(
    store: SqliteStore, reports: GuestReports
) -> None:
    """While its machine is stopped it is kept; what runs, and what an action is just ending, is never spent."""
    ended = agent_service_pb2.Guest(uid="uid-m", run="run-1")
    other = agent_service_pb2.Guest(uid="uid-n", run="run-2", running=True)
    ending = agent_service_pb2.Guest(uid="uid-x", run="run-3", end=agent_service_pb2.GUEST_END_BY_ACTION)

    async def spent() -> dict[str, str]:
        await reports.report("servers/s", [ended, other, ending])
        return dict(reports.spent("servers/s"))

    await done(store, effect("2/1/1", update(in_state("m", "STOPPED"), "state", "server"), token=2))
    assert await spent() == {}
    await done(store, effect("3/1/1", create(server("t")), token=3))
    await done(store, effect("4/1/1", update(in_state("m", "RUNNING", "servers/t"), "state", "server"), token=4))
    assert await spent() == {"uid-m": "run-1"}
    await done(store, effect("5/1/1", update(in_state("m", "STOPPED"), "state", "server"), token=5))
    assert await spent() == {}
    await done(store, effect("6/1/1", delete("virtualMachines/m"), token=6))
    assert await spent() == {"uid-m": "run-1"}
    await reports.report("servers/s", [other])
    assert reports.spent("servers/s") == {}
