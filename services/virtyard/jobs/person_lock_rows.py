"""The rows of people's locks in jobs.db; each is changed in the transaction that reads it, so no change is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from virtyard.internal.jobs.v1 import record_pb2
from virtyard.runtime.transaction import Transaction

__all__ = ["add", "change", "read_all", "remove"]

Record = record_pb2.PersonLockRecord
_FIND = "SELECT record FROM person_lock WHERE name = ?"


def read_all(connection: sqlite3.Connection) -> list[Record]:
    """Return every lock that is not released."""
    rows = connection.execute("SELECT record FROM person_lock ORDER BY name")
    return [Record.FromString(body) for (body,) in rows]


def add(transaction: Transaction, record: Record) -> None:
    """Add a new lock."""
    transaction.execute("INSERT INTO person_lock VALUES (?, ?)", (record.name, record.SerializeToString()))


def change(transaction: Transaction, name: str, change: Callable[[Record], None]) -> Record | None:
    """Change a lock and return it as it is then; None if it is released."""
    record = _find(transaction, name)
    if record is not None:
        change(record)
        transaction.execute("UPDATE person_lock SET record = ? WHERE name = ?", (record.SerializeToString(), name))
    return record


def remove(transaction: Transaction, name: str) -> Record | None:
    """Remove a lock and return it as it was; None if it is released already."""
    record = _find(transaction, name)
    transaction.execute("DELETE FROM person_lock WHERE name = ?", (name,))
    return record


def _find(transaction: Transaction, name: str) -> Record | None:
    row = transaction.execute(_FIND, (name,)).fetchone()
    return Record.FromString(row[0]) if row is not None else None
