"""A backup is restored in which an operation holds locks for its undos, as its own were broken (P11, P32)."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    ask,
    create_machine,
    list_locks,
    new_disk,
    prepare,
    run,
    wait_unlocked,
)
from tests.acceptance.site import open_site, until
from tests.faults.killing import done_twice, steps_in_flight
from tests.faults.test_restore import SERVERS, machines, start_on, virtyard, wait_online
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import lock_control_service_pb2, lock_control_service_pb2_grpc
from virtyard.api.jobs.v1.operation_pb2 import OPERATION_STATE_CANCELLED
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.processes.backup import back_up
from virtyard_client.client import Client
from virtyard_client.story import Story

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


async def wait_holding(client: Client, owner: str) -> None:
    """Wait until somebody holds locks."""
    async with asyncio.timeout(20):
        while not any(lock.owner == owner and not lock.waiting for lock in await list_locks(client)):
            await asyncio.sleep(0.02)


def is_being_undone(path: Path) -> bool:
    """Tell whether an open operation was broken and has locks again by its record."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT record FROM operation WHERE open = 1").fetchall()
    records = [record_pb2.OperationRecord.FromString(body) for (body,) in rows]
    return any(record.broken.freed and record.tokens for record in records)


async def break_locks(client: Client, owner: str) -> bool:
    """Break the locks of an operation; tell whether they are free."""
    channel = client.channel("virtyard.api.jobs.v1.LockControlService")
    stub: Any = lock_control_service_pb2_grpc.LockControlServiceStub(channel)
    request = lock_control_service_pb2.BreakLockRequest(target=owner, reason="it hangs")
    return bool((await stub.BreakLock(request)).freed)


async def test_a_broken_operation_is_undone_after_a_restore() -> None:
    """The site is there again, the locks of the undo are the operation's, it ends, and nothing is done twice."""
    with open_site("embedded", SERVERS) as site:
        state, backup = site.folder / "state", site.folder / "backup"
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "web", [new_disk(4)]))
            (folder,) = state.glob("s1/**/sim")
            (folder / "settings.json").write_text(json.dumps({"start_seconds": 60}))
            broken = await ask(client, start_on("web", "s1"))
            until(lambda: "Start the guest" in steps_in_flight(site).values(), 10, "the start is under way")
            site.fail_file.write_text("1/1 undo\n")
            assert await break_locks(client, broken.name)
            until(
                lambda: is_being_undone(state / "jobs.db"),
                20,
                "it is being undone, under locks that its record has",
            )
            pki = site.folder / "pki"
            await asyncio.to_thread(back_up, [state], backup, pki=pki, with_pki=False, context=site.context)
        site.kill("up")
        done = virtyard(site, "restore", "--from", str(backup), "--state", str(state))
        assert done.returncode == 0, done.stderr
        (folder / "settings.json").unlink()
        site.start("up")
        async with site.client() as client:
            await wait_holding(client, f"{broken.name}#rollback")
            site.fail_file.unlink()
            story: Story = await client.wait(broken.name, timeout=60)
            assert story.state == OPERATION_STATE_CANCELLED, (story.state, story.error and story.error.message)
            assert (await machines(client))["web"].state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
            await wait_unlocked(client)
            await wait_online(client)
            await run(client, start_on("web", "s1"))
            assert len(site.guests()) == 1
        for name in ("up", *SERVERS):
            site.stop(name)
        assert not done_twice(site)
