"""What the events of any operation must say: what it did to each object, and what was taken back of that."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.acceptance.asking import NOUNS, list_objects
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2 as inventory
from virtyard.kernel.event_types import find
from virtyard_client.client import Client

TAKEN_BACK_BY = {
    "OBJECT_CREATED": "OBJECT_DELETED",
    "OBJECT_CHANGED": "OBJECT_CHANGED",
    "OBJECT_DELETED": "OBJECT_RESTORED",
    "MACHINE_STARTED": "MACHINE_STOPPED",
    "SERVER_ADDED_TO_POOL": "SERVER_REMOVED_FROM_POOL",
    "SERVER_REMOVED_FROM_POOL": "SERVER_ADDED_TO_POOL",
}
"""Which event of an undo takes back which event before it."""
ENDS = frozenset({"JOB_FAILED", "OPERATION_ABORTED"})
Versions = dict[str, tuple[str, int]]


async def versions(client: Client) -> Versions:
    """Return the uid and generation of every object."""
    items: list[Any] = [item for noun in NOUNS for item in await list_objects(client, noun)]
    return {item.name: (item.uid, item.generation) for item in items}


async def events_of(client: Client, operation: str) -> list[event_pb2.Event]:
    """Return the events of an operation in their order."""
    asked = inventory.ListEventsRequest(filter=f"operation = {operation}", order_by="create_time", page_size=1000)
    return list((await client.inventory.ListEvents(asked)).events)


async def check_lives(client: Client, operation: str, before: Versions) -> None:
    """Check that each object which an operation created, changed or removed has an event of it that says so."""
    after, told = await versions(client), await events_of(client, operation)
    said: dict[str, set[str]] = {}
    for event in told:
        assert not event.undone
        assert event.job.startswith(f"{operation.replace('operations/', 'jobs/')}-")
        kind = find(event.type)
        assert kind is not None
        assert not kind.about or event.object.partition("/")[0] in kind.about
        said.setdefault(event.object, set()).add(event.type)
    for name in before.keys() | after.keys():
        was, now = before.get(name), after.get(name)
        if was == now:
            # A proof of death is part of what is observed, and changes no configuration.
            wrong = said.get(name, set()) - {"SERVER_PROVEN_DEAD"}
            assert not wrong, f"{name} is as it was, but {wrong} is told of it"
        elif was is None:
            assert "OBJECT_CREATED" in said.get(name, ()), name
        elif now is None:
            assert "OBJECT_DELETED" in said.get(name, ()), name
        else:
            assert said.get(name, set()) - {"OBJECT_CREATED", "OBJECT_DELETED"}, f"nothing is told of {name}"


async def check_taken_back(client: Client, operation: str) -> None:
    """Check that every event of an operation that was undone is taken back by another, and by no more than one."""
    told = [event for event in await events_of(client, operation) if event.type not in ENDS]
    done = Counter(
        (event.object, TAKEN_BACK_BY[event.type], *event.changed_fields) for event in told if not event.undone
    )
    undone = Counter((event.object, event.type, *event.changed_fields) for event in told if event.undone)
    assert done == undone
