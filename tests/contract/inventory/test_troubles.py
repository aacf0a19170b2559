"""Storage and links as servers report them: told once when they go and when they come, where they are in use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.inventory.samples import GIB, create, delete, effect, repository, server, update
from tests.contract.inventory.test_life import done, events
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import network_pb2, repository_pb2, server_pb2
from virtyard.inventory.sqlite_store import SqliteStore

ONLINE = server_pb2.SERVER_STATE_ONLINE
OFFLINE = server_pb2.SERVER_STATE_OFFLINE
PRESENT = server_pb2.STORAGE_STATE_PRESENT
LOST = server_pb2.STORAGE_STATE_LOST
UNKNOWN = server_pb2.STORAGE_STATE_UNKNOWN
UNLOOKED = server_pb2.STORAGE_STATE_UNSPECIFIED
UP, DOWN = server_pb2.LINK_STATE_UP, server_pb2.LINK_STATE_DOWN
UNASKED = server_pb2.LINK_STATE_UNSPECIFIED
READY = repository_pb2.REPOSITORY_STATE_READY
UNAVAILABLE = repository_pb2.REPOSITORY_STATE_UNAVAILABLE


def stored(state: repository_pb2.RepositoryState.ValueType = READY, *servers: str) -> repository_pb2.Repository:
    """Return repository r, presented to these servers, to s and t if none is named."""
    made = repository("r")
    made.state = state
    made.servers[:] = servers or ("servers/s", "servers/t")
    return made


def network(state: network_pb2.NetworkState.ValueType = network_pb2.NETWORK_STATE_READY) -> network_pb2.Network:
    """Return network lan, which s carries."""
    return network_pb2.Network(name="networks/lan", uid="uid-lan", state=state, servers=["servers/s"], bridge="br0")


@pytest.fixture
async def site(store: SqliteStore) -> SqliteStore:
    """Return the store with servers s and t, a repository of both, and a network of s."""
    servers = [create(server(name, memory=GIB)) for name in ("s", "t")]
    await done(store, effect("1/1/1", *servers, create(stored()), create(network())))
    return store


class Reports:
    """The reports of servers, each the next look of its agent."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._look = 0

    async def send(self, name: str = "s", state: int = ONLINE, look: int = 0, **observed: Any) -> None:
        """Store what a server has reported: its repository and its links, by their states."""
        self._look += 1
        found = server_pb2.ServerObservation(memory_bytes=GIB, look=look or self._look)
        if "storage" in observed:
            found.repositories.add(repository="repositories/r", uid="uid-r", state=observed["storage"], reason="so")
        for interface, link in observed.get("links", {}).items():
            kind = server_pb2.LINK_KIND_BRIDGE if interface.startswith("br") else server_pb2.LINK_KIND_UPLINK
            found.links.add(interface=interface, network_uid="uid-lan", kind=kind, state=link)
        await self._store.observe(f"servers/{name}", state=state, observed=found)


@pytest.fixture
def reports(site: SqliteStore) -> Reports:
    """Return the reports of the site's servers."""
    return Reports(site)


async def told(store: SqliteStore, name: str) -> list[str]:
    """Return the types of an object's events that no effect told, less those of servers that come and go."""
    found = [event.type for event in await events(store, f'object = "{name}"') if not event.operation]
    return [kind for kind in found if not kind.startswith("SERVER_")]


async def test_storage_is_lost_server_by_server_and_back_with_the_last(site: SqliteStore, reports: Reports) -> None:
    """Each loss is an event; the repository shows who lacks it, and is unavailable once nobody has it."""
    shown = []
    for name, state in (("s", PRESENT), ("s", LOST), ("t", LOST), ("s", PRESENT), ("t", PRESENT)):
        await reports.send(name, storage=state)
        found = await site.get("repositories/r")
        shown.append((list(found.lost_servers), found.state))
    assert shown == [
        ([], READY),
        (["servers/s"], READY),
        (["servers/s", "servers/t"], UNAVAILABLE),
        (["servers/t"], READY),
        ([], READY),
    ]
    assert await told(site, "repositories/r") == ["STORAGE_LOST", "STORAGE_LOST", "STORAGE_BACK"]


async def test_what_is_reported_again_or_late_is_told_once(site: SqliteStore, reports: Reports) -> None:
    """A loss that is reported for ever, by agents that start anew too, and a look that arrives behind a later one."""
    for _ in range(3):
        await reports.send(storage=LOST)
    await reports.send(storage=PRESENT)
    await reports.send(storage=LOST, look=2)
    assert await told(site, "repositories/r") == ["STORAGE_LOST", "STORAGE_BACK"]
    assert list((await site.get("repositories/r")).lost_servers) == []


@pytest.mark.parametrize("nothing", [UNKNOWN, UNLOOKED, None])
async def test_what_an_agent_cannot_tell_changes_nothing(
    site: SqliteStore, reports: Reports, nothing: int | None
) -> None:
    """Storage that hangs, or was not looked at, is neither lost nor back."""
    silent: dict[str, Any] = {} if nothing is None else {"storage": nothing}
    await reports.send(**silent)
    assert await told(site, "repositories/r") == []
    await reports.send(storage=LOST)
    await reports.send(**silent)
    await reports.send(state=OFFLINE, **silent)
    assert await told(site, "repositories/r") == ["STORAGE_LOST"]
    assert list((await site.get("repositories/r")).lost_servers) == ["servers/s"]


async def test_storage_that_a_job_takes_away_is_not_lost(site: SqliteStore, reports: Reports) -> None:
    """While it is being removed, while it is not presented, and where another repository has the name now."""
    deleting = stored(repository_pb2.REPOSITORY_STATE_DELETING)
    await done(site, effect("2/1/1", update(deleting, "state"), token=2))
    await reports.send(storage=LOST)
    await done(site, effect("3/1/1", update(stored(READY, "servers/t"), "state", "servers"), token=3))
    await reports.send(storage=PRESENT)
    await reports.send(storage=LOST)
    await done(site, effect("4/1/1", delete("repositories/r"), token=4))
    again = stored()
    again.uid = "uid-other"
    await done(site, effect("5/1/1", create(again), token=5))
    await reports.send(storage=PRESENT)
    await reports.send(storage=LOST)
    assert await told(site, "repositories/r") == []


async def test_storage_that_is_given_up_is_missed_no_more(site: SqliteStore, reports: Reports) -> None:
    """A server that has lost it and is not to have it any more ends the trouble with its next report of something."""
    await reports.send(storage=LOST)
    await done(site, effect("2/1/1", update(stored(READY, "servers/t"), "servers"), token=2))
    assert list((await site.get("repositories/r")).lost_servers) == []
    await reports.send()
    assert await told(site, "repositories/r") == ["STORAGE_LOST", "STORAGE_BACK"]


async def test_links_are_up_again_with_the_last_of_them(site: SqliteStore, reports: Reports) -> None:
    """Each that goes down is an event on the server; one that comes back while another is down ends nothing."""
    for states in ((UP, UP), (DOWN, UP), (DOWN, DOWN), (UP, DOWN), (UNASKED, UNASKED), (UP, DOWN), (UP, UP)):
        await reports.send(links=dict(zip(("br0", "eth1"), states, strict=True)))
    assert await told(site, "servers/s") == ["LINK_DOWN", "LINK_DOWN", "LINK_UP"]
    messages = [event.message for event in await events(site, "type = LINK_DOWN")]
    assert messages == [
        "br0 of servers/s, the bridge of networks/lan, is down",
        "eth1 of servers/s, the uplink of networks/lan, is down",
    ]


async def test_links_that_a_job_takes_away_have_not_gone_down(site: SqliteStore, reports: Reports) -> None:
    """A network that is being deleted, or is gone, has no link that could break."""
    await reports.send(links={"br0": UP})
    deleting = network(network_pb2.NETWORK_STATE_DELETING)
    await done(site, effect("2/1/1", update(deleting, "state"), token=2))
    await reports.send(links={"br0": DOWN})
    await done(site, effect("3/1/1", delete("networks/lan"), token=3))
    await reports.send(links={})
    assert await told(site, "servers/s") == []


async def test_an_agent_that_has_not_looked_yet_mends_nothing(site: SqliteStore, reports: Reports) -> None:
    """One whose state was lost knows of no link: what was down stays down until it is seen up, or is gone."""
    await reports.send(links={"br0": DOWN})
    await reports.send()
    assert await told(site, "servers/s") == ["LINK_DOWN"]
    await done(site, effect("2/1/1", delete("networks/lan"), token=2))
    await reports.send(links={"br1": UP})
    assert await told(site, "servers/s") == ["LINK_DOWN", "LINK_UP"]


async def test_the_troubles_of_a_removed_server_are_forgotten(
    site: SqliteStore, reports: Reports, clock: FakeClock
) -> None:
    """A server of the same name that comes later begins without them."""
    await reports.send(storage=LOST, links={"br0": DOWN})
    await done(site, effect("2/1/1", delete("servers/s"), token=2))
    await done(site, effect("3/1/1", create(server("s", memory=GIB)), token=3))
    clock.advance(60)
    assert list((await site.get("repositories/r")).lost_servers) == []
    await reports.send(links={"br0": UP})
    assert await told(site, "servers/s") == ["LINK_DOWN"]
