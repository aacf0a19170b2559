"""Undo of anything: whatever an operation wrote, undoing it last first leaves every object as it was."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.contract.inventory.conftest import Dump
from tests.contract.inventory.samples import create, delete, disk, effect, machine, pool, server, undo, update
from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory.model import Query
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel.names import kinds

NAMES = "abcd"


async def objects(store: SqliteStore) -> dict[str, Any]:
    """Return every object without what an undo does not put back: its version and when it was written."""
    found = {}
    for collection in kinds():
        for message in (await store.list(Query(collection=collection, size=1000))).items:
            for field in ("generation", "etag", "update_time"):
                message.ClearField(field)
            found[message.name] = message
    return found


async def generations(store: SqliteStore) -> dict[str, int]:
    """Return the generation of every object."""
    items = [item for kind in kinds() for item in (await store.list(Query(collection=kind, size=1000))).items]
    return {item.name: item.generation for item in items}


def some_object(dice: random.Random, turn: int) -> Any:
    """Return an object of some kind, with references that change."""
    name = dice.choice(NAMES)
    to_pool = dice.choice(["", "serverPools/a", "serverPools/b"])
    uid = f"uid-{name}-{turn}"
    to_machine = dice.choice(["", "virtualMachines/a", "virtualMachines/b"])
    made = dice.choice(
        [
            pool(name, uid=uid),
            server(name, pool=to_pool, memory=dice.choice([0, 1 << 30]), uid=uid),
            machine(name, on=dice.choice(["", "servers/a"]), memory=dice.randrange(1, 9), uid=uid),
            disk(
                name, machine=to_machine, position=dice.randrange(3), size=dice.randrange(9), uid=f"uid-{name}-{turn}"
            ),
        ]
    )
    made.description = str(turn)
    made.labels["turn"] = str(dice.randrange(3))
    return made


def some_write(dice: random.Random, turn: int) -> write_objects_pb2.ObjectWrite:
    """Return a write, which may well be refused."""
    made = some_object(dice, turn)
    paths = ["description", "labels"]
    for field, reference in (("server", "server_pool"), ("virtual_machine", "server"), ("disk", "virtual_machine")):
        if made.DESCRIPTOR.name.lower().endswith(field.replace("_", "")):
            paths.append(reference)
    return dice.choice([create(made), create(made), update(made, *paths), delete(made.name)])


@pytest.mark.parametrize("seed", range(25))
async def test_undo_puts_everything_back(store: SqliteStore, dump: Dump, seed: int) -> None:
    """A random operation, refusals included, undone last first: same objects, same uids, no lower generation."""
    dice = random.Random(seed)
    for turn in range(6):
        await store.execute([effect(f"1/1/{turn + 1}", some_write(dice, turn), target="serverPools/x")])
    before, versions = await objects(store), await generations(store)
    sent: list[participant.Effect] = []
    for turn in range(8):
        writes = [some_write(dice, 10 * (turn + 1) + number) for number in range(dice.randrange(1, 4))]
        sent.append(effect(f"2/1/{turn + 1}", *writes, target="serverPools/x", token=2))
    after = [record.state for one in sent for record in (await store.execute([one])).records]
    assert participant.EFFECT_STATE_DONE in after
    for one in reversed(sent):
        (record,) = (await store.execute([undo(one)])).records
        assert record.state == participant.EFFECT_STATE_DONE, record
    assert await objects(store) == before
    now = await generations(store)
    assert all(now[name] >= generation for name, generation in versions.items())
    totals = {row[:3]: row[3] for name, rows in await dump() if name == "total" for row in rows}
    assert 0 not in totals.values(), "a sum that has come to nothing is forgotten"
    relations = [row for name, rows in await dump() if name == "relation" for row in rows]
    for source, field, target, kind, _, amount in relations:
        assert source.startswith(kind)
        totals[target, kind, field] = totals.get((target, kind, field), 0) - amount
    assert not any(totals.values())
