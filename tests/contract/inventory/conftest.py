"""The inventory's store over a real database file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import grpc.aio
import pytest

from tests.contract.inventory.served import Served
from tests.fakes.clock import FakeClock
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.inventory.main import open_inventory
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.kernel.permissions import Principal
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.local import LocalChannel

Dump: TypeAlias = Callable[[], Awaitable[list[Any]]]


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def feed() -> Feed:
    """Return the feed of the database."""
    return Feed("inventory")


@pytest.fixture
async def database(tmp_path: Path, clock: FakeClock, feed: Feed) -> AsyncIterator[Database]:
    """Return an open inventory database."""
    async with await Database.open(
        tmp_path / "inventory.db", migrations="virtyard.inventory.migrations", feed=feed, clock=clock
    ) as opened:
        yield opened


@pytest.fixture
def store(database: Database, clock: FakeClock) -> SqliteStore:
    """Return the store over that database."""
    return SqliteStore(database, clock)


@pytest.fixture
def dump(database: Database) -> Dump:
    """Return what reads every row of every table."""

    async def read() -> list[Any]:
        def rows(connection: Any) -> list[Any]:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return [(name, connection.execute(f"SELECT * FROM {name}").fetchall()) for name in sorted(names)]

        return await database.read(rows)

    return read


@pytest.fixture(params=["local"])
async def served(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Served]:
    """Run an inventory; within this process."""
    async with AsyncExitStack() as stack:
        inventory = await stack.enter_async_context(open_inventory(tmp_path / "state", clock))
        channels: dict[str, grpc.aio.Channel] = {}
        for identity in ("user/viewer", "service/jobs", "agent/s", "agent/t"):
            roles = frozenset({Role.ROLE_VIEWER}) if identity.startswith("user/") else frozenset()
            principal = Principal.of(identity, roles)
            channels[identity] = await stack.enter_async_context(LocalChannel(inventory.services, principal))
        yield Served(inventory=inventory, dial=channels.__getitem__)
