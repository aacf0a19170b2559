"""What the runtime's tests share: a database in a temporary folder with its feed."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.transaction import Transaction


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
async def feed() -> Feed:
    """Return the feed of a service called things."""
    return Feed("things")


@pytest.fixture
async def database(tmp_path: Path, feed: Feed, clock: FakeClock) -> AsyncIterator[Database]:
    """Return an open database with a table of things."""
    database = await Database.open(tmp_path / "things.db", None, feed, clock)
    await database.write(create_things)
    yield database
    await database.close()


def create_things(transaction: Transaction) -> None:
    """Make the table whose rows the feed shows."""
    transaction.execute("CREATE TABLE IF NOT EXISTS thing (topic TEXT, key TEXT, body BLOB, PRIMARY KEY (topic, key))")


def put(transaction: Transaction, key: str, body: str, topic: str = "a") -> int:
    """Store a thing and its news."""
    transaction.execute("INSERT OR REPLACE INTO thing VALUES (?, ?, ?)", (topic, key, body.encode()))
    return transaction.append(topic, key, body.encode())


def putting(key: str, body: str = "x", topic: str = "a") -> Callable[[Transaction], int]:
    """Return a function for `Database.write` that stores a thing."""
    return lambda transaction: put(transaction, key, body, topic)


def dropping(key: str, topic: str = "a") -> Callable[[Transaction], int]:
    """Return a function for `Database.write` that removes a thing."""
    return lambda transaction: drop(transaction, key, topic)


def drop(transaction: Transaction, key: str, topic: str = "a") -> int:
    """Remove a thing and say so."""
    transaction.execute("DELETE FROM thing WHERE topic = ? AND key = ?", (topic, key))
    return transaction.append(topic, key, b"", removed=True)


def snapshot(connection: sqlite3.Connection, topic: str, after_key: str, _: int) -> Iterator[tuple[str, bytes]]:
    """Read the things of a topic, two at a time so that pages are met."""
    yield from connection.execute(
        "SELECT key, body FROM thing WHERE topic = ? AND key > ? ORDER BY key LIMIT 2", (topic, after_key)
    )
