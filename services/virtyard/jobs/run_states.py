"""Run states: what triggers and schedules have done, and how far the inventory's events were looked at, in jobs.db.

Kept in memory as the last commit left them. Each changes in the commit of the operation that it tells of, so neither is
ever ahead of the other, whenever the process ends (P31).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from virtyard.internal.jobs.v1 import run_state_pb2
from virtyard.jobs.store import Due
from virtyard.runtime.database import Database, Transaction

__all__ = ["RunStates"]

_READ = "SELECT uid, body FROM run_state"
_READ_TOKEN = "SELECT token FROM event_tail"  # noqa: S105 - a resume token
_PUT = "INSERT INTO run_state (uid, body) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET body = excluded.body"
_PUT_TOKEN = "INSERT INTO event_tail (one, token) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET token = excluded.token"  # noqa: S105 - as above
_FORGET = "DELETE FROM run_state WHERE uid = ?"
_PUT_DUE = "INSERT OR IGNORE INTO due (key, kind, body) VALUES (?, ?, ?)"


class RunStates:
    """Reads and writes run states."""

    def __init__(self, database: Database, on_due: Callable[[Sequence[Due]], None]) -> None:
        """Know nothing until `recall`; `on_due` is given what is due in other services because of a state."""
        self._database = database
        self._on_due = on_due
        self._states: dict[str, run_state_pb2.RunState] = {}
        self.token = ""
        """The resume token of the inventory's events up to which all were looked at; empty before the first."""

    async def recall(self) -> None:
        """Read what is durable: at the start, and after a commit of unknown outcome."""

        def read(connection: sqlite3.Connection) -> tuple[dict[str, run_state_pb2.RunState], str]:
            states = {uid: run_state_pb2.RunState.FromString(body) for uid, body in connection.execute(_READ)}
            row = connection.execute(_READ_TOKEN).fetchone()
            return states, row[0] if row is not None else ""

        self._states, self.token = await self._database.read(read)

    def of(self, uid: str) -> run_state_pb2.RunState:
        """Return a copy of the state of a definition, to be changed and kept; an empty one if it has done nothing."""
        state = run_state_pb2.RunState()
        state.CopyFrom(self._states.get(uid, state))
        return state

    def put(self, transaction: Transaction, uid: str, state: run_state_pb2.RunState, token: str = "") -> None:
        """Write a state, and the token if there is one, in a transaction of somebody else's; `keep` follows it."""
        transaction.execute(_PUT, (uid, state.SerializeToString()))
        if token:
            transaction.execute(_PUT_TOKEN, (token,))

    def put_token(self, transaction: Transaction, token: str) -> None:
        """Write how far the events were looked at, in a transaction of somebody else's; `keep_token` follows it."""
        transaction.execute(_PUT_TOKEN, (token,))

    def keep_token(self, token: str) -> None:
        """Take over what was committed."""
        self.token = token

    def keep(self, uid: str, state: run_state_pb2.RunState, token: str = "") -> None:
        """Take over what was committed."""
        self._states[uid] = state
        self.token = token or self.token

    async def save(self, uid: str, state: run_state_pb2.RunState, token: str = "", due: Sequence[Due] = ()) -> None:
        """Make a state durable in a commit of its own, where no operation came of it."""

        def write(transaction: Transaction) -> None:
            self.put(transaction, uid, state, token)
            transaction.executemany(_PUT_DUE, [(item.key, item.kind, item.body) for item in due])
            transaction.transition("jobs.run_state")

        def keep(_: None) -> None:
            self.keep(uid, state, token)
            if due:
                self._on_due(due)

        await self._database.write(write, after=keep)

    async def save_token(self, token: str) -> None:
        """Make durable how far the events were looked at, where nothing came of them."""

        def write(transaction: Transaction) -> None:
            self.put_token(transaction, token)
            transaction.transition("jobs.event_tail")

        await self._database.write(write, after=lambda _: self.keep_token(token))

    def uids(self) -> frozenset[str]:
        """Return the uids of the definitions that have a state."""
        return frozenset(self._states)

    async def forget(self, uids: Iterable[str]) -> None:
        """Forget definitions that were deleted; those without a state cost nothing."""
        gone = [uid for uid in uids if uid in self._states]

        def write(transaction: Transaction) -> None:
            transaction.executemany(_FORGET, [(uid,) for uid in gone])
            transaction.transition("jobs.run_state")

        def keep(_: None) -> None:
            for uid in gone:
                self._states.pop(uid, None)

        if gone:
            await self._database.write(write, after=keep)
