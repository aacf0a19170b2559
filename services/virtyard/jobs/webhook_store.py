"""The rows of webhooks in jobs.db: what is still to be sent, what was given up, and the key of their secrets."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from virtyard.runtime.database import Database, Transaction

__all__ = ["Counts", "Delivery", "WebhookStore", "postpone", "put_deliveries", "take_off"]

_COLUMNS = "place, webhook, id, event, event_type, body, attempts, create_time, next_time, last_error"
_PUT = (
    "INSERT OR IGNORE INTO webhook_delivery (webhook, id, event, event_type, body, create_time, next_time)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_DUE = (
    f"SELECT {_COLUMNS} FROM webhook_delivery WHERE webhook = ? AND next_time IS NOT NULL"  # noqa: S608 - constants
    " ORDER BY next_time, place LIMIT 1"
)
_PAGE = (
    f"SELECT {_COLUMNS} FROM webhook_delivery WHERE webhook = ? AND place > ?"  # noqa: S608 - constants
    " AND (? OR (next_time IS NULL) = ?) ORDER BY place LIMIT ?"
)
_COUNT = (
    "SELECT count(*) FILTER (WHERE next_time IS NOT NULL), count(*) FILTER (WHERE next_time IS NULL), min(next_time)"
    " FROM webhook_delivery WHERE webhook = ?"
)
_DELETE = "DELETE FROM webhook_delivery WHERE place = ?"
_POSTPONE = "UPDATE webhook_delivery SET attempts = ?, next_time = ?, last_error = ? WHERE place = ?"
_RETRY = (
    "UPDATE webhook_delivery SET next_time = ?, create_time = ?, attempts = 0"
    " WHERE webhook = ? AND next_time IS NULL AND (? = '' OR id = ?)"
)
_PENDING_BEYOND = (
    "SELECT place FROM webhook_delivery WHERE webhook = ? AND next_time IS NOT NULL ORDER BY place DESC"
    " LIMIT -1 OFFSET ?"
)
_BURY = "UPDATE webhook_delivery SET next_time = NULL, last_error = ? WHERE place = ?"
_FORGET_BEYOND = (
    "DELETE FROM webhook_delivery WHERE place IN"
    " (SELECT place FROM webhook_delivery WHERE webhook = ? AND next_time IS NULL ORDER BY place DESC"
    " LIMIT -1 OFFSET ?)"
)
_OWNERS = "SELECT DISTINCT webhook FROM webhook_delivery WHERE webhook <> ''"
_PUT_ASIDE = (
    "INSERT OR IGNORE INTO webhook_delivery (webhook, id, event, event_type, body, create_time)"
    " VALUES ('', ?, ?, '', x'', ?)"
)
_ASIDE = "SELECT event FROM webhook_delivery WHERE webhook = '' ORDER BY place"
_TAKE_FROM_ASIDE = "DELETE FROM webhook_delivery WHERE webhook = '' AND event = ?"
_DISCARD = "DELETE FROM webhook_delivery WHERE webhook = ? AND next_time IS NULL AND (? = '' OR id = ?)"
_FORGET = "DELETE FROM webhook_delivery WHERE webhook = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event, or the end of one operation, on its way to one receiver."""

    place: int
    webhook: str
    id: str
    event: str
    """What is sent, as events/12 or operations/12."""
    event_type: str
    body: bytes
    attempts: int
    create_time: float
    next_time: float | None
    """When it is due, as a Unix time in seconds; None if it was given up."""
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many deliveries a webhook has."""

    pending: int
    dead: int
    next_time: float | None


def put_deliveries(
    transaction: Transaction, deliveries: Sequence[Delivery], *, pending: int, dead: int, overflow: str
) -> set[str]:
    """Put deliveries in line; of more than `pending` the oldest are given up, of more than `dead` the oldest forgotten.

    Returns the uids of the webhooks that had no room for all.

    Args:
        transaction: of the caller, who names it.
        deliveries: new ones; one that is there already stays as it is.
        pending: how many may wait for each webhook.
        dead: how many given up ones each webhook keeps.
        overflow: what to say of those that are given up for want of room.
    """
    rows = [
        (each.webhook, each.id, each.event, each.event_type, each.body, each.create_time, each.next_time)
        for each in deliveries
    ]
    transaction.executemany(_PUT, rows)
    crowded = set()
    for uid in sorted({each.webhook for each in deliveries}):
        beyond = transaction.execute(_PENDING_BEYOND, (uid, pending)).fetchall()
        if beyond:
            transaction.executemany(_BURY, [(overflow, place) for (place,) in beyond])
            transaction.execute(_FORGET_BEYOND, (uid, dead))
            crowded.add(uid)
    return crowded


def put_aside(transaction: Transaction, operation: str, now: float) -> set[str]:
    """Keep the end of an operation for when it is known who is to be told; the caller names the transaction.

    Nobody had no room for it, so an empty set is returned, as `put_deliveries` would.
    """
    transaction.execute(_PUT_ASIDE, (operation, operation, now))
    return set()


def take_from_aside(transaction: Transaction, operation: str) -> None:
    """Forget that an end was put aside, as it is in line now."""
    transaction.execute(_TAKE_FROM_ASIDE, (operation,))


def read_aside(connection: sqlite3.Connection) -> list[str]:
    """Return the operations whose ends were put aside, in the order of these."""
    return [name for (name,) in connection.execute(_ASIDE)]


class WebhookStore:
    """Reads and writes them."""

    def __init__(self, database: Database) -> None:
        """Use jobs.db."""
        self._database = database
        self._key = b""

    async def key(self) -> bytes:
        """Return the key from which secrets are derived, made at the first call."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT secret FROM webhook_key").fetchone()
            return None if row is None else bytes(row[0])

        def write(transaction: Transaction) -> None:
            transaction.execute("INSERT OR IGNORE INTO webhook_key (one, secret) VALUES (1, ?)", (fresh,))
            transaction.transition("jobs.webhook_key")

        if self._key:
            return self._key
        known = await self._database.read(read)
        if known is None:
            fresh = secrets.token_bytes(32)
            await self._database.write(write)
            known = await self._database.read(read)
        assert known is not None
        self._key = known
        return known

    async def due(self, uid: str) -> Delivery | None:
        """Return the delivery of a webhook that is due first, also if it is not due yet."""

        def read(connection: sqlite3.Connection) -> Delivery | None:
            row = connection.execute(_DUE, (uid,)).fetchone()
            return None if row is None else _delivery(row)

        return await self._database.read(read)

    async def page(self, uid: str, after: int, limit: int, dead: bool | None) -> list[Delivery]:
        """Return deliveries of a webhook behind a place, the oldest first; None for `dead` means of either kind."""

        def read(connection: sqlite3.Connection) -> list[Delivery]:
            rows = connection.execute(_PAGE, (uid, after, dead is None, bool(dead), limit))
            return [_delivery(row) for row in rows]

        return await self._database.read(read)

    async def counts(self, uid: str) -> Counts:
        """Return how many deliveries a webhook has."""

        def read(connection: sqlite3.Connection) -> Counts:
            pending, dead, next_time = connection.execute(_COUNT, (uid,)).fetchone()
            return Counts(pending=pending, dead=dead, next_time=next_time)

        return await self._database.read(read)

    async def retry(self, uid: str, identifier: str, now: float) -> int:
        """Put given up deliveries of a webhook in line again, one or all; returns how many."""

        def write(transaction: Transaction) -> int:
            cursor = transaction.execute(_RETRY, (now, now, uid, identifier, identifier))
            transaction.transition("jobs.webhook_retry")
            return cursor.rowcount

        return await self._database.write(write)

    async def discard(self, uid: str, identifier: str) -> int:
        """Forget given up deliveries of a webhook, one or all; returns how many."""

        def write(transaction: Transaction) -> int:
            cursor = transaction.execute(_DISCARD, (uid, identifier, identifier))
            transaction.transition("jobs.webhook_discarded")
            return cursor.rowcount

        return await self._database.write(write)

    async def forget_others(self, known: set[str]) -> None:
        """Forget the deliveries of webhooks that are no more."""

        def read(connection: sqlite3.Connection) -> list[str]:
            return [uid for (uid,) in connection.execute(_OWNERS) if uid not in known]

        def write(transaction: Transaction) -> None:
            transaction.executemany(_FORGET, [(uid,) for uid in gone])
            transaction.transition("jobs.webhook_gone")

        gone = await self._database.read(read)
        if gone:
            await self._database.write(write)


def take_off(transaction: Transaction, delivery: Delivery) -> None:
    """Forget a delivery that the receiver took."""
    transaction.execute(_DELETE, (delivery.place,))


def postpone(transaction: Transaction, delivery: Delivery, next_time: float | None, error: str, dead: int) -> None:
    """Note a failed attempt, and when the next is due; None gives it up, and of more than `dead` the oldest go."""
    transaction.execute(_POSTPONE, (delivery.attempts + 1, next_time, error, delivery.place))
    if next_time is None:
        transaction.execute(_FORGET_BEYOND, (delivery.webhook, dead))


def _delivery(row: Sequence[object]) -> Delivery:
    names = _COLUMNS.split(", ")
    return Delivery(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]  # the table is STRICT
