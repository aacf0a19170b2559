"""The composition root of the lock service."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.kernel.clock import Clock
from virtyard.locks.rpc import LocksRpc
from virtyard.locks.service import LocksService
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.rpc import Service

__all__ = ["Locks", "open_locks"]

_LOCK_SERVICE = lock_service_pb2.DESCRIPTOR.services_by_name["LockService"]
_MIGRATIONS = "virtyard.locks.migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locks:
    """A running lock service."""

    services: tuple[Service, ...]
    """What is served, over the wire or within the process: LockService."""
    service: LocksService
    """The use cases, for whoever is in the same process and needs no wire."""
    feed: Feed
    """The news of locks (`lock`)."""
    database: Database
    """locks.db."""


@asynccontextmanager
async def open_locks(
    state_dir: Path | str,
    clock: Clock,
    *,
    transition_hook: Callable[[str], None] | None = None,
    commit_hook: Callable[[sqlite3.Connection], None] | None = None,
    place_interval: float = 0.05,
    keepalive: float = 15.0,
    journal_keep: int = 100_000,
    metrics: Metrics | None = None,
) -> AsyncGenerator[Locks, None]:
    """Open locks.db in this folder and run the lock service on it.

    Args:
        state_dir: the folder of the database; made if it is missing.
        clock: the process's clock.
        transition_hook: is told every durable transition; see `Database.open`.
        commit_hook: makes commits fail; see `Database.open`.
        place_interval: seconds between two rounds of telling waiters their places.
        keepalive: seconds of silence after which a watcher is sent a KEEPALIVE.
        journal_keep: about so many entries of the feed are kept; see `Database.open`.
        metrics: of the process; nowhere that is read if None.

    Raises:
        WrongState: another process has the folder open.
    """
    metrics = metrics or Metrics()
    feed = Feed("locks", keepalive=keepalive)
    database = await Database.open(
        Path(state_dir) / "locks.db",
        _MIGRATIONS,
        feed,
        clock,
        transition_hook=transition_hook,
        commit_hook=commit_hook,
        journal_keep=journal_keep,
    )
    metrics.watch_database(database)
    metrics.watch_feed(feed)
    async with LocksService(database, feed, clock, place_interval=place_interval, metrics=metrics) as service:
        yield Locks(
            services=(Service(_LOCK_SERVICE, LocksRpc(service)),), service=service, feed=feed, database=database
        )
