"""The log of events as it is read: filters find their events by an index, pages go on, counts are exact."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from tests.contract.inventory.samples import create, effect, pool, update
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import event_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory import event_log
from virtyard.inventory.event_log import narrow, read_events
from virtyard.inventory.events import fill_columns, unfilled
from virtyard.inventory.listing import parse_place
from virtyard.inventory.model import Query
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel import event_types
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.database import Database

FILTERS = (
    "",
    'object = "serverPools/p1"',
    "type = OBJECT_CHANGED",
    "severity >= WARNING",
    "severity > INFORMATIONAL AND type = JOB_FAILED",
    "severity = INFORMATIONAL",
    "severity < WARNING AND object != serverPools/p2",
    "operation = operations/3",
    "operation = operations/3 AND type = OBJECT_CREATED",
    'operation = "" AND severity >= WARNING',
    "object = serverPools/p1 OR object = serverPools/p2",
    "changed_fields:description AND object = serverPools/p1",
    "NOT type = OBJECT_CREATED",
    "p1",
    "events/1",
)


async def fill(store: SqliteStore, clock: FakeClock) -> None:
    """Record events of several objects, operations, types and times, a minute apart."""
    for number in range(1, 7):
        changed = pool(f"p{number % 4}")
        changed.description = str(number)
        name = f"serverPools/p{number % 4}"
        write = create(changed) if number < 4 or number == 4 else update(changed, "description")
        await store.execute([effect(f"{number}/1/1", write, token=number)])
        failed = event_types.new_event(event_types.JOB_FAILED, name, "failed", operation=f"operations/{number}")
        silent = event_types.new_event(event_types.SERVER_OFFLINE, "servers/s", "silent")
        await store.raise_events(
            [
                control_service_pb2.KeyedEvent(key=f"{number}/failed", event=failed),
                control_service_pb2.KeyedEvent(key=f"{number}/silent", event=silent),
            ]
        )
        clock.advance(60)


async def listed(store: SqliteStore, text: str, size: int = 1000, order: str = "") -> list[event_pb2.Event]:
    """Return every event that a filter matches, read page by page."""
    found: list[event_pb2.Event] = []
    token = ""
    while True:
        page = await store.list(Query(collection="events", size=size, filter=text, page_token=token, order_by=order))
        found += page.items
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_a_filter_finds_what_it_says_whatever_index_is_used(
    store: SqliteStore, clock: FakeClock, text: str, size: int
) -> None:
    """Each filtered list is what the filter picks of the whole one, in both directions, and so is its count."""
    await fill(store, clock)
    matches = compile_filter(text, event_pb2.Event.DESCRIPTOR)
    wanted = [event for event in await listed(store, "") if matches(event)]
    assert wanted, "a filter that matches nothing would prove nothing"
    assert await listed(store, text, size) == wanted
    assert await listed(store, text, size, "create_time") == wanted[::-1]
    counted: dict[tuple[str, int], int] = {}
    for event in wanted:
        counted[event.type, event.severity] = counted.get((event.type, event.severity), 0) + 1
    assert await store.count_events(text) == counted


@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 3), (2, 2), (5, 9), (0, 9)])
async def test_a_time_range_is_found(store: SqliteStore, clock: FakeClock, first: int, last: int) -> None:
    """Both ends of a range of times are kept to the second."""
    begin = clock.now()
    await fill(store, clock)
    low, high = begin + timedelta(minutes=first), begin + timedelta(minutes=last)
    text = f"create_time >= {low.isoformat()} AND create_time < {high.isoformat()}"
    wanted = [one for one in await listed(store, "") if low <= one.create_time.ToDatetime(low.tzinfo) < high]
    assert len(wanted) == 3 * (min(last, 6) - min(first, 6))
    assert await listed(store, text, 2) == wanted
    assert sum((await store.count_events(text)).values()) == len(wanted)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("operation = operations/3 AND object = serverPools/p3", "event_by_operation"),
        ("object = serverPools/p3 AND severity >= WARNING", "event_by_object"),
        ("type = JOB_FAILED", "event_by_type"),
        ("severity >= WARNING", "event_grave"),
        ("severity > INFORMATIONAL", "event_grave"),
        ("severity = CRITICAL", "event_grave"),
        ("severity > UNKNOWN", ""),
        ("severity <= WARNING", ""),
        ("", ""),
    ],
)
async def test_a_filter_uses_its_index_without_sorting(
    store: SqliteStore, database: Database, clock: FakeClock, text: str, index: str
) -> None:
    """The plan of the statement names the index and sorts nothing; what is not indexed goes by number."""
    await fill(store, clock)
    narrowed = narrow(text)
    assert narrowed.index == index

    def plan(connection: sqlite3.Connection) -> str:
        sql = (
            f"EXPLAIN QUERY PLAN SELECT number, body FROM {narrowed.source()} WHERE number BETWEEN ? AND ?"
            f"{narrowed.where} ORDER BY number DESC LIMIT ?"
        )
        return " ".join(row[3] for row in connection.execute(sql, (0, 1 << 40, *narrowed.values, 10)))

    told = await database.read(plan)
    assert (index or "PRIMARY KEY") in told
    assert "TEMP B-TREE" not in told


@pytest.mark.parametrize("text", ["", "object = servers/s", "severity >= WARNING", "type = JOB_FAILED"])
async def test_a_page_deep_inside_costs_what_the_first_one_does(
    store: SqliteStore, database: Database, text: str
) -> None:
    """A page reads its own rows alone, whatever its number."""
    keyed = [
        control_service_pb2.KeyedEvent(
            key=str(number), event=event_types.new_event(event_types.JOB_FAILED, "servers/s", "failed")
        )
        for number in range(600)
    ]
    await store.raise_events(keyed)

    def steps(connection: sqlite3.Connection, query: Query) -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        place = parse_place(query)
        connection.set_progress_handler(tick, 1)
        try:
            read_events(connection, query, place)
        finally:
            connection.set_progress_handler(None, 0)
        return count

    first = Query(collection="events", size=10, filter=text)
    query, token = first, (await store.list(first)).next_page_token
    for _ in range(50):
        query = Query(collection="events", size=10, filter=text, page_token=token)
        token = (await store.list(query)).next_page_token
    costs = [await database.read(partial(steps, query=each)) for each in (first, query)]
    assert costs[1] < 1.5 * costs[0]


async def test_a_page_ends_early_where_too_much_is_looked_at(
    store: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that no index serves gives short and empty pages with a token, and in the end all that it matches."""
    await fill(store, clock)
    text = "message:created AND (object = serverPools/p1 OR object = serverPools/p3)"
    whole = await listed(store, text)
    assert len(whole) == 2
    counted = await store.count_events(text)
    monkeypatch.setattr(event_log, "MOST_LOOKED_AT", 4)
    page = await store.list(Query(collection="events", size=10, filter=text))
    assert (list(page.items), bool(page.next_page_token)) == ([], True)
    assert await listed(store, text, 10) == whole
    assert await store.count_events(text) == counted == {("OBJECT_CREATED", event_pb2.SEVERITY_INFORMATIONAL): 2}


async def test_events_of_an_older_release_are_found_once_their_columns_are_filled(
    store: SqliteStore, database: Database, clock: FakeClock
) -> None:
    """A migrated row has its body alone; filling it makes filters find it, in batches, and nothing else changes."""
    await fill(store, clock)
    before = await listed(store, "")
    await database.write(
        lambda transaction: transaction.execute(
            "UPDATE event SET type = '', severity = 0, object = '', operation = '', time = 0"
        ).close()
    )
    text = "severity >= WARNING AND object = servers/s"
    assert not await listed(store, text)

    def batch(limit: int) -> Callable[[sqlite3.Connection], list[tuple[int, bytes]]]:
        return lambda connection: unfilled(connection, limit)

    while rows := await database.read(batch(5)):
        await database.write(partial(fill_columns, events=rows))
    assert len(await listed(store, text)) == 6
    assert await listed(store, "") == before
    until = (clock.now() - timedelta(minutes=6)).isoformat()
    assert len(await listed(store, f"create_time <= {until}")) == 3
