"""Slots that servers renew late: told once, and once more when all are in time again."""

from __future__ import annotations

import pytest

from tests.contract.inventory.samples import GIB, create, delete, effect, server
from tests.contract.inventory.test_life import done, events
from virtyard.api.inventory.v1 import cluster_pb2, server_pb2
from virtyard.inventory.sqlite_store import SqliteStore

ONLINE = server_pb2.SERVER_STATE_ONLINE
IN_TIME = server_pb2.HEARTBEAT_STATE_IN_TIME
LATE = server_pb2.HEARTBEAT_STATE_LATE
UNSAID = server_pb2.HEARTBEAT_STATE_UNSPECIFIED


def cluster(name: str) -> cluster_pb2.Cluster:
    """Return a cluster that server s is a member of."""
    members = [cluster_pb2.ClusterMember(server="servers/s", slot=1)]
    return cluster_pb2.Cluster(name=f"clusters/{name}", uid=f"uid-{name}", members=members)


@pytest.fixture
async def site(store: SqliteStore) -> SqliteStore:
    """Return the store with server s and two clusters of it."""
    objects = [create(server("s", memory=GIB)), create(cluster("a")), create(cluster("b"))]
    await done(store, effect("1/1/1", *objects))
    return store


async def report(store: SqliteStore, look: int, **states: int) -> None:
    """Store what server s reports of its slots in the clusters, by their names."""
    found = server_pb2.ServerObservation(memory_bytes=GIB, look=look)
    for name, state in states.items():
        reason = "it hangs" if state == LATE else ""
        found.heartbeats.add(cluster_uid=f"uid-{name}", slot=1, state=state, reason=reason)
    await store.observe("servers/s", state=ONLINE, observed=found)


async def told(store: SqliteStore) -> list[str]:
    """Return the types of the events about heartbeats, in their order."""
    return [event.type for event in await events(store, 'object = "servers/s" AND type:HEARTBEAT_')]


async def test_a_late_heartbeat_is_told_once_and_in_time_with_the_last(site: SqliteStore) -> None:
    """Cluster by cluster it is late; what is reported again or late, or is not known, tells nothing."""
    await report(site, 1, a=IN_TIME, b=IN_TIME)
    assert await told(site) == []
    await report(site, 2, a=LATE, b=IN_TIME)
    await report(site, 3, a=LATE, b=LATE)
    await report(site, 2, a=IN_TIME, b=IN_TIME)
    await report(site, 4, a=UNSAID, b=UNSAID)
    assert await told(site) == ["HEARTBEAT_LATE", "HEARTBEAT_LATE"]
    (first, _) = await events(site, "type = HEARTBEAT_LATE")
    assert first.message == "servers/s has not renewed slot 1 of clusters/a for longer than 4T: it hangs"
    await report(site, 5, a=IN_TIME, b=LATE)
    assert await told(site) == ["HEARTBEAT_LATE", "HEARTBEAT_LATE"]
    await report(site, 6, a=IN_TIME, b=IN_TIME)
    assert await told(site) == ["HEARTBEAT_LATE", "HEARTBEAT_LATE", "HEARTBEAT_IN_TIME"]
    assert [event.open for event in await events(site, "type = HEARTBEAT_LATE")] == [False, False]


async def test_a_member_that_left_is_not_late_any_more(site: SqliteStore) -> None:
    """Nor is one late in a cluster that is not recorded; links of the server are another matter."""
    await report(site, 1, a=LATE, c=LATE)
    await report(site, 2, c=LATE)
    assert await told(site) == ["HEARTBEAT_LATE", "HEARTBEAT_IN_TIME"]
    assert await events(site, "type:LINK_") == []
    await report(site, 3, a=LATE)
    await done(site, effect("2/1/1", delete("servers/s"), token=2))
    assert await told(site) == ["HEARTBEAT_LATE", "HEARTBEAT_IN_TIME", "HEARTBEAT_LATE"]
    assert [event.open for event in await events(site, "type = HEARTBEAT_LATE")] == [False, False]
