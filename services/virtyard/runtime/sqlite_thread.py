"""A SQLite connection in a thread of its own, which runs whole functions.

A thread hop costs about 100 us, so a transaction is one function and never a series of awaited statements.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

__all__ = ["SqliteThread"]

T = TypeVar("T")

_WRITER = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA journal_size_limit = 67108864")
_SHRINKING = "PRAGMA auto_vacuum = INCREMENTAL"
"""Holds for a database that has no table yet; its free pages can be given back later."""
_READER = ("PRAGMA query_only = ON",)
_BOTH = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -16384",
    # Savepoints copy pages aside; in memory, as they are gone with the transaction anyway.
    "PRAGMA temp_store = MEMORY",
)


class SqliteThread:
    """One connection and the thread that alone uses it."""

    def __init__(self, connection: aiosqlite.Connection, raw: list[sqlite3.Connection]) -> None:
        """Use `open`."""
        self._connection = connection
        self._raw = raw

    @classmethod
    async def open(cls, path: Path, *, writer: bool, shrinks: bool = False) -> SqliteThread:
        """Open the database file; `shrinks` says that a new one is to give free pages back when it is asked to.

        Raises:
            sqlite3.Error: the file cannot be opened, or is not a database.
        """
        raw: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(path, isolation_level=None, cached_statements=512)
            try:
                first = (_SHRINKING,) if shrinks else ()
                for pragma in (*first, *_BOTH, *(_WRITER if writer else _READER)):
                    connection.execute(pragma).close()
            except BaseException:
                connection.close()
                raise
            raw.append(connection)
            return connection

        connection = aiosqlite.Connection(connect, 64)
        try:
            return cls(await connection, raw)
        except sqlite3.Error:
            # A loop that closes before its thread has ended is told of as another error, which hides this one.
            await asyncio.to_thread(connection._thread.join)  # noqa: SLF001 - there is no public way to wait for it
            raise

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function in the thread and return what it returns."""
        # aiosqlite has no public way to run a function in its thread; this is what all its methods are made of.
        execute: Callable[..., Any] = self._connection._execute  # noqa: SLF001 - see above
        answer: T = await execute(function, self._raw[0])
        return answer

    async def close(self) -> None:
        """Close the connection, which rolls back what is open, and end the thread."""
        await self._connection.close()
        self._raw.clear()
