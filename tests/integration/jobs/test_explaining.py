"""ExplainWait on real services: the chain of those in the way, every other cause, and what can be done about each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_control import Gate, get, hold, queue_up, refusal
from tests.integration.jobs.test_failure import Tries
from tests.integration.jobs.test_stuck import DISK_JOB, Refusal, is_stuck
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.api.type.v1 import lock_pb2
from virtyard.jobs import rollback
from virtyard.jobs.explaining import Explainer, Person

HOLDER, BARRIER = pb.WAIT_EDGE_KIND_HOLDER, pb.WAIT_EDGE_KIND_BARRIER


async def explain(site: Site, operation: str, job: int = 1) -> pb.WaitExplanation:
    """Ask why a job does not go on."""
    request = pb.ExplainWaitRequest(name=f"jobs/{operation.partition('/')[2]}-{job}")
    told: pb.WaitExplanation = await site.service.ExplainWait(request)
    return told


def commands(told: pb.WaitExplanation) -> list[str]:
    """Return the command lines that are offered."""
    return [remedy.command.removeprefix("virtyard job ") for remedy in told.remedies if remedy.command]


def number(name: str) -> str:
    """Return the number of an operation."""
    return name.partition("/")[2]


async def test_a_wait_for_locks_is_told_with_the_whole_chain(site: Site) -> None:
    """Holder and barrier, object, modes, who asked, how far, since when; the nearest first; and what helps."""
    gate, holder, (first, second, _) = await queue_up(site)
    told = await explain(site, second)
    assert (told.cause, told.queue_place) == (pb.WAIT_CAUSE_LOCKS, 2)
    assert told.summary == f"it waits for virtualMachines/web, which {holder} has, and for 1 more"
    edges = [(edge.waiter, edge.blocker, edge.kind, edge.object) for edge in told.edges]
    assert edges == [
        (second, holder, HOLDER, "virtualMachines/web"),
        (second, first, BARRIER, "virtualMachines/web"),
        (first, holder, HOLDER, "virtualMachines/web"),
    ]
    assert {(edge.wanted_mode, edge.mode) for edge in told.edges} == {(lock_pb2.LOCK_MODE_X, lock_pb2.LOCK_MODE_X)}
    assert [party.owner for party in told.parties] == [holder, first]
    party = told.parties[0]
    assert (party.title, party.principal) == ("Start Virtual Machine", "user/admin")
    assert party.state == job_pb2.JOB_STATE_RUNNING
    assert 0 < party.percent < 100
    assert abs((party.since_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()) < LIMIT
    assert commands(told) == [
        f"set-priority {number(second)}-1 --priority 20",
        f"abort {number(holder)}-1 --operation",
        f"abort {number(first)}-1 --operation",
        f"abort {number(second)}-1 --operation",
    ]
    assert f"abort jobs/{number(holder)}-1 (Start Virtual Machine), {party.percent:.0f} % done" in [
        remedy.text.partition(", about")[0] for remedy in told.remedies
    ]
    await hold(site, first)
    told = await explain(site, second)
    assert f"release {number(first)}-1" in commands(told)
    assert told.parties[1].held_by == "user/admin"
    own = await explain(site, first)
    assert own.cause == pb.WAIT_CAUSE_HELD
    assert own.summary == f"{first} is set aside: user/admin set it aside"
    gate.open.set()


async def test_how_long_it_takes_yet_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the service: how far the one in the way is, and what is left at the pace that it has had."""
    gate, holder, (first, *_) = await queue_up(site)
    (party,) = (await explain(site, first)).parties
    begun = (await get(site, holder)).start_time.ToDatetime(UTC)
    spent = timedelta(minutes=7) * party.percent / (100 - party.percent)
    with monkeypatch.context() as frozen:
        frozen.setattr(type(site.jobs.scheduler.world.clock), "now", lambda _: begun + spent)
        told = await explain(site, first)
    left = f"{party.percent:.0f} % done, about 7 minutes left"
    assert [remedy.text for remedy in told.remedies if f"jobs/{number(holder)}-" in remedy.text] == [
        f"wait: jobs/{number(holder)}-1 (Start Virtual Machine) is {left}",
        f"abort jobs/{number(holder)}-1 (Start Virtual Machine), {left}",
    ]
    gate.open.set()


async def test_a_persons_lock_in_the_way_is_told_with_its_purpose_and_end(site: Site) -> None:
    """Whoever knows of people's locks adds who holds it, what for, until when, and what runs under it."""
    gate, holder, (first, *_) = await queue_up(site)
    # Another owner than an operation, as the lock service knows it.
    end = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1)
    person = Person(principal="user/ann", purpose="backup", end=end, operations=(holder,))
    explainer = Explainer(site.jobs.scheduler, lambda owner: person if owner == holder else None)
    site.jobs.scheduler._runners.pop(int(number(holder)))
    told = await explainer.explain(int(number(first)), 1)
    (party,) = told.parties
    assert (party.principal, party.reason, party.job) == ("user/ann", "backup", "")
    assert (holder, holder, pb.WAIT_EDGE_KIND_UNDER) in [(each.waiter, each.blocker, each.kind) for each in told.edges]
    assert any(
        remedy.text.startswith("release the lock that user/ann holds for 'backup', which ends by itself in 365 days")
        for remedy in told.remedies
    )
    gate.open.set()


async def test_every_other_cause_is_told_with_what_helps(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """At work, before others, a silent host, held, going back, stuck, ended, and one that is not there."""
    monkeypatch.setattr(rollback, "_PAUSE", 0.001)
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(machine("web"))).name
    async with asyncio.timeout(LIMIT):
        await gate.begun.wait()
    at_work = await explain(site, name, DISK_JOB)
    assert (at_work.cause, commands(at_work)) == (
        pb.WAIT_CAUSE_RUNNING,
        [f"abort {number(name)}-{DISK_JOB} --operation"],
    )
    behind = await explain(site, name, 5)
    assert behind.cause == pb.WAIT_CAUSE_PREDECESSOR
    assert behind.summary.endswith("of the same operation comes first")
    assert [party.job for party in behind.parties] == [f"jobs/{number(name)}-{DISK_JOB}"]
    second, chain = f"jobs/{number(name)}-4", [(edge.waiter, edge.blocker, edge.kind) for edge in behind.edges]
    assert (f"jobs/{number(name)}-5", second, pb.WAIT_EDGE_KIND_PREDECESSOR) in chain
    assert (second, f"jobs/{number(name)}-{DISK_JOB}", pb.WAIT_EDGE_KIND_PREDECESSOR) in chain
    done = await explain(site, name, 1)
    assert (done.cause, list(done.remedies)) == (pb.WAIT_CAUSE_NONE, [])

    server = (await get(site, name, DISK_JOB)).steps[0].participant
    site.jobs.scheduler.notice_contact(frozenset({server}))
    silent = await explain(site, name, DISK_JOB)
    assert silent.cause == pb.WAIT_CAUSE_CONTACT_LOST
    assert silent.summary == f"{server} does not answer, and nothing is guessed"
    (edge,) = [edge for edge in silent.edges if edge.kind == pb.WAIT_EDGE_KIND_HOST]
    assert edge.blocker == server
    assert f"virtyard server describe {server.partition('/')[2]}" in [each.command for each in silent.remedies]
    site.jobs.scheduler.notice_contact(frozenset())

    site.faults.before["CreateDiskFile"] = Tries(1)
    site.faults.before["undo RemoveDiskFile"] = Refusal()
    gate.open.set()
    await site.wait_until(lambda: is_stuck(site, name))
    stuck = await explain(site, name, 1)
    assert stuck.cause == pb.WAIT_CAUSE_STUCK_UNDO
    own = await explain(site, name, DISK_JOB)
    assert commands(own) == [f"retry {number(name)}-{DISK_JOB}", f"accept {number(name)}-{DISK_JOB}"]
    assert "Make the disk's image: the storage is away" in own.remedies[0].text
    assert (await refusal(explain(site, name, 99))).reason == "NOT_FOUND"
    assert (await refusal(site.service.ExplainWait(pb.ExplainWaitRequest(name="web")))).reason == "INVALID_REQUEST"
