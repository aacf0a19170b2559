"""The life of objects in events: told with the effect that changed them, once, and taken back by its undo."""

from __future__ import annotations

from typing import Any

from tests.contract.inventory.samples import create, delete, disk, effect, machine, pool, server, undo, update
from virtyard.api.inventory.v1 import event_pb2, virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory.model import Query
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.runtime.database import Database

DONE = participant.EFFECT_STATE_DONE
_JOURNAL = "SELECT topic, key FROM journal ORDER BY sequence"


async def done(store: SqliteStore, *effects: participant.Effect) -> None:
    """Carry out effects that must succeed."""
    for record in (await store.execute(effects)).records:
        assert record.state == DONE, record


async def events(store: SqliteStore, text: str = "") -> list[event_pb2.Event]:
    """Return the events in their order."""
    page = await store.list(Query(collection="events", size=1000, filter=text, order_by="create_time"))
    return list(page.items)


async def story(store: SqliteStore, text: str = "") -> list[str]:
    """Return the events as people read them, less the operation of an undo."""
    return [f"{event.type}: {event.message}" for event in await events(store, text)]


def in_state(name: str, state: str, on: str = "") -> Any:
    """Return a machine in a state."""
    made = machine(name, on=on)
    made.state = virtual_machine_pb2.VirtualMachineState.Value(f"VIRTUAL_MACHINE_STATE_{state}")
    return made


async def test_each_change_is_told_once_with_where_it_came_from(store: SqliteStore) -> None:
    """Operation and job come from the step key; the same effect sent again tells nothing more."""
    changed = pool("p")
    changed.description, changed.labels["env"] = "new", "test"
    effects = [
        effect("12/3/1", create(pool("p"))),
        effect("13/1/1", update(changed, "description", "labels"), token=2),
        effect("14/2/1", delete("serverPools/p"), token=3),
    ]
    for _ in range(2):
        for one in effects:
            await done(store, one)
    told = await events(store)
    assert [(event.type, event.operation, event.job) for event in told] == [
        ("OBJECT_CREATED", "operations/12", "jobs/12-3"),
        ("OBJECT_CHANGED", "operations/13", "jobs/13-1"),
        ("OBJECT_DELETED", "operations/14", "jobs/14-2"),
    ]
    assert {(event.object, event.severity, event.undone) for event in told} == {
        ("serverPools/p", event_pb2.SEVERITY_INFORMATIONAL, False)
    }
    assert list(told[1].changed_fields) == ["labels", "description"]
    assert told[1].message == "serverPools/p was changed: labels, description"


async def test_events_are_part_of_the_effects_commit(store: SqliteStore, database: Database) -> None:
    """A round with events is one commit, as it is without, and events follow its objects in the feed."""
    before = database.commits
    await done(store, effect("1/1/1", create(pool("p")), create(pool("q"))), effect("1/2/1", create(machine("m"))))
    assert database.commits == before + 1
    rows = await database.read(lambda connection: connection.execute(_JOURNAL).fetchall())
    assert [topic for topic, _ in rows] == ["object"] * 3 + ["event"] * 3
    assert [event.name for event in await events(store)] == ["events/4", "events/5", "events/6"]


async def test_what_is_refused_or_changes_nothing_tells_nothing(store: SqliteStore) -> None:
    """A failed effect, one that writes what is so already, and a report leave no event."""
    await done(store, effect("1/1/1", create(pool("p")), create(server("s", memory=1 << 30))))
    refused = (await store.execute([effect("2/1/1", create(machine("m")), create(pool("p")), token=2)])).records
    assert refused[0].state == participant.EFFECT_STATE_FAILED
    await done(store, effect("3/1/1", update(pool("p"), "description", "labels"), token=3))
    assert await story(store) == [
        "OBJECT_CREATED: serverPools/p was created",
        "OBJECT_CREATED: servers/s was created",
    ]


async def test_a_machine_starts_restarts_and_stops(store: SqliteStore) -> None:
    """States in which an operation is still at work are passed over; where it runs is part of what is told."""
    await done(store, effect("1/1/1", create(in_state("m", "STOPPED"))))
    await done(store, effect("2/1/1", update(in_state("m", "STARTING", "servers/s"), "state", "server"), token=2))
    running = in_state("m", "RUNNING", "servers/s")
    running.placement.process_id = 7
    await done(store, effect("2/1/3", update(running, "state", "placement"), token=2))
    running.placement.process_id = 8
    await done(store, effect("3/1/3", update(running, "placement"), token=3))
    stopped = effect("4/1/3", update(in_state("m", "STOPPED"), "state", "server", "placement"), token=4)
    await done(store, stopped)
    await done(store, effect("5/1/1", update(in_state("m", "DELETING"), "state"), token=5))
    await done(store, effect("5/1/2", delete("virtualMachines/m"), token=5))
    assert await story(store) == [
        "OBJECT_CREATED: virtualMachines/m was created",
        "MACHINE_STARTED: virtualMachines/m runs on servers/s",
        "MACHINE_RESTARTED: virtualMachines/m was restarted on servers/s",
        "MACHINE_STOPPED: virtualMachines/m is stopped",
        "OBJECT_DELETED: virtualMachines/m was removed",
    ]


async def test_a_change_beside_a_start_is_told_beside_it(store: SqliteStore) -> None:
    """A write that starts a machine and gives it memory is both."""
    await done(store, effect("1/1/1", create(in_state("m", "STOPPED"))))
    running = in_state("m", "RUNNING", "servers/s")
    running.memory_bytes = 7
    await done(store, effect("2/1/1", update(running, "state", "server", "memory_bytes"), token=2))
    assert (await story(store))[1:] == [
        "MACHINE_STARTED: virtualMachines/m runs on servers/s",
        "OBJECT_CHANGED: virtualMachines/m was changed: memory_bytes",
    ]


async def test_servers_join_and_leave_pools(store: SqliteStore) -> None:
    """A move from pool to pool is both; the pool, whose own record stays, has no event."""
    await done(store, effect("1/1/1", create(pool("p")), create(pool("q")), create(server("s"))))
    await done(store, effect("2/1/1", update(server("s", pool="serverPools/p"), "server_pool"), token=2))
    await done(store, effect("3/1/1", update(server("s", pool="serverPools/q"), "server_pool"), token=3))
    await done(store, effect("4/1/1", update(server("s"), "server_pool"), token=4))
    assert (await story(store))[3:] == [
        "SERVER_ADDED_TO_POOL: servers/s was added to serverPools/p",
        "SERVER_REMOVED_FROM_POOL: servers/s was removed from serverPools/p",
        "SERVER_ADDED_TO_POOL: servers/s was added to serverPools/q",
        "SERVER_REMOVED_FROM_POOL: servers/s was removed from serverPools/q",
    ]


async def test_an_undo_takes_back_what_was_told(store: SqliteStore) -> None:
    """Each event of the operation is taken back by one with `undone`, the last first."""
    await done(store, effect("1/1/1", create(machine("m")), create(disk("old")), create(server("s"))))
    renamed = machine("m")
    renamed.display_name = "other"
    effects = [
        effect("2/1/1", create(pool("p"))),
        effect("2/2/1", update(renamed, "display_name"), token=2),
        effect("2/3/1", delete("virtualDisks/old"), token=2),
        effect("2/4/1", update(server("s", pool="serverPools/p"), "server_pool"), token=2),
    ]
    for one in effects:
        await done(store, one)
    for one in reversed(effects):
        await done(store, undo(one))
        await done(store, undo(one))
    because = ": operations/2 is undone"
    assert (await story(store, "operation = operations/2 AND undone = true")) == [
        f"SERVER_REMOVED_FROM_POOL: servers/s was removed from serverPools/p{because}",
        f"OBJECT_RESTORED: virtualDisks/old is back{because}",
        f"OBJECT_CHANGED: virtualMachines/m was changed: display_name{because}",
        f"OBJECT_DELETED: serverPools/p was removed again{because}",
    ]
    assert len(await events(store, "operation = operations/2 AND undone = false")) == 4


async def test_an_undo_of_another_operations_object_tells_nothing(store: SqliteStore) -> None:
    """What has been written by others since is left alone, and so nothing is told of it (P9)."""
    first = effect("1/1/1", create(pool("p")))
    await done(store, first)
    changed = pool("p")
    changed.description = "theirs"
    await done(store, effect("2/1/1", update(changed, "description"), token=2))
    await done(store, undo(effect("1/1/1", create(pool("p")), token=3)))
    assert [event.type for event in await events(store)] == ["OBJECT_CREATED", "OBJECT_CHANGED"]


async def test_a_start_that_never_was_is_not_told_as_a_stop(store: SqliteStore) -> None:
    """An undone start stops the machine if it ran, which was told, and else nothing happened to it."""
    await done(store, effect("1/1/1", create(in_state("m", "STOPPED"))))
    reserve = effect("2/1/1", update(in_state("m", "STARTING", "servers/s"), "state", "server"), token=2)
    await done(store, reserve)
    await done(store, undo(reserve))
    assert (await story(store))[1:] == []
    reserve = effect("3/1/1", update(in_state("m", "STARTING", "servers/s"), "state", "server"), token=3)
    record = effect("3/1/3", update(in_state("m", "RUNNING", "servers/s"), "state"), token=3)
    for one in (reserve, record, undo(record), undo(reserve)):
        await done(store, one)
    assert (await story(store))[1:] == [
        "MACHINE_STARTED: virtualMachines/m runs on servers/s",
        "MACHINE_STOPPED: virtualMachines/m is stopped: operations/3 is undone",
    ]


async def test_an_object_that_took_anothers_place_is_told_as_both(store: SqliteStore) -> None:
    """Removed and made again by one effect under the same name, it is another object."""
    await done(store, effect("1/1/1", create(pool("p"))))
    await done(store, effect("2/1/1", delete("serverPools/p"), create(pool("p", uid="other")), token=2))
    assert [event.type for event in await events(store)] == ["OBJECT_CREATED", "OBJECT_DELETED", "OBJECT_CREATED"]
