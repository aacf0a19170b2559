"""The inventory's store over a real database file."""

from __future__ import annotations

import asyncio
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
from virtyard.runtime.channel import open_channel
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.server import serve

CALLERS = ("user/viewer", "user/operator", "service/jobs", "agent/s", "agent/t")
ROLES = {"user/viewer": ("viewer",), "user/operator": ("operator",)}

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


def dumper(database: Database) -> Dump:
    """Return what reads every row of every table."""

    async def read() -> list[Any]:
        def rows(connection: Any) -> list[Any]:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return [(name, connection.execute(f"SELECT * FROM {name}").fetchall()) for name in sorted(names)]

        return await database.read(rows)

    return read


@pytest.fixture
def dump(database: Database) -> Dump:
    """Return what reads every row of the store's tables."""
    return dumper(database)


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Credentials]:
    """Return the credentials of the inventory and of its callers."""
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority.create(folder / "ca", "virtyard.test")
    identities = (*CALLERS, "service/inventory")
    return {
        identity: Credentials.load(authority.issue(identity, folder / identity, roles=ROLES.get(identity)))
        for identity in identities
    }


@pytest.fixture(params=["in process", "over the wire"])
async def served(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, credentials: dict[str, Credentials]
) -> AsyncIterator[Served]:
    """Run an inventory, to be called in the same process and over mutual TLS."""
    async with AsyncExitStack() as stack:
        inventory = await stack.enter_async_context(open_inventory(tmp_path / "state", clock))
        address = ""
        if request.param == "over the wire":
            serving = serve(
                inventory.services,
                credentials=credentials["service/inventory"],
                feeds=[inventory.feed],
                on_closing=[inventory.end_streams],
                grace=1.0,
            )
            address = (await stack.enter_async_context(serving)).address
        channels: dict[str, grpc.aio.Channel] = {}
        for identity in CALLERS:
            if address:
                channel = open_channel(address, credentials[identity], "service/inventory")
            else:
                roles = frozenset(Role.Value(f"ROLE_{role.upper()}") for role in ROLES.get(identity, ()))
                channel = LocalChannel(inventory.services, Principal.of(identity, roles))
            channels[identity] = await stack.enter_async_context(channel)
            if address:
                # A first call fails where a busy machine takes longer for the handshake than one try to connect lasts.
                async with asyncio.timeout(60):
                    await channel.channel_ready()
        yield Served(inventory=inventory, dial=channels.__getitem__)


@pytest.fixture
def dump_of(served: Served) -> Dump:
    """Return what reads every row of the tables of the inventory that is served."""
    return dumper(served.inventory.database)
