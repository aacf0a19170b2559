"""The database: group commit, savepoints, refusals that wait, failed commits, and one process at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.unit.runtime.conftest import create_things, put, putting
from virtyard.kernel.errors import AlreadyExists, DataLoss, InternalError, Unavailable, WrongState
from virtyard.runtime.database import Database, raise_incarnation
from virtyard.runtime.feed import Feed
from virtyard.runtime.schema import Migration, migrate
from virtyard.runtime.sqlite_thread import SqliteThread
from virtyard.runtime.transaction import Transaction


class FailingCommit:
    """Runs COMMIT, or fails before or after it."""

    def __init__(self) -> None:
        """Let commits succeed."""
        self.mode = "works"

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Commit as the mode says."""
        if self.mode == "fails before":
            raise sqlite3.OperationalError("disk I/O error")
        connection.execute("COMMIT")
        if self.mode == "fails after":
            raise sqlite3.OperationalError("disk I/O error")


@pytest.fixture
def commit() -> FailingCommit:
    """Return the commit of the fragile database."""
    return FailingCommit()


@pytest.fixture
async def fragile(tmp_path: Path, feed: Feed, clock: FakeClock, commit: FailingCommit) -> AsyncIterator[Database]:
    """Return a database whose commits can be made to fail."""
    database = await Database.open(tmp_path / "fragile.db", None, feed, clock, commit_hook=commit)
    await database.write(create_things)
    yield database
    await database.close()


def keys(connection: sqlite3.Connection) -> list[str]:
    """Return the keys of all things."""
    return [key for (key,) in connection.execute("SELECT key FROM thing ORDER BY key")]


async def test_functions_that_wait_share_one_commit(database: Database) -> None:
    """A hundred functions that are waiting at once are one commit, and each gets its own answer."""
    before = database.commits
    answers = await asyncio.gather(*(database.write(putting(f"k{i}")) for i in range(100)))
    assert database.commits == before + 1
    assert answers == list(range(1, 101))


async def test_batch_is_limited(tmp_path: Path, clock: FakeClock) -> None:
    """No commit takes more functions than the limit."""
    async with await Database.open(tmp_path / "small.db", None, None, clock, batch_limit=10) as database:
        await asyncio.gather(*(database.write(lambda t: None) for _ in range(35)))
        assert database.commits == 4


async def test_failing_function_undoes_only_itself_and_gives_its_numbers_back(database: Database) -> None:
    """A function that raises leaves nothing; the ones beside it are kept and the journal has no gap (P28)."""

    def refused(transaction: Transaction) -> None:
        put(transaction, "bad", "x")
        put(transaction, "worse", "x")
        raise AlreadyExists("taken")

    first, second, third = await asyncio.gather(
        database.write(putting("one")),
        database.write(refused),
        database.write(putting("two")),
        return_exceptions=True,
    )
    assert (first, third) == (1, 2)
    assert isinstance(second, AlreadyExists)
    assert await database.read(keys) == ["one", "two"]
    assert await database.read(journal_numbers) == [1, 2]


async def test_a_change_without_a_name_is_refused_where_faults_are_injected(tmp_path: Path, feed: Feed) -> None:
    """A commit that no fault could be injected at leaves nothing; the ones beside it, named or empty, are kept."""

    def named(transaction: Transaction) -> int:
        transaction.transition("things.named")
        return put(transaction, "named", "x")

    def made(transaction: Transaction) -> None:
        create_things(transaction)
        transaction.transition("things.made")

    heard: list[str] = []
    path = tmp_path / "named.db"
    async with await Database.open(path, None, feed, FakeClock(), transition_hook=heard.append) as database:
        await database.write(made)
        waiting = (
            named,
            putting("unnamed"),
            keys_of,
            lambda t: t.put("INSERT INTO thing VALUES (?, ?, ?)", ("a",) * 3),
        )
        answers = await asyncio.gather(*(database.write(one) for one in waiting), return_exceptions=True)
        assert [type(answer) for answer in answers] == [int, InternalError, list, InternalError]
        assert await database.read(keys) == ["named"]
    assert heard == ["things.made", "things.named"]


def keys_of(transaction: Transaction) -> list[str]:
    """Return the keys of all things, and change nothing."""
    return keys(transaction.connection)


async def test_refusal_waits_for_the_commit(fragile: Database, commit: FailingCommit) -> None:
    """A refusal that was read from uncommitted data is not answered when that data is lost (P28)."""
    commit.mode = "fails before"

    def create(transaction: Transaction) -> None:
        if transaction.execute("SELECT 1 FROM thing WHERE key = 'name'").fetchone():
            raise AlreadyExists("name is taken")
        put(transaction, "name", "x")

    answers = await asyncio.gather(fragile.write(create), fragile.write(create), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    commit.mode = "works"
    await fragile.write(create)
    assert await fragile.read(keys) == ["name"]


async def test_failed_commit_is_unavailable_to_all_and_the_writer_recovers(
    fragile: Database, commit: FailingCommit
) -> None:
    """Everybody in a failed commit is told that the outcome is unknown, caches are dropped, the next commit works."""
    dropped: list[str] = []
    fragile.on_reopen(lambda: dropped.append("caches"))
    commit.mode = "fails before"
    answers = await asyncio.gather(
        *(fragile.write(putting(f"k{i}")) for i in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(answer, Unavailable) and "unknown" in answer.message for answer in answers)
    assert dropped == ["caches"]
    commit.mode = "works"
    assert await fragile.write(putting("after")) == 1
    assert await fragile.read(keys) == ["after"]


async def test_commit_that_was_durable_after_all_is_published(
    fragile: Database, commit: FailingCommit, feed: Feed
) -> None:
    """When COMMIT reports a failure though it was durable, the journal is believed and the feed has no gap."""
    commit.mode = "fails after"
    with pytest.raises(Unavailable):
        await fragile.write(putting("there"))
    assert (fragile.sequence, feed.head) == (1, 1)
    commit.mode = "works"
    assert await fragile.write(putting("next")) == 2
    assert feed.head == 2


@pytest.mark.parametrize("news", [True, False], ids=["news", "no news"])
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "lost"])
async def test_memory_follows_a_commit_that_failed_and_was_durable(
    fragile: Database, commit: FailingCommit, *, news: bool, durable: bool
) -> None:
    """What must follow a commit happens if it is found durable, once, after caches are dropped; never if it is lost."""
    happened: list[str] = []
    fragile.on_reopen(lambda: happened.append("caches"))
    commit.mode = "fails after" if durable else "fails before"
    change = putting("doubt") if news else insert_quietly("doubt")
    with pytest.raises(Unavailable):
        await fragile.write(change, after=lambda _: happened.append("followed"))
    assert happened == (["caches", "followed"] if durable else ["caches"])
    commit.mode = "works"
    await fragile.write(insert_quietly("next"), after=lambda _: happened.append("next"))
    assert happened[-1] == "next"
    assert happened.count("followed") == int(durable)
    assert await fragile.read(keys) == (["doubt", "next"] if durable else ["next"])


async def test_memory_follows_when_the_database_can_be_opened_again(
    fragile: Database, commit: FailingCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it cannot be opened after the failed commit, what must follow waits until it can, and comes first then."""
    happened: list[str] = []
    commit.mode = "fails after"
    with monkeypatch.context() as broken:
        broken.setattr(SqliteThread, "open", classmethod(_no_file))
        with pytest.raises(Unavailable):
            await fragile.write(putting("doubt"), after=lambda _: happened.append("doubt"))
        assert happened == []
    commit.mode = "works"
    await fragile.write(putting("next"), after=lambda _: happened.append("next"))
    assert happened == ["doubt", "next"]


async def _no_file(_class: type[SqliteThread], _path: Path, *, writer: bool) -> SqliteThread:
    raise sqlite3.OperationalError("unable to open database file")


def insert_quietly(key: str) -> Callable[[Transaction], object]:
    """Return a function that inserts a thing of which the feed tells nothing."""
    return lambda transaction: transaction.execute("INSERT INTO thing VALUES (?, ?, ?)", ("a", key, b"x"))


async def test_after_runs_behind_the_commit_even_if_the_caller_has_left(database: Database) -> None:
    """Memory is changed after the commit, also when the caller was cancelled while it waited (P30)."""
    memory: list[int] = []
    caller = asyncio.ensure_future(database.write(putting("kept"), after=memory.append))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await database.write(lambda t: None)
    assert memory == [1]
    assert await database.read(keys) == ["kept"]


async def test_after_is_not_called_for_what_failed(fragile: Database, commit: FailingCommit) -> None:
    """Neither a refused function nor a lost commit changes memory."""
    memory: list[int] = []

    def refused(transaction: Transaction) -> int:
        raise AlreadyExists("taken")

    with pytest.raises(AlreadyExists):
        await fragile.write(refused, after=memory.append)
    commit.mode = "fails before"
    with pytest.raises(Unavailable):
        await fragile.write(putting("lost"), after=memory.append)
    assert memory == []


async def test_transitions_are_named_after_their_commit(tmp_path: Path, clock: FakeClock) -> None:
    """The hook hears the names of durable transitions only, in order, before the caller is answered."""
    heard: list[str] = []

    def refused(transaction: Transaction) -> None:
        transaction.transition("jobs.never")
        raise AlreadyExists("taken")

    async with await Database.open(tmp_path / "t.db", None, None, clock, transition_hook=heard.append) as database:
        await asyncio.gather(
            database.write(lambda t: t.transition("jobs.C1")),
            database.write(refused),
            database.write(lambda t: t.transition("jobs.C2")),
            return_exceptions=True,
        )
    assert heard == ["jobs.C1", "jobs.C2"]


async def test_second_opener_is_refused_with_the_path(database: Database) -> None:
    """A database that is open is refused to everybody else, and the error names the path and the process."""
    with pytest.raises(WrongState) as refusal:
        await Database.open(database.path)
    assert str(database.path) in refusal.value.message
    assert str(os.getpid()) in refusal.value.message


async def test_database_remembers_sequence_identity_and_time(tmp_path: Path, clock: FakeClock) -> None:
    """The numbering, the identity and the last wall time survive a restart."""
    path = tmp_path / "again.db"
    async with await Database.open(path, None, None, clock) as database:
        await database.write(create_things)
        await database.write(putting("k"))
        identity = database.identity
    async with await Database.open(path, None, None, clock) as database:
        assert (database.sequence, database.identity, database.incarnation) == (1, identity, 1)
        assert database.last_time == clock.now()
        assert await database.write(putting("l")) == 2
    assert raise_incarnation(path) == 2
    async with await Database.open(path, None, None, clock) as database:
        assert database.incarnation == 2


def put_quietly(transaction: Transaction) -> None:
    """Store a thing without any news, as a ledger does."""
    transaction.execute("INSERT INTO thing VALUES ('a', 'k', 'x')")


@pytest.mark.parametrize("change", [putting("k"), put_quietly], ids=["news", "quiet"])
async def test_a_clock_that_was_set_back_goes_on_from_the_last_commit(
    tmp_path: Path, clock: FakeClock, change: Callable[[Transaction], object]
) -> None:
    """Between two lives of a service the machine's clock is set back: no time that it writes is earlier (P33)."""
    path = tmp_path / "again.db"
    async with await Database.open(path, None, None, clock) as database:
        assert database.last_time is None
        await database.write(create_things)
        clock.advance(60.0)
        await database.write(change)
        last = clock.now()
    earlier = FakeClock(last - timedelta(hours=1))
    async with await Database.open(path, None, None, earlier) as database:
        assert database.last_time == earlier.now() == last
    later = FakeClock(last + timedelta(hours=1))
    async with await Database.open(path, None, None, later):
        assert later.now() == last + timedelta(hours=1)


async def test_write_after_close_is_unavailable(tmp_path: Path) -> None:
    """A database that is closing commits what waits and takes nothing new."""
    database = await Database.open(tmp_path / "c.db")
    await database.write(create_things)
    waiting = asyncio.ensure_future(database.write(putting("k")))
    await asyncio.sleep(0)
    await database.close()
    assert await waiting == 1
    with pytest.raises(Unavailable):
        await database.write(lambda t: None)
    with pytest.raises(Unavailable):
        await database.read(keys)


async def test_read_sees_one_snapshot_and_cannot_write(database: Database) -> None:
    """The reader has a connection of its own that refuses to write."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(lambda c: c.execute("DELETE FROM thing"))
    assert await database.read(keys) == []


async def test_journal_is_kept_to_its_length(tmp_path: Path, clock: FakeClock) -> None:
    """Old entries are forgotten in steps, and `oldest` says from where."""
    async with await Database.open(tmp_path / "j.db", None, None, clock, journal_keep=16) as database:
        await database.write(create_things)
        for number in range(40):
            await database.write(putting(f"k{number}"))
        numbers = await database.read(journal_numbers)
        assert numbers == list(range(database.oldest, 41))
        assert 16 <= len(numbers) <= 18


async def test_what_is_not_a_database_is_unavailable_with_its_path(tmp_path: Path) -> None:
    """A file that is no database is refused with its path, and the lock is given back."""
    path = tmp_path / "noise.db"
    path.write_bytes(os.urandom(8192))
    with pytest.raises(Unavailable, match=r"noise\.db"):
        await Database.open(path)
    path.unlink()
    async with await Database.open(path) as database:
        assert database.sequence == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of two megabytes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_full_disk_is_unavailable_and_nothing_acknowledged_is_lost(tiny_disk: Path) -> None:
    """On a disk that is really full writes are refused, what was acknowledged stays, and room lets it go on (R12)."""
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 600_000)
    acknowledged: list[str] = []
    async with await Database.open(tiny_disk / "full.db", None, Feed("things")) as database:
        await database.write(create_things)
        refusal: Unavailable | None = None
        while refusal is None:
            key = f"{len(acknowledged):03}"
            try:
                await database.write(putting(key, "x" * 20_000))
                acknowledged.append(key)
            except Unavailable as error:
                refusal = error
        assert acknowledged
        ballast.unlink()
        await database.write(putting("room"))
        assert await database.read(keys) == [*acknowledged, "room"]


def _migration(number: int, text: str) -> Migration:
    return Migration(scope="tests", number=number, name=f"{number:04}_x.sql", after=False, text=text)


def test_migrations_run_once_in_order() -> None:
    """Each migration is applied once; statements with triggers stay whole."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    one = _migration(
        1, "CREATE TABLE a (x);\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM a;\nEND;\n-- end\n"
    )
    two = _migration(2, "ALTER TABLE a ADD COLUMN y;")
    assert migrate(connection, (one,)) == 1
    assert migrate(connection, (one, two)) == 1
    assert migrate(connection, (one, two)) == 0
    connection.close()


def test_changed_or_newer_migrations_are_refused() -> None:
    """A file that differs from what was applied is DATA_LOSS; a database of a newer release is WRONG_STATE."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    one, two = _migration(1, "CREATE TABLE a (x);"), _migration(2, "CREATE TABLE b (x);")
    migrate(connection, (one, two))
    with pytest.raises(DataLoss):
        migrate(connection, (_migration(1, "CREATE TABLE a (y);"), two))
    with pytest.raises(WrongState):
        migrate(connection, (one,))
    connection.close()


def test_failing_migration_leaves_nothing() -> None:
    """A migration is all or nothing."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (_migration(1, "CREATE TABLE a (x);\nCREATE TABLE a (x);"),))
    with pytest.raises(InternalError):
        migrate(connection, (_migration(1, "CREATE TABLE a (x)"),))
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'a'").fetchone() == (0,)
    connection.close()


def journal_numbers(connection: sqlite3.Connection) -> list[int]:
    """Return the sequences of the journal."""
    return [number for (number,) in connection.execute("SELECT sequence FROM journal ORDER BY sequence")]


async def test_observer_is_told_of_every_commit_with_its_size(tmp_path: Path, clock: FakeClock) -> None:
    """Proves that changes which share a commit are told as one, with the time, and a failed commit without one."""
    told: list[tuple[int, float | None]] = []
    failing = False

    def commit(connection: sqlite3.Connection) -> None:
        if failing:
            raise sqlite3.OperationalError("the disk is full")
        connection.execute("COMMIT")

    async with await Database.open(tmp_path / "t.db", None, None, clock, commit_hook=commit) as database:
        database.observer = lambda size, seconds: told.append((size, seconds))
        await database.write(create_things)
        await asyncio.gather(*(database.write(putting(f"k{number}")) for number in range(20)))
        assert sum(size for size, _ in told) == 21
        assert len(told) == database.commits < 21
        assert all(seconds is not None and seconds > 0 for _, seconds in told)
        failing = True
        with pytest.raises(Unavailable):
            await database.write(putting("lost"))
        assert told[-1] == (1, None)
