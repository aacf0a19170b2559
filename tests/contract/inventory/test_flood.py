"""Floods of events: folded per type and object, counted exactly once each, over restarts, and told to watchers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.contract.inventory.served import Served
from tests.contract.inventory.test_acknowledging import CHANGED, acknowledged, raised
from tests.contract.inventory.test_event_watch import BOOKMARK, Frames
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import event_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.event_changes import acknowledge
from virtyard.inventory.flood import KEYS_KEPT, FloodRule, forget_folds, keep_rule
from virtyard.inventory.model import Query
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel import event_types
from virtyard.runtime.database import Database, Transaction


async def failed(store: SqliteStore, *keys: str, subject: str = "servers/s", operation: str = "") -> None:
    """Raise a failure for each key."""
    event = event_types.new_event(event_types.JOB_FAILED, subject, "failed", operation=operation)
    await store.raise_events([control_service_pb2.KeyedEvent(key=key, event=event) for key in keys])


async def recorded(store: SqliteStore, text: str = "type = JOB_FAILED") -> list[event_pb2.Event]:
    """Return the events that match, the oldest first."""
    page = await store.list(Query(collection="events", size=1000, filter=text, order_by="name"))
    return list(page.items)


@pytest.fixture
async def few(database: Database) -> None:
    """Record three events of a sort within ten seconds, and fold the others."""
    await keep_rule(database, FloodRule(events=3, seconds=10.0))


@pytest.mark.usefixtures("few")
async def test_a_flood_is_counted_in_one_event(store: SqliteStore, clock: FakeClock) -> None:
    """The first few are recorded each; those that follow are counted in the last of them, and another one tells so."""
    begin = clock.now()
    for number in range(20):
        await failed(store, str(number))
        clock.advance(1)
    events = await recorded(store)
    assert [event.count for event in events] == [1, 1, 18]
    assert events[-1].first_time == events[-1].create_time
    assert events[-1].last_time.ToDatetime(begin.tzinfo) == begin + timedelta(seconds=19)
    (told,) = await recorded(store, "type = FLOOD_FOLDED")
    assert events[-1].name in told.message
    # Of another object, and of another type, everything is recorded.
    await failed(store, "other", subject="servers/t")
    assert len(await recorded(store, "object = servers/t")) == 1


@pytest.mark.usefixtures("few")
async def test_an_event_is_counted_once_however_often_it_is_raised(store: SqliteStore, clock: FakeClock) -> None:
    """Who raises them does not know what came of its call, and raises all of them again; so does a restarted one."""
    keys = [str(number) for number in range(8)]
    for _ in range(3):
        await failed(store, *keys)
    assert sum(event.count for event in await recorded(store)) == 8
    again = SqliteStore(store._database, clock)
    await failed(again, *keys, "8")
    assert sum(event.count for event in await recorded(store)) == 9


@pytest.mark.usefixtures("few")
async def test_a_flood_is_over_when_none_came_for_its_time(store: SqliteStore, clock: FakeClock) -> None:
    """What comes then is recorded again, and a steady trickle below the rule is never folded."""
    await failed(store, *"abcde")
    clock.advance(11)
    await failed(store, "f")
    assert [event.count for event in await recorded(store)] == [1, 1, 3, 1]
    for number in range(6):
        clock.advance(5)
        await failed(store, f"slow{number}")
    assert [event.count for event in await recorded(store)][4:] == [1] * 6


@pytest.mark.usefixtures("few")
async def test_what_comes_after_an_acknowledgement_is_open(store: SqliteStore, clock: FakeClock) -> None:
    """Nobody has seen it: it is an event of its own, into which the flood goes on."""
    await failed(store, *"abcde")
    name = (await recorded(store))[-1].name
    now = clock.now()

    def run(transaction: Transaction) -> event_pb2.Event:
        transaction.transition("test")
        return acknowledge(transaction, name, by="user/operator", comment="", forced=False, now=now)

    await store._database.write(run)
    await failed(store, *"fgh")
    events = await recorded(store)
    assert [(event.count, event.open) for event in events] == [(1, True), (1, True), (3, False), (3, True)]


@pytest.mark.usefixtures("few")
async def test_what_is_cleared_and_comes_again_is_open_again(store: SqliteStore) -> None:
    """A server that goes and comes all the time leaves a few events with a count, of which the last says how it is."""
    for number in range(10):
        for kind in (event_types.SERVER_OFFLINE, event_types.SERVER_ONLINE):
            event = event_types.new_event(kind, "servers/s", "so it is")
            await store.raise_events([control_service_pb2.KeyedEvent(key=f"{kind.name}{number}", event=event)])
    offline, online = await recorded(store, "type = SERVER_OFFLINE"), await recorded(store, "type = SERVER_ONLINE")
    assert [event.count for event in offline] == [event.count for event in online] == [1, 1, 8]
    assert [event.open for event in offline] == [False] * 3
    assert offline[-1].cleared_by == online[-1].name
    event = event_types.new_event(event_types.SERVER_OFFLINE, "servers/s", "so it is")
    await store.raise_events([control_service_pb2.KeyedEvent(key="last", event=event)])
    last = (await recorded(store, "type = SERVER_OFFLINE"))[-1]
    assert (last.count, last.open, last.cleared, last.cleared_by) == (9, True, False, "")


@pytest.mark.usefixtures("few")
async def test_conditions_of_operations_are_folded_within_their_operation(store: SqliteStore) -> None:
    """Each ends with its own operation; one event for several would be cleared while another still holds."""
    for number in range(6):
        event = event_types.new_event(
            event_types.ROLLBACK_FAILED, "servers/s", "stuck", operation=f"operations/{number}"
        )
        await store.raise_events([control_service_pb2.KeyedEvent(key=str(number), event=event)])
    assert [event.count for event in await recorded(store, "type = ROLLBACK_FAILED")] == [1] * 6


@pytest.mark.usefixtures("few")
async def test_keys_of_folded_events_are_forgotten_in_time(
    store: SqliteStore, database: Database, clock: FakeClock
) -> None:
    """Those of folded events take no space for ever."""
    await failed(store, *"abcde")

    async def kept() -> int:
        rows = await database.read(lambda connection: connection.execute("SELECT count(*) FROM event_fold").fetchall())
        return int(rows[0][0])

    await forget_folds(database, clock.now())
    assert await kept() == 2
    await forget_folds(database, clock.now() + KEYS_KEPT + timedelta(seconds=1))
    assert await kept() == 0


async def test_watchers_see_each_count(served: Served) -> None:
    """A folded event is a change of the one that it is counted in, also by a token of before; then what follows."""
    watch = Frames(served)
    token = (await watch.until(BOOKMARK))[-1].resume_token
    for number in range(12):
        await raised(served, event_types.JOB_FAILED, "servers/s", str(number))
    # Ten events, then a count with its note, and another count.
    frames = await watch.take(13)
    assert {frame.kind for frame in frames} == {CHANGED}
    counts = [(frame.event.count, frame.revised) for frame in frames if frame.event.type == "JOB_FAILED"]
    assert counts == [(1, False)] * 10 + [(2, True), (3, True)]
    done = await acknowledged(served, frames[-1].name)
    assert (await watch.next()).event == done
    again = await Frames(served, token=token).take(14)
    assert again[:13] == frames
