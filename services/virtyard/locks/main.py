"""The composition root of the lock service."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from virtyard.kernel.clock import Clock
from virtyard.locks.service import LocksService
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed

__all__ = ["open_locks"]

_MIGRATIONS = "virtyard.locks.migrations"


@asynccontextmanager
async def open_locks(
    state_dir: Path | str,
    clock: Clock,
    *,
    transition_hook: Callable[[str], None] | None = None,
    commit_hook: Callable[[sqlite3.Connection], None] | None = None,
    place_interval: float = 0.05,
    keepalive: float = 15.0,
) -> AsyncIterator[LocksService]:
    """Open locks.db in this folder and run the lock service on it.

    Args:
        state_dir: the folder of the database; made if it is missing.
        clock: the process's clock.
        transition_hook: is told every durable transition; see `Database.open`.
        commit_hook: makes commits fail; see `Database.open`.
        place_interval: seconds between two rounds of telling waiters their places.
        keepalive: seconds of silence after which a watcher is sent a KEEPALIVE.

    Raises:
        WrongState: another process has the folder open.
    """
    feed = Feed("locks", keepalive=keepalive)
    database = await Database.open(
        Path(state_dir) / "locks.db",
        _MIGRATIONS,
        feed,
        clock,
        transition_hook=transition_hook,
        commit_hook=commit_hook,
    )
    async with LocksService(database, feed, clock, place_interval=place_interval) as service:
        yield service
