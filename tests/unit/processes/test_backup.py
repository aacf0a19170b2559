"""Backup and restore of the databases, without their services: one moment, one manifest, another life (P32)."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.jobs.plans import job, operation_of, shape_of
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.restored import STEP
from virtyard.jobs.store import JobStore
from virtyard.kernel.errors import DataLoss, InvalidRequest, NotFound, VirtyardError, WrongState
from virtyard.locks.restored import TOKEN_BITS
from virtyard.processes import backup as backup_command
from virtyard.processes import restore as restore_command
from virtyard.processes.backup import back_up
from virtyard.processes.restore import places_of, restore
from virtyard.runtime.data_lock import UNFINISHED
from virtyard.runtime.database import Database

NAMES = ("inventory", "jobs", "locks")
SHAPE = shape_of(job(1, "inventory"))


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """Make the three databases of a site that has run: two operations, one open, and a held lock."""
    folder = tmp_path / "state"
    for name in NAMES:
        async with await Database.open(
            folder / f"{name}.db", f"virtyard.{name}.migrations", None, FakeClock()
        ) as database:
            if name == "jobs":
                await store_operations(database, 2)
    with closing(sqlite3.connect(folder / "locks.db")) as locks, locks:
        locks.execute("INSERT INTO owner VALUES ('operations/1', 1, 1, 0, '', 0, 0, 0, NULL, '')")
        locks.execute("INSERT INTO lock VALUES ('operations/1', 'servers/s1', 5, 7, 'jobs/1-1')")
        locks.execute("UPDATE counter SET arrivals = 1, tokens = 7")
    with closing(sqlite3.connect(folder / "inventory.db")) as inventory, inventory:
        inventory.execute("INSERT INTO observation VALUES ('servers/s1', 1, 1, 1, x'')")
    return folder


async def store_operations(database: Database, count: int) -> None:
    """Store operations that are open."""
    store = JobStore(database)
    for _ in range(count):
        await store.insert(operation_of(SHAPE, number=0), "")


def make_backup(state: Path, out: Path, *, with_pki: bool = False) -> Path:
    """Make a backup of a site in one folder."""
    back_up([state], out, pki=state / "pki", with_pki=with_pki, context=state / "context.json")
    return out


def put_back(out: Path, state: Path) -> list[str]:
    """Restore a site in one folder, and return what was said."""
    said: list[str] = []
    restore(out, dict.fromkeys(NAMES, state), state / "pki", tell=said.append)
    return said


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Ask a database."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def incarnations(state: Path) -> list[int]:
    """Return the incarnation of each database."""
    sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'incarnation'"
    return [int(str(ask(state / f"{name}.db", sql)[0][0])) for name in NAMES]


def test_a_backup_says_what_it_is(state: Path, tmp_path: Path) -> None:
    """The manifest has versions, incarnations, sequences, checksums and time, and names what is not in it."""
    out = make_backup(state, tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text())
    jobs = manifest["databases"]["jobs"]
    assert (jobs["incarnation"], jobs["sequence"]) == (1, 4)
    assert jobs["migrations"]["virtyard.jobs.migrations"] == 10
    assert len(jobs["sha256"]) == 64
    assert manifest["not_included"] == [str(state / "context.json"), str(state / "pki")]
    assert {path.name for path in out.iterdir()} == {"inventory.db", "jobs.db", "locks.db", "manifest.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [out, *out.iterdir()])


def test_a_backup_is_one_moment(state: Path, tmp_path: Path) -> None:
    """Whatever another database has of an operation was intended in the copy of jobs.db, while all are written to."""
    for name in NAMES:
        with closing(sqlite3.connect(state / f"{name}.db")) as database, database:
            database.execute("CREATE TABLE step (number INTEGER PRIMARY KEY)")
    stop, many = threading.Event(), threading.Event()

    def write() -> None:
        with (
            closing(sqlite3.connect(state / "jobs.db", timeout=30)) as jobs,
            closing(sqlite3.connect(state / "inventory.db", timeout=30)) as inventory,
        ):
            number = 0
            while not stop.is_set():
                number += 1
                for database in (jobs, inventory):
                    with database:
                        database.execute("INSERT INTO step VALUES (?)", (number,))
                if number == 20:
                    many.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert many.wait(20)
        outs = [make_backup(state, tmp_path / f"out{number}") for number in range(5)]
    finally:
        stop.set()
        writer.join()
    for out in outs:
        (intended,), (done,) = (
            ask(out / f"{name}.db", "SELECT max(number) FROM step")[0] for name in ("jobs", "inventory")
        )
        assert isinstance(intended, int)
        assert isinstance(done, int)
        assert intended - 1 <= done <= intended


async def test_a_restored_site_begins_another_life(state: Path, tmp_path: Path) -> None:
    """Incarnation, sequences, numbers, epochs and tokens are above everything before, and what was is kept aside."""
    out = make_backup(state, tmp_path / "out")
    async with await Database.open(state / "jobs.db", "virtyard.jobs.migrations", None, FakeClock()) as database:
        await store_operations(database, 1)
    said = put_back(out, state)
    (aside,) = state.glob("replaced-*")
    assert ask(aside / "jobs.db", "SELECT max(number) FROM operation") == [(3,)]
    assert any(str(aside) in line for line in said)
    assert len(set(incarnations(state))) == 1
    (incarnation, *_) = incarnations(state)
    assert ask(state / "jobs.db", "SELECT known, above, held FROM restored") == [(2, STEP, 1)]
    assert ask(state / "jobs.db", "SELECT sequence FROM feed") == [(1_000_000,)]
    for number, epoch, body in ask(state / "jobs.db", "SELECT number, epoch, record FROM operation"):
        assert epoch == record_pb2.OperationRecord.FromString(body).epoch == incarnation << 20, number  # type: ignore[arg-type]
    assert ask(state / "locks.db", "SELECT token FROM lock") == [((incarnation << TOKEN_BITS) + 1,)]
    assert ask(state / "locks.db", "SELECT tokens FROM counter") == [((incarnation << TOKEN_BITS) + 1,)]
    assert ask(state / "inventory.db", "SELECT state FROM observation") == [(0,)]
    async with await Database.open(state / "jobs.db", "virtyard.jobs.migrations", None, FakeClock()) as database:
        assert (await JobStore(database).insert(operation_of(SHAPE, number=0), "")).number == STEP + 1


async def test_every_restore_is_another_life(state: Path, tmp_path: Path) -> None:
    """The same backup twice, and once more where nothing is left: no incarnation is ever given again."""
    out = make_backup(state, tmp_path / "out")
    put_back(out, state)
    first = incarnations(state)
    async with await Database.open(state / "jobs.db", "virtyard.jobs.migrations", None, FakeClock()) as database:
        await store_operations(database, 1)
    put_back(out, state)
    assert min(incarnations(state)) > max(first)
    assert ask(state / "jobs.db", "SELECT above FROM restored") == [(2 * STEP,)]
    empty = tmp_path / "elsewhere"
    put_back(out, empty)
    assert min(incarnations(empty)) > 1_000_000


def test_damage_is_no_reason_to_refuse(state: Path, tmp_path: Path) -> None:
    """A database that cannot be read any more is replaced, and kept aside."""
    out = make_backup(state, tmp_path / "out")
    (state / "jobs.db").write_bytes(b"no database at all" * 100)
    for beside in state.glob("jobs.db-*"):
        beside.unlink()
    put_back(out, state)
    (aside,) = state.glob("replaced-*")
    assert (aside / "jobs.db").read_bytes().startswith(b"no database")
    assert ask(state / "jobs.db", "SELECT above FROM restored") == [(STEP,)]


def test_what_cannot_be_backed_up_is_refused(state: Path, tmp_path: Path) -> None:
    """Nothing is written over, and a missing database is named."""
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    with pytest.raises(WrongState, match="not an empty folder"):
        make_backup(state, taken)
    with pytest.raises(NotFound, match=r"no inventory\.db"):
        make_backup(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(NotFound, match="no PKI"):
        make_backup(state, tmp_path / "out", with_pki=True)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidRequest, match="only one may"):
        back_up([state, state], tmp_path / "out", pki=state, with_pki=False, context=state)


async def test_what_cannot_be_restored_is_refused_and_changes_nothing(state: Path, tmp_path: Path) -> None:
    """A site that runs, a backup without manifest, and a copy that is not what was written."""
    out = make_backup(state, tmp_path / "out")
    before = incarnations(state)
    async with await Database.open(state / "locks.db", "virtyard.locks.migrations", None, FakeClock()):
        with pytest.raises(WrongState, match="in use by process"):
            put_back(out, state)
    with pytest.raises(NotFound, match="is no backup"):
        put_back(tmp_path, state)
    with (out / "jobs.db").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(DataLoss, match="is not what was copied"):
        put_back(out, state)
    (out / "jobs.db").unlink()
    with pytest.raises(DataLoss, match="missing"):
        put_back(out, state)
    assert incarnations(state) == before
    assert not list(state.glob("replaced-*"))
    assert not list(state.glob(".restore*"))


async def test_a_restore_that_was_cut_off_is_done_again(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody opens a site of which only a part was put back; asking again puts all of it back."""
    out = make_backup(state, tmp_path / "out")
    real, renamed = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == 4:
            raise OSError("the power is gone")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(VirtyardError, match="cannot be put back"):
        put_back(out, state)
    monkeypatch.undo()
    assert (state / UNFINISHED).exists()
    with pytest.raises(WrongState, match="was cut off"):
        await Database.open(state / "inventory.db", "virtyard.inventory.migrations", None, FakeClock())
    put_back(out, state)
    assert len(set(incarnations(state))) == 1
    await (await Database.open(state / "inventory.db", "virtyard.inventory.migrations", None, FakeClock())).close()


def test_the_commands_say_what_they_did(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Backup with the PKI, refusal of a second one there, and restore to another place with the PKI."""
    (state / "pki").mkdir()
    (state / "pki" / "ca.pem").write_text("an authority")
    words = ["--state", str(state), "--out", str(tmp_path / "out"), "--pki"]
    assert backup_command.main(words) == 0
    said = capsys.readouterr().out
    assert "new intents waited for" in said
    assert "private keys" in said
    assert backup_command.main(words) == 1
    assert "not an empty folder" in capsys.readouterr().err
    new = tmp_path / "new"
    assert restore_command.main(["--from", str(tmp_path / "out"), "--state", str(new)]) == 0
    assert "the PKI is back" in capsys.readouterr().out
    assert (new / "pki" / "ca.pem").read_text() == "an authority"


def test_folders_of_a_split_site(tmp_path: Path) -> None:
    """Each service has a folder of its own; one that is missing is named."""
    given = [f"{name}={tmp_path / name}" for name in NAMES]
    assert places_of(given) == {name: tmp_path / name for name in NAMES}
    assert places_of([str(tmp_path)]) == dict.fromkeys(NAMES, tmp_path)
    with pytest.raises(InvalidRequest, match="no folder for jobs, locks"):
        places_of(given[:1])
