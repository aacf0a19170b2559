"""An operation that kills its scheduler again and again: it is found, set aside, and nobody else suffers (R7).

What is behind its pivot is tried for ever, and at each failure the process kills itself: so it dies in every life.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing

import pytest

from tests.acceptance.asking import (
    LIMIT,
    SUCCEEDED,
    ask,
    create_machine,
    list_jobs,
    list_locks,
    list_objects,
    new_disk,
    prepare,
    run,
    until,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from tests.faults.killing import done_twice
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.probation import MOST_STRIKES

pytestmark = pytest.mark.timeout(240)

REMOVAL = "1/3"
"""Delete Virtual Machine: the step behind its pivot that removes the records."""
MOST_DEATHS = 12
POISON = job_pb2.HELD_REASON_POISON


def record_of(site: Site, name: str) -> record_pb2.OperationRecord:
    """Return an operation's record as the file of jobs.db has it."""
    (path,) = (site.folder / "state").glob("**/jobs.db")
    with closing(sqlite3.connect(path)) as database:
        ((record,),) = database.execute("SELECT record FROM operation WHERE name = ?", (name,)).fetchall()
    return record_pb2.OperationRecord.FromString(record)


def die_until_held(site: Site, bad: str) -> int:
    """Let the scheduler die and start it again until the operation is set aside; return how often it died."""
    deaths = 0
    deadline = time.monotonic() + 150
    while record_of(site, bad).held != POISON:
        assert time.monotonic() < deadline, f"died {deaths} times, and nothing is set aside"
        if not site.is_alive("jobs"):
            deaths += 1
            assert deaths <= MOST_DEATHS
            site.start("jobs", kill_at="jobs.retry", wait=False)
        time.sleep(0.02)
    return deaths


async def test_a_poison_operation_is_set_aside_and_the_others_go_on() -> None:
    """It keeps its state, its locks and a CRITICAL event over restarts; the operation beside it ends, new ones too."""
    with open_site("split", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "bad", [new_disk(4)]))
            await wait_unlocked(client)
            site.fail_file.write_text(REMOVAL)
            request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/bad")
            bad = (await ask(client, request)).name
            await asyncio.to_thread(until, lambda: record_of(site, bad).steps[REMOVAL].attempt > 1, LIMIT, "it fails")
            # Another one is under way, on a host that stands still until all is over.
            site.stop("s1")
            site.start("s1", stop_at="agent.A1@3/1")
            good = (await ask(client, create_machine(site, "good", [new_disk(4)], cards=1))).name
            await asyncio.to_thread(until, lambda: site.is_stopped("s1"), LIMIT, "the disk is being made")
            try:
                site.kill("jobs")
                site.start("jobs", kill_at="jobs.retry", wait=False)
                deaths = await asyncio.to_thread(die_until_held, site, bad)
                assert deaths >= MOST_STRIKES
                await asyncio.to_thread(site.wait_serving, "jobs")
                # What is new is begun once everybody has been tried.
                await run(client, create_machine(site, "new"))
                innocent = record_of(site, good)
                assert (innocent.strikes, innocent.held, innocent.rolling_back) == (0, 0, False)
            finally:
                site.resume("s1")
            assert (await client.wait(good, timeout=LIMIT)).state == SUCCEEDED
            for restarted in (False, True):
                if restarted:
                    site.stop("jobs")
                    await asyncio.to_thread(site.start, "jobs", kill_at="jobs.retry")
                job, child = await list_jobs(client, bad)
                assert (job.state, job.held) == (job_pb2.JOB_STATE_RUNNING, POISON)
                assert (child.state, child.held) == (job_pb2.JOB_STATE_COMPLETED, POISON)
                held = {lock.object for lock in await list_locks(client)}
                assert {"virtualMachines/bad", "virtualDisks/bad-disk0"} <= held
                assert {lock.owner for lock in await list_locks(client)} == {bad}
            asked = inventory_service_pb2.ListEventsRequest(filter="type = OPERATION_POISONED")
            (event,) = (await client.inventory.ListEvents(asked)).events
            assert (event.severity, event.operation) == (event_pb2.SEVERITY_CRITICAL, bad)
            assert {machine.name for machine in await list_objects(client, "VirtualMachines")} == {
                f"virtualMachines/{name}" for name in ("bad", "good", "new")
            }
        for name in (*site.control_plane, "s1"):
            site.stop(name)
        assert not done_twice(site)
