"""What is held and waited for at a restore: each operation by the name under which it owns its locks now (P32)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Gate, rival, state_of
from tests.integration.jobs.test_lock_break import DISK, WEB, begin, break_lock, is_stuck, retry
from tests.integration.jobs.test_stuck import Refusal
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_control_pb2, lock_control_service_pb2, lock_control_service_pb2_grpc
from virtyard.api.operations.v1 import edit_virtual_machine_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import restored as jobs_restored
from virtyard.jobs import rollback
from virtyard.locks import restored as locks_restored
from virtyard.locks.model import LockView
from virtyard.runtime.restore import Life, new_incarnation
from virtyard.runtime.transaction import Transaction

Record = record_pb2.OperationRecord


async def locks_of(site: Site, owner: str) -> dict[str, LockView]:
    """Return what an owner holds or waits for, by object."""
    return {each.object: each for each in await site.jobs.scheduler.world.locks.locks() if each.owner == owner}


async def is_queued(site: Site, owner: str) -> bool:
    """Return whether an owner waits for its locks."""
    found = (await locks_of(site, owner)).values()
    return bool(found) and all(each.granted is None for each in found)


async def take(site: Site, target: str = "serverPools/Finance") -> str:
    """Take a lock, or queue for it, and return its name."""
    duration = Duration()
    duration.FromTimedelta(timedelta(hours=1))
    request = lock_control_service_pb2.TakeLockRequest(object=target, purpose="move", duration=duration)
    return str((await _control(site).TakeLock(request)).name)


async def give_back(site: Site, lock: str) -> None:
    """Release a lock that was taken."""
    await _control(site).ReleaseLock(lock_control_service_pb2.ReleaseLockRequest(name=lock))


def _control(site: Site) -> Any:
    return lock_control_service_pb2_grpc.LockControlServiceStub(site._near["jobs"])


async def restore(
    site: Site,
    *,
    lose: str = "",
    change: Callable[[Record], None] = lambda _: None,
) -> None:
    """Begin another life of scheduler and lock service on what they have, as `virtyard restore` does, and start.

    Args:
        site: the site.
        lose: an owner of which the locks are to know nothing.
        change: changes the records of open operations.
    """
    await site.close_jobs()
    life = Life(incarnation=new_incarnation(1, datetime.now(UTC)), replaced=None)
    with closing(sqlite3.connect(site.folder / "state" / "jobs.db")) as database, database:
        jobs_restored.begin_life(database, life)
        for number, body in database.execute("SELECT number, record FROM operation WHERE open = 1").fetchall():
            record = Record.FromString(body)
            change(record)
            database.execute("UPDATE operation SET record = ? WHERE number = ?", (record.SerializeToString(), number))

    def mark(transaction: Transaction) -> None:
        locks_restored.begin_life(transaction.connection, life)
        for table in ("lock", "owner"):
            transaction.connection.execute(f"DELETE FROM {table} WHERE owner = ?", (lose,))
        transaction.transition("locks.again")

    await site.locks.database.write(mark)
    site.locks.service._store._table = None
    site.locks.service.restored = True
    async with asyncio.timeout(LIMIT):
        await site.open_jobs()
    assert not site.locks.service.restored


@pytest.fixture
async def stuck(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Refusal]:
    """Return an operation that was broken and holds locks for an undo that is refused, and what refuses it."""
    monkeypatch.setattr(rollback, "_PAUSE", 0.001)
    gate, count = Gate(), 0

    async def second_hangs(message: Any, context: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            await gate(message, context)

    site.faults.before["CreateDiskFile"] = second_hangs
    refusal = site.faults.before["undo RemoveDiskFile"] = Refusal()
    name = (await site.submit(machine("web"))).name
    await gate.reached.wait()
    assert (await break_lock(site, name)).freed
    await site.wait_until(lambda: is_stuck(site, name))
    return name, refusal


async def test_an_operation_holds_the_locks_of_its_undos_after_a_restore(
    site: Site, stuck: tuple[str, Refusal]
) -> None:
    """It had asked for them by another name since its own were broken: they stay its own until it is undone."""
    name, refusal = stuck
    before = await locks_of(site, f"{name}#rollback")
    await restore(site)
    after = await locks_of(site, f"{name}#rollback")
    assert before.keys() <= after.keys()
    assert DISK in after
    assert await is_stuck(site, name)
    refusal.lifted = True
    await retry(site, name)
    assert (await site.wait(name)).HasField("error")
    assert WEB not in await site.objects()
    await site.wait_released()
    await site.succeed(machine("web"))


async def test_the_locks_of_undos_are_held_again_in_their_own_round(site: Site, stuck: tuple[str, Refusal]) -> None:
    """One that was planned again for other locks before it was broken does not queue anew, behind who goes first."""
    name, refusal = stuck

    def planned_again(record: Record) -> None:
        record.lock_round = 1

    other = (await site.submit(rival())).name
    job = (await site.jobs_of(other))[0].name
    await site.service.SetJobPriority(job_control_pb2.SetJobPriorityRequest(name=job, priority=20))
    await site.wait_until(lambda: is_queued(site, other))
    await restore(site, change=planned_again)
    assert DISK in await locks_of(site, f"{name}#rollback")
    refusal.lifted = True
    await retry(site, name)
    assert (await site.wait(name)).HasField("error")
    assert not (await site.wait(other)).HasField("error")


async def test_an_operation_keeps_its_place_for_the_locks_of_its_undos(site: Site) -> None:
    """It waits for them at the restore: whoever came after it still comes after it, and it is undone whole."""
    before = await state_of(site)
    name, _ = await begin(site, machine("web", disks=1))
    lock = await take(site)
    await break_lock(site, name)
    await site.wait_until(lambda: is_queued(site, f"{name}#rollback"))
    edit = edit_virtual_machine_pb2.EditVirtualMachineRequest(
        virtual_machine=virtual_machine_pb2.VirtualMachine(name=WEB, cpus=2)
    )
    last = (await site.submit(edit)).name
    await site.wait_until(lambda: is_queued(site, last))
    await restore(site)
    assert await is_queued(site, f"{name}#rollback")
    await give_back(site, lock)
    assert (await site.wait(name)).HasField("error")
    assert WEB in (await site.wait(last)).error.message
    assert await state_of(site) == before
    await site.wait_released()


async def test_what_runs_under_a_lock_is_held_again_under_it(site: Site) -> None:
    """Locks that are older than the operations: the person's lock, which is there, is not in the way of such a set."""
    lock = await take(site)
    request = machine("web", disks=1)
    request.options.under = lock
    name, gate = await begin(site, request)
    await restore(site, lose=name)
    assert WEB in await locks_of(site, name)
    gate.opened.set()
    assert not (await site.wait(name)).HasField("error")
