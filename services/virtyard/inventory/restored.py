"""What a restore makes of inventory.db: nothing is known of any server before its agent has reported again (P32)."""

from __future__ import annotations

import sqlite3

from virtyard.api.inventory.v1 import server_pb2
from virtyard.runtime.restore import Life

__all__ = ["begin_life"]


def begin_life(connection: sqlite3.Connection, life: Life) -> None:
    """Take every server for unknown: what its agent said when the backup was made may be wrong by now."""
    del life
    connection.execute("UPDATE observation SET state = ?", (server_pb2.SERVER_STATE_UNSPECIFIED,))
