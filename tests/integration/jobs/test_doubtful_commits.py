"""What must follow a commit does: where COMMIT fails though it was durable, and where a runner fails meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import uuid
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_failure import Gate
from tests.integration.jobs.test_person_locks import HELD, person
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import scheduler
from virtyard.jobs.abort_request import AbortRequest
from virtyard.jobs.store import JobStore
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.status import named

_OURS = "FROM operation WHERE method LIKE '%CreateVirtualMachine'"
BEGUN, ENDED = f"SELECT count(*) {_OURS}", f"SELECT count(*) {_OURS} AND open = 0"
TAKEN, RELEASED = "SELECT count(*) FROM person_lock", "SELECT count(*) = 0 FROM person_lock"


class Doubt:
    """Has the first commit of jobs.db after which something is true report a failure, though it was durable."""

    def __init__(self, site: Site, question: str) -> None:
        """Wait for the commit after which this SQL is true."""
        self._question = question
        self.failed = 0
        site.jobs.database._commit_hook = self

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Commit, and fail then if this is the one."""
        connection.execute("COMMIT")
        if not self.failed and connection.execute(self._question).fetchone()[0]:
            self.failed += 1
            raise sqlite3.OperationalError("disk I/O error")


async def unavailable(call: Any) -> None:
    """Require that a call is told that the outcome is unknown."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert isinstance(named(caught.value), Unavailable)


async def test_a_submission_that_seemed_to_fail_is_run(site: Site) -> None:
    """The caller is told that the outcome is unknown; the operation is durable, so it runs, and runs once."""
    doubt = Doubt(site, BEGUN)
    await unavailable(site.submit(machine("web", disks=1)))
    (operation,) = site.jobs.scheduler.open_operations()
    assert not (await site.wait(operation.name)).HasField("error")
    assert (doubt.failed, site.faults.done["CreateDiskFile"]) == (1, 1)


async def test_a_repeated_request_finds_it_running(site: Site) -> None:
    """With a request id the caller is answered with the operation, as is whoever asks again; it runs once."""
    doubt = Doubt(site, BEGUN)
    request = machine("web", disks=1)
    request.request_id = str(uuid.uuid4())
    names = {(await site.submit(request)).name, (await site.submit(request)).name}
    (name,) = names
    assert not (await site.wait(name)).HasField("error")
    assert (doubt.failed, site.faults.done["CreateDiskFile"]) == (1, 1)


async def test_an_end_that_seemed_to_fail_frees_the_locks(site: Site) -> None:
    """What is due after the end of an operation is done at once, and not at the next start."""
    doubt = Doubt(site, ENDED)
    await site.succeed(machine("web", disks=1))
    await site.wait_released()
    assert doubt.failed == 1


async def test_a_lock_of_a_person_that_seemed_not_to_be_taken_is_held(site: Site) -> None:
    """Taken and released with failures though both were durable, it is held in between, and free at the end."""
    await site.succeed(machine("web", disks=0, vnics=0))
    await site.wait_released()
    async with AsyncExitStack() as stack:
        ann = await person(site, stack, "ann")
        Doubt(site, TAKEN)
        await unavailable(ann.take())
        (lock,) = await ann.list()

        async def held() -> bool:
            return [each.state for each in await ann.list()] == [HELD]

        await site.wait_until(held)
        Doubt(site, RELEASED)
        await unavailable(ann.release(lock.name))
        assert await ann.list() == []
        await site.wait_released()


async def test_a_repeated_request_finds_the_lock(site: Site) -> None:
    """With a request id the caller is answered with the lock that is durable, though its commit seemed to fail."""
    await site.succeed(machine("web", disks=0, vnics=0))
    await site.wait_released()
    async with AsyncExitStack() as stack:
        ann = await person(site, stack, "ann")
        doubt, token = Doubt(site, TAKEN), str(uuid.uuid4())
        lock = await ann.take(request_id=token)
        assert (doubt.failed, (await ann.take(request_id=token)).name) == (1, lock.name)
        assert [each.name for each in await ann.list()] == [lock.name]
        await ann.release(lock.name)
        await site.wait_released()


async def test_an_abort_is_not_lost_in_a_defect(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose commit is under way while its runner fails is seen by the successor; a later one is refused."""
    monkeypatch.setattr(scheduler, "_PAUSE", 0.001)
    files = site.files()
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(machine("web", disks=1))).name
    number = int(name.partition("/")[2])
    async with asyncio.timeout(LIMIT):
        await gate.reached.wait()
    runners = site.jobs.scheduler._runners
    old = runners[number]
    asked, go = asyncio.Event(), asyncio.Event()
    save = JobStore.save

    async def hold(store: JobStore, operation: Any, jobs: Any, transition: str, **rest: Any) -> None:
        if transition == "jobs.abort":
            asked.set()
            await go.wait()
        await save(store, operation, jobs, transition, **rest)

    monkeypatch.setattr(JobStore, "save", hold)
    request = job_service_pb2.AbortJobRequest(name=f"jobs/{number}-1")
    async with asyncio.TaskGroup() as tasks:
        abort = tasks.create_task(_answer(site.service.AbortJob(request)))
        await asyncio.wait_for(asked.wait(), LIMIT)
        old._rounds.inbox.put_nowait(object())  # type: ignore[arg-type]  # no report: the runner fails over it

        async def taken_up() -> bool:
            return runners.get(number, old) is not old or bool(old.keeper._one_at_a_time._waiters)

        await site.wait_until(taken_up)
        go.set()
    assert not abort.result().too_late
    await site.wait_until(lambda: _is_other(runners, number, old))
    gate.opened.set()
    assert (await site.wait(name)).error.message.startswith("aborted")
    assert site.files() == files
    with pytest.raises(Unavailable):
        await old.abort(AbortRequest(reason="through the one that failed"))


async def _answer(call: Any) -> Any:
    return await call


async def _is_other(runners: dict[int, Any], number: int, old: Any) -> bool:
    return runners.get(number, old) is not old


@pytest.mark.parametrize("settled", [True, False])
async def test_a_commit_whose_caller_has_left_is_not_written_over(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, settled: bool
) -> None:
    """It is committed all the same, so the next one, which waited for its turn, begins with it."""
    if not settled:

        async def at_once(_: JobStore) -> None:
            return

        monkeypatch.setattr(JobStore, "settle", at_once)
    gate = site.faults.before["CreateDiskFile"] = Gate()
    name = (await site.submit(machine("web", disks=1))).name
    await gate.reached.wait()
    number = int(name.partition("/")[2])
    keeper = (await site.jobs.scheduler.running(number)).keeper
    go_on = threading.Event()
    busy = asyncio.ensure_future(site.jobs.database.write(lambda _: go_on.wait(LIMIT)))
    async with asyncio.TaskGroup() as tasks:
        left = tasks.create_task(keeper.commit("jobs.held", lambda record: note(record, "left")))
        tasks.create_task(keeper.commit("jobs.held", lambda record: note(record, "next")))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        go_on.set()
    assert await busy
    stored = await site.jobs.scheduler.world.store.get(number)
    assert [each.hop.reason for each in stored.record.decisions] == (["left", "next"] if settled else ["next"])
    gate.opened.set()
    assert not (await site.wait(name)).HasField("error")


def note(record: record_pb2.OperationRecord, reason: str) -> None:
    """Add a decision to a record."""
    record.decisions.add().hop.reason = reason
