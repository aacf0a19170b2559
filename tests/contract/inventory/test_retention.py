"""Retention: old and surplus events leave the live log a little at a time, and warnings apart from the rest."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contract.inventory.samples import create, effect, pool
from tests.contract.inventory.test_life import events
from tests.fakes.clock import FakeClock
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory import retention
from virtyard.inventory.main import open_inventory
from virtyard.inventory.retention import EVENT_RETENTION, Keep, Retention, archive_some
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel import event_types
from virtyard.runtime.database import Database

DAYS = timedelta(days=1)


async def fill(store: SqliteStore, clock: FakeClock, days: int) -> None:
    """Record one usual event and one warning a day."""
    for number in range(1, days + 1):
        await store.execute([effect(f"{number}/1/1", create(pool(f"p{number}")))])
        failed = event_types.new_event(event_types.JOB_FAILED, f"serverPools/p{number}", "failed")
        await store.raise_events([control_service_pb2.KeyedEvent(key=str(number), event=failed)])
        clock.advance(DAYS.total_seconds())


async def kept(store: SqliteStore, kind: str) -> str:
    """Return the numbers of the pools whose events of a type are kept, in order."""
    return "".join(event.object.removeprefix("serverPools/p") for event in await events(store, f"type = {kind}"))


@pytest.mark.parametrize(
    ("keep", "rest"),
    [
        (Keep(age=timedelta(days=3.5), count=100), "789"),
        (Keep(age=100 * DAYS, count=4), "6789"),
        (Keep(age=timedelta(days=3.5), count=2), "89"),
        (Keep(age=100 * DAYS, count=100), "123456789"),
    ],
)
@pytest.mark.parametrize("grave", [False, True])
async def test_age_and_number_are_kept_to(
    store: SqliteStore, database: Database, clock: FakeClock, keep: Keep, rest: str, *, grave: bool
) -> None:
    """Whichever is exceeded, the oldest go; events of the other sort stay whatever their age and number."""
    await fill(store, clock, 9)
    assert not await archive_some(database, clock.now(), keep, grave=grave)
    leaving, other = ("JOB_FAILED", "OBJECT_CREATED") if grave else ("OBJECT_CREATED", "JOB_FAILED")
    assert await kept(store, leaving) == rest
    assert await kept(store, other) == "123456789"


async def test_much_is_archived_in_batches(
    store: SqliteStore, database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit moves a batch and no more; the task comes back for the rest, and for nothing once that is done."""
    monkeypatch.setattr(retention, "_BATCH", 4)
    monkeypatch.setattr(retention, "_PAUSE", 0.0)
    await fill(store, clock, 9)
    nothing = Keep(age=timedelta(0), count=0)
    left = []
    more = True
    while more:
        more = await archive_some(database, clock.now(), nothing, grave=False)
        left.append(await kept(store, "OBJECT_CREATED"))
    assert left == ["56789", "9", ""]
    commits = database.commits
    assert not await archive_some(database, clock.now(), nothing, grave=False)
    assert database.commits == commits


async def test_watchers_are_told_nothing_of_it(store: SqliteStore, database: Database, clock: FakeClock) -> None:
    """Archiving is no news: the feed stands where it stood."""
    await fill(store, clock, 3)
    head = database.sequence
    await archive_some(database, clock.now(), Keep(age=timedelta(0), count=0), grave=True)
    assert database.sequence == head


async def test_a_running_inventory_archives_and_forgets_by_itself(tmp_path: Path, clock: FakeClock) -> None:
    """The task runs from the start, without anybody asking."""
    nothing = Keep(age=timedelta(0), count=0)
    async with await Database.open(tmp_path / "inventory.db", "virtyard.inventory.migrations", clock=clock) as database:
        await fill(SqliteStore(database, clock), clock, 3)
    short = Retention(usual=nothing, grave=nothing, archive=nothing, interval=0.01)
    async with open_inventory(tmp_path, clock, retention=short) as inventory:
        store = SqliteStore(inventory.database, clock)
        async with asyncio.timeout(5):
            while await events(store) or [event async for event in store.export_events("")]:
                await asyncio.sleep(0.01)


def test_documentation_names_what_is_kept() -> None:
    """The numbers in the documentation are those of the code."""
    text = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")
    assert EVENT_RETENTION.usual.age == 90 * DAYS
    assert EVENT_RETENTION.grave.age == 365 * DAYS
    assert EVENT_RETENTION.archive.age == 3 * 365 * DAYS
    assert f"three years and {EVENT_RETENTION.archive.count:,} of each" in text
    assert f"90 days and {EVENT_RETENTION.usual.count:,}, a year and {EVENT_RETENTION.grave.count:,}" in text
