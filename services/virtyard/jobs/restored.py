"""What a restore makes of jobs.db: held, with numbers and epochs above all that the life before may have given."""

from __future__ import annotations

import sqlite3

from virtyard.internal.jobs.v1 import record_pb2
from virtyard.runtime.restore import Life

__all__ = ["STEP", "begin_life", "next_hundred_thousand"]

STEP = 100_000
"""The operations of a life are numbered from a multiple of this on: a gap that no backup's age makes up for."""
_EPOCHS = 1 << 20
_LAST = "SELECT max(coalesce((SELECT max(number) FROM operation), 0), (SELECT highest FROM left_live))"
_LAST_OF_OLD_RELEASES = "SELECT coalesce(max(number), 0) FROM operation"
_HOLD = "INSERT OR REPLACE INTO restored (one, incarnation, known, above, held) VALUES (1, ?, ?, ?, 1)"


def begin_life(connection: sqlite3.Connection, life: Life) -> None:
    """Hold the scheduler, and raise the operation number and the epochs of open operations.

    Agents refuse a lower epoch than they have seen, and have seen those of the life before: an epoch of this one is
    above them, as it begins with the incarnation.
    """
    known = _last(connection)
    above = next_hundred_thousand(max(known, 0 if life.replaced is None else _last(life.replaced)))
    connection.execute(_HOLD, (life.incarnation, known, above))
    connection.execute("DELETE FROM compared")
    connection.execute("UPDATE left_live SET highest = ?", (above,))
    for number, body in connection.execute("SELECT number, record FROM operation WHERE open = 1").fetchall():
        record = record_pb2.OperationRecord.FromString(body)
        record.epoch = max(record.epoch, life.incarnation * _EPOCHS)
        connection.execute(
            "UPDATE operation SET epoch = ?, record = ? WHERE number = ?",
            (record.epoch, record.SerializeToString(), number),
        )


def next_hundred_thousand(number: int) -> int:
    """Return the next multiple of 100,000 above a number."""
    return (number // STEP + 1) * STEP


def _last(connection: sqlite3.Connection) -> int:
    try:
        (number,) = connection.execute(_LAST).fetchone()
    except sqlite3.OperationalError:
        (number,) = connection.execute(_LAST_OF_OLD_RELEASES).fetchone()
    return int(number)
