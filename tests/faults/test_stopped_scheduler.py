"""SIGSTOP of a real scheduler with DONE in its socket (P14): whatever it finds when it wakes, nothing is done twice.

The host has recorded its result and stands still before the answer; then the scheduler is stopped, and the host goes
on. What it sends lies in the kernel's buffer of the scheduler's connection, as /proc/net/tcp shows.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from tests.acceptance.asking import LIMIT, SUCCEEDED, create_machine, new_disk, prepare
from tests.acceptance.site import Site, open_site, until
from tests.faults.killing import ask_until_answered, ledger_states, made_twice, steps_in_flight
from tests.invariants.check import lasting_findings
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard_client.client import Client
from virtyard_client.story import Story

T = TypeVar("T")
pytestmark = pytest.mark.timeout(240)
STEP = "Make the disk's image"
DONE = participant.EFFECT_STATE_DONE
_ESTABLISHED = "01"


async def wait_until(condition: Callable[[], T], what: str) -> T:
    """Wait for a condition beside the event loop."""
    return await asyncio.to_thread(until, condition, LIMIT, what)


def unread_bytes(site: Site, process: str, peer: str) -> int:
    """Return how much a process has not read yet of what a peer sent to the connections which it has to it."""
    own = {str(link.readlink()) for link in Path(f"/proc/{site.record(process).pid}/fd").iterdir() if link.is_symlink()}
    port, waiting = f"{int(site.addresses[peer].rpartition(':')[2]):04X}", 0
    # gRPC's sockets are of both families, whatever address was dialled.
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    for line in lines:
        fields = line.split()
        _, remote, state, queues, inode = fields[1], fields[2], fields[3], fields[4], fields[9]
        if state == _ESTABLISHED and remote.endswith(f":{port}") and f"socket:[{inode}]" in own:
            waiting += int(queues.partition(":")[2], 16)
    return waiting


def jobs_db(site: Site) -> Path:
    """Return the scheduler's database."""
    (path,) = (site.folder / "state").glob("**/jobs.db")
    return path


def stored(site: Site, number: int) -> bytes:
    """Return the record of an operation as it is stored."""
    with closing(sqlite3.connect(jobs_db(site), timeout=10)) as sql:
        (record,) = sql.execute("SELECT record FROM operation WHERE number = ?", (number,)).fetchone()
    return bytes(record)


def overtake(site: Site, number: int) -> None:
    """Take an operation over as another scheduler would: raise its epoch, in a commit of its own."""
    record = record_pb2.OperationRecord.FromString(stored(site, number))
    record.epoch += 1
    with closing(sqlite3.connect(jobs_db(site), timeout=10)) as sql, sql:
        sql.execute(
            "UPDATE operation SET epoch = ?, record = ? WHERE number = ?",
            (record.epoch, record.SerializeToString(), number),
        )


async def stop_with_done_in_the_socket(site: Site, client: Client) -> tuple[asyncio.Task[Story], str]:
    """Have a disk made, stop the scheduler before it hears of that; return the operation's story to be, and the key."""
    order = site.moments / "s1.at"
    order.write_text("stop agent.A2")
    operation = await ask_until_answered(client, create_machine(site, "web", [new_disk(8)]))
    story = asyncio.create_task(client.wait(operation.name, timeout=LIMIT * 3))
    await wait_until(lambda: not order.exists() and site.is_stopped("s1"), "the host has recorded its result")
    ((key, _),) = [each for each in steps_in_flight(site).items() if each[1] == STEP]
    assert ledger_states(site, "s1", key) == [DONE]
    return story, key


@pytest.mark.parametrize("then", ["it wakes", "it is killed", "it was overtaken"])
async def test_a_result_that_lies_in_the_socket_of_a_stopped_scheduler_counts_once(then: str) -> None:
    """The same scheduler takes it; the next one asks again under the same key; an overtaken one gives up."""
    with open_site("split", ("s1",), nursed=True) as site:
        async with site.client() as client:
            await prepare(site, client)
            story, key = await stop_with_done_in_the_socket(site, client)
            number = int(key.partition("/")[0])
            with site.paused("jobs"):
                assert unread_bytes(site, "jobs", "s1") == 0
                site.resume("s1")
                await wait_until(lambda: unread_bytes(site, "jobs", "s1") > 0, "its answer is in the socket")
                before = stored(site, number)
                if then == "it was overtaken":
                    overtake(site, number)
                    before = stored(site, number)
                if then == "it is killed":
                    site.kill("jobs")
            if then == "it is killed":
                site.start("jobs")
            if then == "it was overtaken":
                log = site.pids / "jobs.log"
                await wait_until(lambda: f"operations/{number} is given up" in log.read_text(), "it gives up")
                assert stored(site, number) == before
                assert ledger_states(site, "s1", key) == [DONE]
                site.kill("jobs")
                site.start("jobs")
            assert (await story).state == SUCCEEDED
        assert ledger_states(site, "s1", key) == [DONE], "one attempt, done once"
        assert made_twice(site.effect_log) == []
        assert await asyncio.to_thread(lasting_findings, site.folder, site.shared, site.effect_log) == []
