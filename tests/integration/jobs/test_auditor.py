"""The auditor of a whole site: every contradiction that is planted in the databases is found, and nothing else is."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.integration.jobs.site import Site, furnish, machine, running
from tests.integration.jobs.test_person_locks import person
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.auditor import Auditor
from virtyard.jobs.broken import rollback_owner
from virtyard.kernel.invariants import Invariant
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import LockSet, LockWish
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.metrics import Metrics

IX, S, X = LockMode.IX, LockMode.S, LockMode.X
HIGH = 1_000_000
"""A token above all that the site gives."""


class Audit:
    """A site with an auditor whose clock and metrics are the test's."""

    def __init__(self, site: Site) -> None:
        """Audit this site."""
        self.site = site
        self.metrics = Metrics()
        self.clock = FakeClock()
        world = site.jobs.scheduler.world
        self.auditor = Auditor(
            locks=site._near["locks"],
            database=site.jobs.database,
            participants=world.participants,
            raise_events=site.jobs.auditor._raise_events,
            clock=self.clock,
            metrics=self.metrics,
        )

    async def look(self, *, after: float = 6.0) -> dict[str, float]:
        """Let time pass, look, and return the violations that were counted so far, by invariant."""
        self.clock.advance(after)
        await self.auditor.look()
        return {name: count for (name,), count in self.metrics.safety_violations.values.items() if count}

    def unchecked(self, part: str) -> float:
        """Return how much of a part the last look could not look at."""
        return self.metrics.audit_unchecked.values[part,]

    def execute(self, database: Path, sql: str, *rows: tuple[object, ...]) -> None:
        """Change a database behind the back of its service."""
        with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            connection.executemany(sql, rows or [()])
            if database == self.site.locks.database.path:
                connection.execute("UPDATE counter SET revision = revision + 1")
                self.site.locks.feed.pages.forget()  # what is shown to many is read anew when the service writes

    def plant_lock(self, owner: str, name: str, mode: LockMode, token: int) -> None:
        """Have somebody hold a lock."""
        path = self.site.locks.database.path
        put = "INSERT OR IGNORE INTO owner VALUES (?, 1, ?, 0, '', 0, 0, 0, NULL, '')"
        self.execute(path, put, (owner, token))
        self.execute(path, "INSERT INTO lock VALUES (?, ?, ?, ?, '')", (owner, name, mode, token))

    def lift_lock(self, owner: str) -> None:
        """Take away what was planted."""
        self.execute(self.site.locks.database.path, "DELETE FROM lock WHERE owner = ?", (owner,))

    async def events(self, name: str) -> list[event_pb2.Event]:
        """Return the critical events on an object."""
        return [each for each in await self.site.events(name) if each.severity == event_pb2.SEVERITY_CRITICAL]


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[Audit]:
    """Run a furnished site with an auditor that has looked once."""
    async with running(tmp_path, "s1", "s2") as site:
        await furnish(site)
        await site.wait_released()
        audit = Audit(site)
        assert await audit.look() == {}
        yield audit


async def test_a_planted_contradiction_is_counted_once_and_told(audit: Audit) -> None:
    """Each invariant in turn: nothing at first sight, a violation and an event at the second, nothing more later."""
    await audit.site.succeed(machine("web", disks=1))
    await audit.site.wait_released()
    ledgers = [audit.site.folder / "agents" / name / "ledger.db" for name in ("s1", "s2")]
    again = (
        "INSERT INTO ledger SELECT step_key, phase, 7, operation, payload_hash, effect, state, record, accepted, "
        "accept_time FROM ledger WHERE state = 3 AND step_key = (SELECT max(step_key) FROM ledger WHERE effect <> '' "
        "AND operation = (SELECT max(operation) FROM ledger))"
    )

    def repeat_an_effect() -> None:
        for ledger in ledgers:
            audit.execute(ledger, again)

    def share_an_object() -> None:
        audit.plant_lock("user/ann", "networks/n", S, HIGH + 1)
        audit.plant_lock("user/bob", "networks/n", IX, HIGH + 2)

    # First the effect: an operation that has ended is looked at only a few times.
    plants: list[tuple[Invariant, Callable[[], None], str]] = [
        (Invariant.EFFECT_ONCE, repeat_an_effect, ""),
        (Invariant.LOCK_EXCLUSION, share_an_object, "networks/n"),
        (Invariant.TOKEN_ORDER, lambda: audit.plant_lock("user/eve", "networks/old", X, HIGH), "networks/old"),
        (Invariant.TOKEN_ORDER, lambda: audit.plant_lock("user/eva", "networks/x", X, HIGH + 1), "networks/x"),
        (Invariant.ENDED_HOLDS_NOTHING, lambda: audit.plant_lock("operations/1", "names/a", X, HIGH + 3), "names/a"),
        (Invariant.ENDED_HOLDS_NOTHING, lambda: audit.plant_lock("operations/999", "names/b", X, HIGH + 4), "names/b"),
        # The locks of undos after a break have an owner of their own.
        (Invariant.ENDED_HOLDS_NOTHING, lambda: audit.plant_lock(rollback_owner(1), "names/c", X, HIGH + 5), "names/c"),
    ]
    expected: dict[str, float] = {}
    for invariant, plant, subject in plants:
        plant()
        assert await audit.look() == expected, f"{invariant} at first sight"
        expected[invariant.value] = expected.get(invariant.value, 0.0) + 1
        for _ in range(3):
            assert await audit.look() == expected, f"{invariant} at the second sight, and once only"
        if subject:
            [event] = await audit.events(subject)
            assert event.type == "SAFETY_VIOLATED"
            assert "token" in event.message
    assert await audit.look() == expected


async def test_a_step_that_two_hosts_did_is_found(audit: Audit) -> None:
    """The interleaving of P1: a delayed message acts on one host after another host has done the step."""
    site = audit.site
    rows = sqlite3.connect(site.folder / "agents" / "s1" / "ledger.db").execute("SELECT * FROM ledger").fetchall()
    site.jobs.auditor._watched.clear()
    audit.auditor._last = 0
    joined = next(row for row in reversed(rows) if row[6] == participant.EFFECT_STATE_DONE)
    put = f"INSERT OR IGNORE INTO ledger VALUES ({', '.join('?' * len(joined))})"
    audit.execute(site.folder / "agents" / "s2" / "ledger.db", put, joined)
    hosts = {f"servers/{name}" for name in ("s1", "s2")}
    assert await audit.look() == {}
    for watched in audit.auditor._watched.values():
        watched.hosts = frozenset(hosts)
    await audit.look()
    assert (await audit.look()) == {"effect_once": 1.0}


async def test_what_is_gone_at_the_second_look_was_nothing(audit: Audit) -> None:
    """A release on its way, a grant read between two commits: only what stays is a finding, and only after 5 s."""
    audit.plant_lock("operations/1", "names/a", X, HIGH)
    assert await audit.look() == {}
    audit.lift_lock("operations/1")
    assert await audit.look() == {}
    audit.plant_lock("operations/1", "names/a", X, HIGH + 1)
    assert await audit.look() == {}
    assert await audit.look(after=4.9) == {}, "twice, and not long enough apart"
    audit.lift_lock("operations/1")
    audit.plant_lock("operations/1", "names/a", X, HIGH + 2)
    assert await audit.look() == {}, "another token is another finding"
    assert await audit.look() == {"ended_holds_nothing": 1.0}


async def test_a_release_that_is_due_is_a_violation_once_it_is_overdue(audit: Audit) -> None:
    """The lock service may be slow to be told, for 5 s; one that was forgotten is another violation."""
    audit.plant_lock("operations/1", "names/a", X, HIGH)
    audit.plant_lock("operations/1", "names/b", X, HIGH + 1)
    audit.execute(audit.site.jobs.database.path, "INSERT INTO due VALUES ('release 1', 'release', x'')")
    assert await audit.look() == {}
    assert await audit.look(after=4.9) == {}, "it may still be on its way"
    overdue = {"release_overdue": 1.0}
    assert await audit.look(after=0.2) == overdue, "once for all the locks of its operation"
    assert await audit.look() == overdue
    told = [each.message for name in ("a", "b") for each in await audit.events(f"names/{name}")]
    assert ["is due" in message for message in told] == [True]
    audit.execute(audit.site.jobs.database.path, "DELETE FROM due")
    assert await audit.look() == overdue
    assert await audit.look() == overdue | {"ended_holds_nothing": 2.0}


async def test_a_release_that_is_due_excuses_its_owner_alone(audit: Audit) -> None:
    """Not the locks of the same operation's undos after a break, nor another one by the number of a part's locks."""
    audit.plant_lock(rollback_owner(1), "names/a", X, HIGH)
    audit.plant_lock("operations/2", "names/b", X, HIGH + 1)
    database = audit.site.jobs.database.path
    put = "INSERT INTO due VALUES (?, 'release', x'')"
    audit.execute(database, put, ("release 1",), ("release 7 down to 2",))
    assert await audit.look() == {}
    assert await audit.look() == {"ended_holds_nothing": 2.0}
    audit.execute(database, put, ("release 1#rollback",))
    audit.lift_lock("operations/2")
    await audit.look()
    assert await audit.look() == {"ended_holds_nothing": 2.0, "release_overdue": 1.0}


async def test_a_release_is_not_overdue_while_the_lock_service_is_away(audit: Audit) -> None:
    """The 5 s begin anew when it answers again, as it could not be told before."""
    audit.plant_lock("operations/1", "names/a", X, HIGH)
    audit.execute(audit.site.jobs.database.path, "INSERT INTO due VALUES ('release 1', 'release', x'')")
    read, answers = audit.auditor._read_locks, [True, False, True, True]

    async def read_or_not() -> object:
        return await read() if answers.pop(0) else None

    audit.auditor._read_locks = read_or_not  # type: ignore[assignment,method-assign]  # for this test
    assert [await audit.look() for _ in range(4)] == [{}, {}, {}, {"release_overdue": 1.0}]


async def test_who_does_not_answer_is_not_checked_and_not_fine(audit: Audit) -> None:
    """A host that is away is shown; what its ledger was found to say is neither counted nor forgotten meanwhile."""
    await audit.site.succeed(machine("web", disks=1))
    await audit.look()
    assert audit.unchecked("ledgers") == 0
    for name in ("s1", "s2"):
        await audit.site.close_agent(name)
    assert await audit.look() == {}
    assert audit.unchecked("ledgers") >= 1
    assert audit.unchecked("locks") == 0
    audit.auditor._first_seen[Invariant.EFFECT_ONCE, "kept"] = 0.0
    audit.auditor._first_seen[Invariant.LOCK_EXCLUSION, "gone"] = 0.0
    await audit.look()
    assert set(audit.auditor._first_seen) == {(Invariant.EFFECT_ONCE, "kept")}
    await audit.site.locks.service.__aexit__()
    assert await audit.look() == {}
    assert audit.unchecked("locks") == 1


async def test_locks_of_people_break_nothing(audit: Audit) -> None:
    """They have no token, on their object and on what that belongs to, whatever tokens were given before."""
    site = audit.site
    await site.succeed(machine("web", disks=1))
    await site.wait_released()
    async with AsyncExitStack() as stack:
        for name, target in (("ann", "virtualMachines/web"), ("bob", "repositories/R")):
            await (await person(site, stack, name)).take(target)
            for _ in range(3):
                assert await audit.look() == {}


async def test_a_busy_site_breaks_nothing(audit: Audit) -> None:
    """Machines are made side by side, one fails, and every look in between counts as far apart: no finding."""
    site = audit.site
    looks = 0

    async def fail(message: object, context: object) -> None:
        raise OSError("no space")

    async def look_on() -> None:
        nonlocal looks
        while True:
            # These looks are far apart by the test's clock alone, so a release on its way may seem to be overdue.
            assert (await audit.look()).keys() <= {"release_overdue"}
            looks += 1

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look_on())
        names = [(await site.submit(machine(f"m{number}", disks=1))).name for number in range(8)]
        for name in names[:6]:
            await site.wait(name)
        site.faults.before["CreateDiskFile"] = fail
        names.append((await site.submit(machine("broken"))).name)
        for name in names[6:]:
            await site.wait(name)
        await site.wait_released()
        looking.cancel()
    assert looks > 5
    assert (await audit.look()).keys() <= {"release_overdue"}


async def test_a_look_at_10000_locks_is_cheap(audit: Audit) -> None:
    """Ten thousand locks that are held cost about half a second of one core, every 30 s; no writer waits for it."""
    proxy = audit.site.jobs.scheduler.world.locks
    for first in range(0, 2000, 250):
        sets = [
            LockSet(
                owner=f"user/u{number}",
                epoch=1,
                locks=tuple(LockWish(object=f"names/{number}.{each}", mode=X) for each in range(5)),
            )
            for number in range(first, first + 250)
        ]
        await asyncio.gather(*(proxy.acquire(wanted, lambda place: None) for wanted in sets))
    audit.clock.advance(6.0)
    began, before = time.process_time(), len(audit.site.transitions)
    await audit.auditor.look()
    spent = time.process_time() - began
    assert len(audit.auditor._looks[-1]) == 10_000
    # What is settled is forgotten when it is; that is none of the look's doing.
    written = [name for name in audit.site.transitions[before:] if name.startswith("locks.") and name != "locks.floor"]
    assert written == []
    logging.getLogger(__name__).info("a look at 10,000 locks took %.3f s of one core", spent)
    assert spent < 5.0, "some 0.5 s on an idle core"


async def test_the_auditor_looks_by_itself(tmp_path: Path) -> None:
    """A scheduler that runs is audited, without anybody asking."""
    async with running(tmp_path) as site:

        async def looked() -> bool:
            return bool(site.jobs.auditor._metrics.audit_duration.values)

        await site.wait_until(looked)
        assert isinstance(site.jobs.auditor._clock, SystemClock)


async def test_a_step_that_the_inventory_did_twice_is_found(audit: Audit) -> None:
    """Its ledger is beside its objects, and is audited as those of hosts are."""
    await audit.site.succeed(machine("web", disks=0))
    assert await audit.look() == {}
    assert audit.unchecked("ledgers") == 0
    again = (
        "INSERT INTO ledger (operation, step_key, phase, attempt, payload_hash, state, record, prior)"
        " SELECT operation, step_key, phase, 7, payload_hash, state, record, prior FROM ledger"
        " WHERE sequence = (SELECT max(sequence) FROM ledger WHERE state = 3)"
    )
    audit.execute(audit.site.inventory.database.path, again)
    assert await audit.look() == {}, "at first sight"
    assert await audit.look() == {"effect_once": 1.0}
