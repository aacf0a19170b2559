"""Very many machines at rest, copied from one straight into the database of an inventory that is stopped."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

from virtyard.api.inventory.v1 import virtual_machine_pb2


def fill_machines(inventory_db: Path, like: str, machines: int) -> None:
    """Copy a machine, with what it refers to, until there are so many machines.

    Args:
        inventory_db: the database.
        like: the resource name of the machine that is copied; it has no disk and no card.
        machines: how many there are to be.
    """
    connection = sqlite3.connect(inventory_db, isolation_level=None)
    connection.execute("BEGIN")
    kind, generation, writer, created, body = connection.execute(
        "SELECT kind, generation, writer, create_time, body FROM object WHERE name = ?", (like,)
    ).fetchone()
    relations = connection.execute(
        "SELECT field, target, kind, position, amount FROM relation WHERE source = ?", (like,)
    ).fetchall()
    (have,) = connection.execute("SELECT count(*) FROM object WHERE kind = ? AND deleted = 0", (kind,)).fetchone()
    machine = virtual_machine_pb2.VirtualMachine.FromString(body)
    for number in range(have, machines):
        machine.name, machine.uid = f"virtualMachines/copy-{number:05}", str(uuid.UUID(int=number))
        machine.display_name = f"Copy {number:05}"
        connection.execute(
            "INSERT INTO object (name, kind, uid, generation, writer, deleted, display_name, create_time, body)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)",
            (
                *(machine.name, kind, machine.uid, generation, writer, machine.display_name, created),
                machine.SerializeToString(),
            ),
        )
        connection.executemany(
            "INSERT INTO relation (source, field, target, kind, position, amount) VALUES (?, ?, ?, ?, ?, ?)",
            [(machine.name, *relation) for relation in relations],
        )
    connection.execute("COMMIT")
    connection.close()
