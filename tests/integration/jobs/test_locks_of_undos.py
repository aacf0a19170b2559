"""An operation whose locks were broken owns those of its undos by another name: in its queue, its rank, its residue."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.jobs.site import Site, machine
from tests.integration.jobs.test_explaining import BARRIER, HOLDER, commands, explain, number
from tests.integration.jobs.test_failure import Gate
from tests.integration.jobs.test_lock_break import DISK, WEB, accept, begin, break_lock, is_stuck
from tests.integration.jobs.test_restored_locks import give_back, is_queued, locks_of, take
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_control_pb2, job_pb2, wait_explanation_pb2
from virtyard.api.operations.v1 import edit_virtual_machine_pb2
from virtyard.jobs import rollback
from virtyard.kernel.errors import Unavailable, WrongState

FINANCE = "serverPools/Finance"


def edit() -> edit_virtual_machine_pb2.EditVirtualMachineRequest:
    """Return a request that changes the machine."""
    changed = virtual_machine_pb2.VirtualMachine(name=WEB, cpus=2)
    return edit_virtual_machine_pb2.EditVirtualMachineRequest(virtual_machine=changed)


async def queue_undo(site: Site) -> tuple[str, str, str]:
    """Break an operation that somebody waits for; return it, the person's lock before it, and what waits between."""
    name, _ = await begin(site, machine("web", disks=1))
    lock = await take(site)
    between = (await site.submit(edit())).name
    await site.wait_until(lambda: is_queued(site, between))
    await break_lock(site, name)
    await site.wait_until(lambda: is_queued(site, f"{name}#rollback"))
    return name, lock, between


def lose_answer(locks: Any) -> None:
    """Let the first answer about a priority be lost, as when the lock service is just started again."""
    set_priority = locks.set_priority

    async def answer_lost(wanted: Any) -> None:
        locks.set_priority = set_priority
        await set_priority(wanted)
        raise Unavailable("the answer is lost", retry_after=0.1)

    locks.set_priority = answer_lost


async def test_what_a_refused_undo_does_not_need_is_free_after_a_break_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock service keeps what the record keeps: the residue and what it needs (P20)."""
    monkeypatch.setattr(rollback, "_PAUSE", 0.001)
    gate, made, undone = Gate(), 0, 0

    async def third_hangs(message: Any, context: Any) -> None:
        nonlocal made
        made += 1
        if made == 3:
            await gate(message, context)

    async def refuse_second(_message: Any, _context: Any) -> None:
        nonlocal undone
        undone += 1
        if undone > 1:
            raise WrongState("the disk is in use")

    site.faults.before["CreateDiskFile"] = third_hangs
    site.faults.before["undo RemoveDiskFile"] = refuse_second
    name = (await site.submit(machine("web", disks=3))).name
    await gate.reached.wait()
    await break_lock(site, name)
    await site.wait_until(lambda: is_stuck(site, name))
    operation = await site.jobs.scheduler.look(int(number(name)))
    kept = {token.object for token in operation.record.tokens}
    assert kept == {DISK, WEB, "repositories/R", FINANCE}

    async def shrunk() -> bool:
        return (await locks_of(site, f"{name}#rollback")).keys() == kept

    await site.wait_until(shrunk)
    await accept(site, name)
    assert (await site.wait(name)).HasField("error")
    await site.wait_released()


async def test_a_wait_for_the_locks_of_undos_is_told_with_who_is_in_the_way(site: Site) -> None:
    """Its jobs that are to be undone wait for locks, as for any; those that have ended wait for nothing."""
    name, lock, between = await queue_undo(site)
    states = {int(job.name.rpartition("-")[2]): job.state for job in await site.jobs_of(name)}
    assert set(states.values()) == {job_pb2.JOB_STATE_ROLLING_BACK, job_pb2.JOB_STATE_ABORTED}
    for job, state in states.items():
        told = await explain(site, name, job)
        if state == job_pb2.JOB_STATE_ABORTED:
            assert (told.cause, told.summary, commands(told)) == (
                wait_explanation_pb2.WAIT_CAUSE_NONE,
                "it waits for nothing",
                [],
            )
            continue
        assert (told.cause, told.queue_place) == (wait_explanation_pb2.WAIT_CAUSE_LOCKS, 2)
        assert told.summary == f"it waits for {FINANCE}, which {lock} has, and for 1 more"
        assert [party.owner for party in told.parties] == [lock, between]
        assert (name, lock, HOLDER) in {(edge.waiter, edge.blocker, edge.kind) for edge in told.edges}
        assert (name, between, BARRIER) in {(edge.waiter, edge.blocker, edge.kind) for edge in told.edges}
        offered = commands(told)
        assert f"virtyard lock release {lock.partition('/')[2]}" in offered
        assert f"set-priority {number(name)}-{job} --priority 20" in offered
        assert not any(each.startswith(f"abort {number(name)}-") for each in offered)
    last = (await site.submit(edit())).name
    await site.wait_until(lambda: is_queued(site, last))
    behind = await explain(site, last)
    assert (last, name, BARRIER) in {(edge.waiter, edge.blocker, edge.kind) for edge in behind.edges}
    (party,) = [party for party in behind.parties if party.owner == name]
    assert party.state == job_pb2.JOB_STATE_ROLLING_BACK
    await give_back(site, lock)
    assert not (await site.wait(between)).HasField("error")
    await site.wait_until(lambda: is_stuck(site, name))
    await accept(site, name)
    assert not (await site.wait(last)).HasField("error")


@pytest.mark.parametrize("lost", [False, True])
async def test_a_priority_moves_the_undo_of_a_broken_operation_in_the_queue(
    site: Site, lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes before what came first, and so is undone before that changes what it made; a lost answer is no defect."""
    name, lock, between = await queue_undo(site)
    if lost:
        lose_answer(site.jobs.scheduler.world.locks)
    job = (await site.jobs_of(name))[0].name
    await site.service.SetJobPriority(job_control_pb2.SetJobPriorityRequest(name=job, priority=20))

    async def ranked() -> bool:
        story = await site.jobs.scheduler.world.locks.explain(f"{name}#rollback")
        return story.owners[0].priority == 20

    await site.wait_until(ranked)
    await give_back(site, lock)
    assert (await site.wait(name)).HasField("error")
    assert not await is_stuck(site, name)
    assert WEB in (await site.wait(between)).error.message
    assert WEB not in await site.objects()
    assert "is taken up again" not in caplog.text
    await site.wait_released()
