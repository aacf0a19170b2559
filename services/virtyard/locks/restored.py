"""What a restore makes of locks.db: closed to grants, with fencing tokens above every one ever given (P32)."""

from __future__ import annotations

import sqlite3

from virtyard.runtime.restore import Life

__all__ = ["TOKEN_BITS", "begin_life"]

TOKEN_BITS = 38
"""The lower bits of a token count the grants of an incarnation, 270 thousand million; the upper ones are that."""
_HELD = "SELECT owner, object FROM lock WHERE token > 0 ORDER BY token"
_RAISE = "UPDATE lock SET token = ? WHERE owner = ? AND object = ?"
_COUNT = "UPDATE counter SET revision = revision + 1, tokens = max(tokens, ?)"


def begin_life(connection: sqlite3.Connection, life: Life) -> None:
    """Close the lock service, and give every lock that is held a token of the new incarnation.

    Participants have seen the tokens of the life before, and refuse those that were held when the backup was made.
    """
    token = life.incarnation << TOKEN_BITS
    for owner, name in connection.execute(_HELD).fetchall():
        token += 1
        connection.execute(_RAISE, (token, owner, name))
    connection.execute(_COUNT, (token,))
    connection.execute("INSERT OR REPLACE INTO restored (one, incarnation) VALUES (1, ?)", (life.incarnation,))
