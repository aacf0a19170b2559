"""What a migration makes of the objects that an earlier release stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from virtyard.api.inventory.v1 import repository_pb2
from virtyard.inventory.objects import links_of
from virtyard.runtime.schema import migrate, migrations_of

PACKAGE = "virtyard.inventory.migrations"
PRESENTED = 3
"""The migration that makes repositories name their servers."""


@pytest.fixture
def earlier() -> Iterator[sqlite3.Connection]:
    """Return a database as the release before had it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, migrations_of(PACKAGE)[: PRESENTED - 1])
    yield connection
    connection.close()


def store(connection: sqlite3.Connection, repository: repository_pb2.Repository) -> None:
    """Store a repository as it was stored before it named its servers."""
    connection.execute(
        "INSERT INTO object (name, kind, uid, generation, writer, deleted, display_name, create_time, body)"
        " VALUES (?, 'repositories', ?, 3, 1, 0, '', 0, ?)",
        (repository.name, repository.uid, repository.SerializeToString()),
    )
    relate(connection, repository.name, "server_pool", repository.server_pool)


def relate(connection: sqlite3.Connection, source: str, field: str, target: str) -> None:
    """Store a relation."""
    kind = source.partition("/")[0]
    connection.execute("INSERT INTO relation VALUES (?, ?, ?, ?, 0, 0)", (source, field, target, kind))


def test_repositories_of_before_are_presented_to_all_servers_of_their_pool(earlier: sqlite3.Connection) -> None:
    """The stored message gains the servers and loses nothing; the relation index agrees with it."""
    full = repository_pb2.Repository(
        name="repositories/R", uid="r", server_pool="serverPools/P", path="/srv/\u00e9", capacity_bytes=1 << 40
    )
    full.labels["a"] = ""
    full.create_time.GetCurrentTime()
    empty = repository_pb2.Repository(name="repositories/Q", uid="q", server_pool="serverPools/E")
    store(earlier, full)
    store(earlier, empty)
    names = [f"servers/{name}" for name in ("a", "b", "s" * 63)]
    for name in names:
        relate(earlier, name, "server_pool", "serverPools/P")
    relate(earlier, "servers/z", "server_pool", "serverPools/O")
    relate(earlier, "virtualMachines/m", "server_pool", "serverPools/P")
    migrate(earlier, migrations_of(PACKAGE))
    after = {
        name: repository_pb2.Repository.FromString(body)
        for name, body in earlier.execute("SELECT name, body FROM object WHERE typeof(body) = 'blob'")
    }
    assert list(after["repositories/R"].servers) == names
    assert after["repositories/Q"] == empty
    found = after["repositories/R"]
    indexed = {
        (field, target)
        for field, target in earlier.execute("SELECT field, target FROM relation WHERE source = 'repositories/R'")
    }
    assert indexed == links_of(found).keys()
    found.ClearField("servers")
    assert found == full
