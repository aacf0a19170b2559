"""The lock store over random histories: the database, the table and the feed tell the same at every point."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.clock import FakeClock
from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.jobs.lock_control_rpc import LONGEST
from virtyard.kernel.errors import OwnerClosed, Unavailable
from virtyard.kernel.lock_modes import MODES
from virtyard.locks import queries, wire
from virtyard.locks.model import ClaimedLock, LockSet, LockWish, Release
from virtyard.locks.store import PEOPLE_REMEMBERED, LockStore, snapshot
from virtyard.locks.table import LockTable
from virtyard.runtime.database import Database
from virtyard.runtime.floor import FLOOR_BATCH, Floors

owners = st.sampled_from(["locks/ann", *(f"operations/{number}" for number in range(6))])
objects = st.sampled_from(["pool", "vm1", "vm2", "disk"])
wishes = st.builds(LockWish, object=objects, mode=st.sampled_from(MODES), job=st.sampled_from(["", "jobs/1"]))
lock_sets = st.builds(
    LockSet,
    owner=owners,
    epoch=st.integers(1, 2),
    locks=st.lists(wishes, min_size=1, max_size=3).map(tuple),
    priority=st.integers(-1, 1),
    purpose=st.sampled_from(["", "work"]),
    round=st.sampled_from([0, 0, 1]),
    under=st.sampled_from(["", "", "", "locks/ann"]),
)
keeps = st.none() | st.dictionaries(objects, st.sampled_from(MODES), max_size=2)
releases = st.builds(Release, owner=owners, epoch=st.integers(1, 2), keep=keeps)
batches = st.lists(st.lists(lock_sets | releases, min_size=1, max_size=4), min_size=1, max_size=8)
outcomes = st.sampled_from(["durable", "durable", "lost", "durable but unknown"])


def shown(connection: sqlite3.Connection) -> dict[str, tuple[int, int, str]]:
    """Return what the last entries of the journal say of each lock."""
    last: dict[str, tuple[int, bytes]] = {}
    for key, removed, body in connection.execute("SELECT key, removed, body FROM journal ORDER BY sequence"):
        last[key] = (removed, body)
    locks = {key: pb.Lock.FromString(body) for key, (removed, body) in last.items() if not removed}
    return {key: (lock.mode, lock.fencing_token, lock.job) for key, lock in locks.items()}


def known(table: LockTable) -> dict[str, ClaimedLock]:
    """Return what the table says of each lock."""
    return {f"{lock.object}|{claim.owner}": lock for claim in table.claims() for lock in claim.locks}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.tuples(st.lists(lock_sets | releases, min_size=1, max_size=4), outcomes), max_size=8))
def test_memory_database_and_feed_agree_whatever_becomes_of_a_commit(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[LockSet | Release], str]]
) -> None:
    """After every batch, also one whose commit failed, all three tell the same, and no token is given twice."""
    asyncio.run(play(tmp_path_factory.mktemp("locks"), history))


async def play(folder: Path, history: list[tuple[list[LockSet | Release], str]]) -> None:
    """Play a history and compare after each batch."""
    fate = "durable"

    def commit(connection: sqlite3.Connection) -> None:
        if fate != "lost":
            connection.execute("COMMIT")
        if fate != "durable":
            raise sqlite3.OperationalError("disk I/O error")

    given_out: dict[int, str] = {}
    path = folder / "locks.db"
    async with await Database.open(
        path, "virtyard.locks.migrations", None, FakeClock(), commit_hook=commit
    ) as database:
        store = LockStore(database, FakeClock())
        for commands, outcome in history:
            fate = outcome
            try:
                await store.carry_out(commands)
                assert outcome == "durable"
            except Unavailable:
                assert outcome != "durable"
            fate = "durable"
            table = await store.table()
            fresh = await LockStore(database, FakeClock()).table()
            assert sorted(map(repr, table.claims())) == sorted(map(repr, fresh.claims()))
            assert (table.arrivals, table.tokens) == (fresh.arrivals, fresh.tokens)
            locks = known(table)
            assert await database.read(shown) == {
                key: (int(lock.mode), lock.token, lock.job) for key, lock in locks.items()
            }
            listed = await database.read(lambda connection: list(snapshot(connection, "lock", "", 0)))
            assert [key for key, _ in listed] == sorted(locks)
            views = [wire.lock_view(pb.Lock.FromString(body)) for _, body in listed]
            assert all((view.position > 0) == (view.granted is None) for view in views)
            for key, lock in locks.items():
                if lock.token:
                    assert given_out.setdefault(lock.token, key) == key


async def test_the_database_itself_refuses_a_second_exclusive_holder(tmp_path: Path) -> None:
    """The second line behind the table: a defect there cannot become durable."""
    async with await Database.open(tmp_path / "locks.db", "virtyard.locks.migrations") as database:
        store = LockStore(database, FakeClock())
        for owner in ("a", "b"):
            await store.carry_out([LockSet(owner=owner, epoch=1, locks=(LockWish(object=owner, mode=MODES[-1]),))])
        with pytest.raises(sqlite3.IntegrityError):
            await database.write(lambda transaction: transaction.execute("UPDATE lock SET object = 'a'"))


@pytest.mark.parametrize("check", [True, False])
async def test_an_operation_below_the_floor_is_closed_without_a_tombstone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    """Its tombstone is forgotten, and its late request refused for ever; without the check it is granted."""
    if not check:
        monkeypatch.setattr("virtyard.locks.store.is_settled", lambda *_: False)
    late = LockSet(owner="operations/7#rollback", epoch=1, locks=(LockWish(object="vm", mode=MODES[-1]),))
    async with await Database.open(tmp_path / "locks.db", "virtyard.locks.migrations") as database:
        store = LockStore(database, FakeClock())
        closed = [Release(owner=owner, epoch=2) for owner in (late.owner, "operations/8", "users/ann", "operations/9")]
        await store.carry_out(closed)
        await store.floor.raise_to(Floors(settled_below=9))
        left = await database.read(lambda sql: sql.execute("SELECT owner FROM tombstone ORDER BY owner").fetchall())
        assert left == [("operations/9",), ("users/ann",)]
        (refusal,) = (await store.carry_out([late])).refusals
        assert isinstance(refusal, OwnerClosed) == check
        (refusal,) = (await store.carry_out([Release(owner="operations/8", epoch=2)])).refusals
        assert refusal is None
    async with await Database.open(tmp_path / "locks.db", "virtyard.locks.migrations") as database:
        store = LockStore(database, FakeClock())
        await store.floor.open()
        assert store.floor.settled_below == 9


async def buried(database: Database) -> list[str]:
    """Return the closed owners that are remembered."""
    rows = await database.read(lambda sql: sql.execute("SELECT owner FROM tombstone ORDER BY owner").fetchall())
    return [owner for (owner,) in rows]


@pytest.mark.parametrize("by_floor", [True, False])
async def test_closed_locks_of_people_are_forgotten_by_age(tmp_path: Path, by_floor: bool) -> None:
    """With the end of another one, or as operations end; till then a late request is refused."""
    late = LockSet(owner="locks/ann", epoch=1, locks=(LockWish(object="vm", mode=MODES[-1]),))
    assert PEOPLE_REMEMBERED > LONGEST, "by then its holder knows that its time is over"
    clock = FakeClock()
    async with await Database.open(tmp_path / "locks.db", "virtyard.locks.migrations") as database:
        store = LockStore(database, clock)
        await store.carry_out([late, Release(owner="locks/ann", epoch=1), Release(owner="operations/7", epoch=1)])

        async def forget(number: int) -> None:
            if by_floor:
                await store.floor.raise_to(Floors(settled_below=number))
            else:
                await store.carry_out([Release(owner=f"locks/{number}", epoch=1)])

        clock.advance(PEOPLE_REMEMBERED.total_seconds())
        await forget(2)
        assert "locks/ann" in await buried(database)
        (refusal,) = (await store.carry_out([late])).refusals
        assert isinstance(refusal, OwnerClosed)
        clock.advance(1.0)
        await forget(3)
        assert await buried(database) == (["operations/7"] if by_floor else ["locks/2", "locks/3", "operations/7"])


async def test_closed_locks_of_people_are_found_by_their_age(tmp_path: Path) -> None:
    """Each one that ends looks for old ones, however many there are that are not old."""
    async with await Database.open(tmp_path / "locks.db", "virtyard.locks.migrations") as database:
        explain = f"EXPLAIN QUERY PLAN {queries.FORGET_PEOPLES_TOMBSTONES}"
        plan = await database.read(lambda sql: [row[3] for row in sql.execute(explain, (1, 1))])
    assert "SEARCH tombstone USING COVERING INDEX tombstone_of_people (closed<?)" in plan


async def test_many_closed_locks_of_people_are_forgotten_batch_by_batch(tmp_path: Path) -> None:
    """No commit becomes long by it, and none is left."""
    clock = FakeClock()
    async with await Database.open(tmp_path / "locks.db", "virtyard.locks.migrations") as database:
        store = LockStore(database, clock)
        await store.carry_out([Release(owner=f"locks/{number}", epoch=1) for number in range(FLOOR_BATCH + 3)])
        clock.advance(PEOPLE_REMEMBERED.total_seconds() + 1.0)
        await store.carry_out([Release(owner="locks/last", epoch=1)])
        assert len(await buried(database)) == 4
        await store.carry_out([Release(owner="locks/later", epoch=1)])
        assert await buried(database) == ["locks/last", "locks/later"]
