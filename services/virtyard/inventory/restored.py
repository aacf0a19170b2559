"""What a restore makes of inventory.db: nothing is known of any server before its agent has reported again (P32)."""

from __future__ import annotations

import sqlite3

from virtyard.api.inventory.v1 import server_pb2
from virtyard.runtime.restore import Life

__all__ = ["begin_life"]

_WRITE = "UPDATE observation SET state = ?, ledger_sequence = 0, body = ? WHERE server = ?"


def begin_life(connection: sqlite3.Connection, life: Life) -> None:
    """Take every server for unknown: what its agent said when the backup was made may be wrong by now.

    Where the agent was reached is kept, and its next report counts whatever the position of its ledger is by then.
    """
    del life
    for server, body in connection.execute("SELECT server, body FROM observation").fetchall():
        observed = server_pb2.ServerObservation.FromString(body)
        observed.ClearField("ledger_sequence")
        observed.ClearField("guest_uids")
        observed.ClearField("death")
        connection.execute(_WRITE, (server_pb2.SERVER_STATE_UNSPECIFIED, observed.SerializeToString(), server))
