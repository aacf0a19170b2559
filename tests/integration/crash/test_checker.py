"""The invariant checker is tested by breaking what it looks at: each breach is found, and a whole site has none."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import load
from tests.integration.jobs.site import running
from tests.invariants import services
from tests.invariants.check import findings, lasting_findings
from tests.invariants.records import read
from tools.operation_costs import furnish
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.operations.v1 import delete_network_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.archive import archive, read_leaving
from virtyard.jobs.store import RELEASE
from virtyard.kernel.job_states import JobState, StepState

EXAMPLES = load()
ARCHIVED, FOREVER = 2, 0.0
STORY = ("create_virtual_machine", "start_virtual_machine", "create_network", "create_server_pool")
Break = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folder of a site that ran a few operations, one of which failed, and a copy of it."""
    folder = tmp_path_factory.mktemp("whole")

    async def tell() -> None:
        async with running(folder, "s1", "s2", "s3", "s4") as site:
            stage: Any = site
            stage.shared = site.share
            await furnish(site, stage, EXAMPLES["create_virtual_machine"])
            for name in STORY:
                await site.succeed(EXAMPLES[name].request(stage))

            async def refuse(*_: Any) -> None:
                raise RuntimeError("it cannot be")

            site.faults.before["CreateDiskFile"] = refuse
            assert (await site.run(create_machine(stage, "other", [new_disk(4)]))).HasField("error")
            site.faults.refused = "1/2"
            gone = delete_network_pb2.DeleteNetworkRequest(name="networks/lan")
            assert (await site.run(gone)).HasField("error")
            await site.wait_released()
            # The oldest are archived, as they are after a while.
            leaving = await site.jobs.database.read(lambda sql: read_leaving(sql, FOREVER, 0, ARCHIVED))
            await site.jobs.database.write(lambda transaction: archive(transaction, leaving))
            assert lasting_findings(folder, folder / "share") == []

    asyncio.run(tell())
    kept = tmp_path_factory.mktemp("kept") / "site"
    shutil.copytree(folder, kept)
    assert findings(folder, folder / "share", folder / "log") == []
    return folder, kept


@pytest.fixture
def folder(whole: tuple[Path, Path]) -> Path:
    """Return the folder of that site as it was at its end, at the path that its records have."""
    folder, kept = whole
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    return folder


def sql(database: str, *statements: str) -> Break:
    """Return what changes a database behind the back of its service; its triggers are no hindrance."""

    def change(folder: Path) -> None:
        (path,) = folder.glob(f"*/{database}" if "/" in database else f"**/{database}")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {trigger}")
            for statement in statements:
                assert connection.execute(statement).rowcount > 0, statement

    return change


def file(pattern: str, change: Callable[[Path], object]) -> Break:
    """Return what changes the first file of a name."""
    return lambda folder: change(min(folder.glob(pattern)))


def edit(**values: Any) -> Callable[[Path], object]:
    """Return what changes values in a file of JSON."""
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


BREACHES: dict[str, tuple[Break, str]] = {
    "lock forgotten": (
        sql(
            "locks.db",
            "INSERT INTO owner SELECT 'operations/7', 1, 1, 0, '', 0, 0, 0, NULL, ''",
            "INSERT INTO lock VALUES ('operations/7', 'servers/s1', 5, 1, '')",
            "DELETE FROM tombstone WHERE owner = 'operations/7'",
        ),
        "operations/7 has ended, its locks are held, and their release is not due",
    ),
    "owner never closed": (sql("locks.db", "DELETE FROM tombstone WHERE owner = 'operations/5'"), "was never closed"),
    "owner of nothing": (
        sql("locks.db", "INSERT INTO owner SELECT 'operations/99', 1, 1, 0, '', 0, 0, 0, NULL, ''"),
        "operations/99 has locks and is no operation",
    ),
    "two holders": (
        sql(
            "locks.db",
            "INSERT INTO owner SELECT 'users/' || value, 1, 1, 0, '', 0, 0, 0, NULL, '' FROM json_each('[1, 2]')",
            "INSERT INTO lock SELECT 'users/' || value, 'a/b', 3 + value, 1, '' FROM json_each('[1, 2]')",
        ),
        "both hold a/b",
    ),
    "tokens fell": (sql("locks.db", "UPDATE counter SET tokens = 3"), "the last one given out is 3"),
    "epoch fell": (sql("inventory.db", "UPDATE epoch SET epoch = 9 WHERE operation = 7"), "has met epoch 9"),
    "operation left open": (
        sql("jobs.db", "UPDATE operation SET open = 1 WHERE number = 7"),
        "operations/7 is open in its row or in its record, not in both",
    ),
    "archived job left live": (
        sql("jobs.db", "UPDATE job SET operation = 1, number = number + 90 WHERE operation = 7 AND number = 1"),
        "operations/1 is archived and has rows for jobs",
    ),
    "archived operation gone": (
        sql("jobs.db", "DELETE FROM archived_job", "DELETE FROM archived_operation WHERE number = 2"),
        "has the mark 2/1/1 of no operation",
    ),
    "job gone": (
        sql("jobs.db", "DELETE FROM job WHERE operation = 7 AND number = 1"),
        "operations/7 has rows for jobs",
    ),
    "job in another state": (sql("jobs.db", "UPDATE job SET state = 3 WHERE name = 'jobs/7-1'"), "jobs/7-1 is 3"),
    "miscounted": (sql("jobs.db", "UPDATE job_count SET jobs = jobs + 1 WHERE state = 5"), "jobs are counted as"),
    "due left": (
        sql(
            "jobs.db",
            "INSERT OR REPLACE INTO due SELECT 'release 99', 'release', CAST('' AS BLOB)",
        ),
        "release 99 is due",
    ),
    "journal gap": (sql("jobs.db", "DELETE FROM journal WHERE sequence = 20"), "the journal of jobs has gaps"),
    "feed lies": (
        sql("jobs.db", "UPDATE job SET body = CAST('' AS BLOB) WHERE name = 'jobs/7-1'"),
        "the feed's last word on jobs/7-1",
    ),
    "effect twice": (
        sql(
            "inventory.db",
            "INSERT INTO ledger SELECT NULL, operation, step_key, phase, attempt + 1, payload_hash, state, record,"
            " prior FROM ledger WHERE phase = 1 AND state = 3 LIMIT 1",
        ),
        "was done 2 times",
    ),
    "effect lost": (
        sql("s1/ledger.db", "DELETE FROM ledger WHERE step_key = '1/1/1'"),
        "operations/1 step 1/1 at s1 counts as done; the ledger has it not done",
    ),
    "effect of nobody": (
        sql("s1/ledger.db", "UPDATE ledger SET operation = 99 WHERE step_key = '1/1/1'"),
        "s1 has an effect of operation 99",
    ),
    "effect under way": (
        sql("s1/ledger.db", "UPDATE ledger SET state = 2 WHERE step_key = '1/1/1'"),
        "1/1/1 is under way at s1",
    ),
    "relation lost": (
        sql("inventory.db", "DELETE FROM relation WHERE source = 'servers/s1' AND field = 'server_pool'"),
        "is not indexed",
    ),
    "sum wrong": (sql("inventory.db", "UPDATE total SET amount = amount + 1"), "the sum of"),
    "target gone": (
        sql("inventory.db", "UPDATE object SET deleted = 1 WHERE name = 'repositories/shared'"),
        "which is not there",
    ),
    "disk file gone": (file("share/shared/disks/*.raw", Path.unlink), "is recorded () and not there"),
    "disk file cut": (
        file("share/shared/disks/*.raw", lambda path: path.write_bytes(b"")),
        "has 0 bytes, recorded are",
    ),
    "disk left": (
        file("share/shared/disks", lambda path: (path / "more.raw").write_bytes(b"")),
        "more is there () and not recorded",
    ),
    "half made": (file("share/shared/disks", lambda path: (path / "x.raw.part").write_bytes(b"")), "left half made"),
    "repository gone": (file("share/shared/.virtyard-repository.json", Path.unlink), "the repository"),
    "heartbeat device gone": (file("share/more.heartbeat", Path.unlink), "the heartbeat device"),
    "membership gone": (file("agents/s3/heartbeat/*.json", Path.unlink), "the membership"),
    "bridge gone": (file("agents/s1/sim/bridges/*.json", Path.unlink), "the bridge"),
    "bridge left": (
        lambda folder: (folder / "agents/s4/sim/bridges/x.json").write_text('{"uid": "x", "mark": "1/1/1"}'),
        "is there (True) and not recorded",
    ),
    "guest ended": (file("agents/*/sim/guests/*.json", edit(ended=True)), "the guest"),
    "guest gone": (file("agents/*/sim/guests/*.json", Path.unlink), "the guest"),
    "host free": (file("agents/s1/claim.json", edit(owner_id="")), "s1 is claimed by nobody"),
    "mark of a failure": (file("agents/*/sim/bridges/*.json", edit(mark="11/9/1")), "that operation left nothing"),
    "mark of nobody": (
        file("share/shared/.virtyard-repository.json", edit(mark="99/1/1")),
        "mark 99/1/1 of no operation",
    ),
    "made twice": (lambda folder: (folder / "log").write_text("1/1/1 image x\n" * 2), "was made 2 times"),
}


@pytest.mark.parametrize("what", BREACHES)
def test_each_breach_is_found(what: str, folder: Path) -> None:
    """Whatever is changed behind the services' backs is told; what was there before had nothing to tell."""
    breach, told = BREACHES[what]
    breach(folder)
    found = findings(folder, folder / "share", folder / "log")
    assert any(told in line for line in found), found


def restate(number: int, change: Callable[[Any], object]) -> Break:
    """Return what changes the record of an operation."""

    def write(folder: Path) -> None:
        with closing(sqlite3.connect(next(folder.glob("state/**/jobs.db")), isolation_level=None)) as connection:
            (body,) = connection.execute("SELECT record FROM operation WHERE number = ?", (number,)).fetchone()
            record = record_pb2.OperationRecord.FromString(body)
            change(record)
            connection.execute("UPDATE operation SET record = ? WHERE number = ?", (record.SerializeToString(), number))

    return write


def step_of(reference: str, state: StepState) -> Callable[[Any], object]:
    """Return what gives a step of a record another state."""
    return lambda record: setattr(record.steps[reference], "state", int(state))


def job_of(job: str, state: JobState) -> Callable[[Any], object]:
    """Return what gives a job of a record another state."""
    return lambda record: setattr(record.jobs[job], "state", int(state))


DONE, FAILED, MADE_AGAIN = 7, 11, 12
"""Operations of the story: Create Virtual Machine, which succeeded, the one that failed, and Delete Network.

The last one had removed bridges, and had made them again.
"""


@pytest.mark.parametrize(
    ("number", "change", "told"),
    [
        (DONE, step_of("1/1", StepState.UNDONE), "operations/7 has ended, step 1/1 is UNDONE"),
        (DONE, step_of("3/1", StepState.STARTED), "operations/7 has ended, step 3/1 is STARTED"),
        (DONE, lambda record: setattr(record, "outcome", 1), "says outcome 1"),
        (DONE, lambda record: record.ClearField("end_time"), "has ended at no time"),
        (DONE, lambda record: setattr(record, "state", 1), "has not ended"),
        (DONE, job_of("1", JobState.RUNNING), "has ended with jobs that are RUNNING"),
        (DONE, lambda record: setattr(record.tokens[0], "fencing_token", 1), "token 1 was given to"),
        (FAILED, step_of("1/1", StepState.DONE), "operations/11 has ended, step 1/1 is DONE"),
        (FAILED, step_of("1/1", StepState.SKIPPED), "operations/11 step 1/1 at inventory is SKIPPED"),
        (FAILED, lambda record: setattr(record, "outcome", 2), "says outcome 2"),
        (FAILED, lambda record: record.ClearField("error"), "ended badly and does not say why"),
        (FAILED, lambda record: record.broken.SetInParent(), "operations/11#rollback has ended and was never closed"),
        (FAILED, lambda record: setattr(record.tokens[0], "fencing_token", 1), "operations/11 came after"),
    ],
)
def test_an_end_that_is_not_what_was_done_is_found(
    number: int, change: Callable[[Any], object], told: str, folder: Path
) -> None:
    """A record that says another end than its jobs, its steps and the tokens of others have is told."""
    restate(number, change)(folder)
    found = findings(folder, folder / "share")
    assert any(told in line for line in found), found


@pytest.mark.parametrize("owner", ["operations/7", "operations/7#rollback"])
def test_a_release_below_the_floor_is_done(folder: Path, owner: str) -> None:
    """An owner whom the lock service has closed and forgotten is closed; one above its floor is not."""
    release = lock_service_pb2.OwnerRelease(owner=owner, epoch=1).SerializeToString()
    records = replace(read(folder), closed={}, due=[("release 7", RELEASE, release)])
    assert "release 7 is due" in list(services.nothing_open(replace(records, closed_below=7)))
    assert "release 7 is due" not in list(services.nothing_open(replace(records, closed_below=8)))


def test_what_an_undo_made_again_bears_its_mark_when_that_is_forgotten(folder: Path) -> None:
    """A bridge bore the mark of an undo for as long as the network lived, and the ledger had long forgotten that."""
    marks = [json.loads(path.read_text())["mark"] for path in folder.glob("agents/*/sim/bridges/*.json")]
    assert f"{MADE_AGAIN}/2/1" in marks
    for ledger in folder.glob("agents/*/ledger.db"):
        with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
            connection.execute("DELETE FROM ledger")
            connection.execute("UPDATE floor SET settled_below = ?", (MADE_AGAIN + 1,))
    assert findings(folder, folder / "share") == []
    restate(MADE_AGAIN, step_of("2/1", StepState.DONE))(folder)
    assert any("and that operation left nothing" in line for line in findings(folder, folder / "share"))
