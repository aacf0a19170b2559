"""What a burn-in left behind: objects, locks, files in repositories and guests on servers, compared with before it.

Files and guests are looked at where they are, by Refresh Repository and Refresh Server, not in the records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.operations.v1 import refresh_repository_pb2, refresh_server_pb2
from virtyard_client.client import Client

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What there is of the kinds that a burn-in makes."""

    objects: frozenset[str]
    """The names of machines, disks and cards."""
    files: frozenset[str]
    """What looks said of each file that no disk or image names."""
    guests: dict[str, int]
    """How many guests run on each server, as its host sees it."""
    recorded: dict[str, int]
    """How many machines are recorded as running on each server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What is there that was not there before; every part must be empty."""

    objects: Sequence[str]
    locks: Sequence[str]
    files: Sequence[str]
    processes: Sequence[str]

    @property
    def count(self) -> int:
        """How many things were left."""
        return len(self.objects) + len(self.locks) + len(self.files) + len(self.processes)


async def look(client: Client, repository: str, servers: Sequence[str]) -> Picture:
    """Look at the records, the repository's folder and the servers' guests, as they are now.

    Raises:
        ClientError: a look was refused or failed.
    """
    await asyncio.gather(_refresh(client, repository), *(_refresh(client, server) for server in servers))
    machines = await list_all(client, "VirtualMachines", "virtual_machines")
    disks, cards = await list_all(client, "VirtualDisks", "virtual_disks"), await list_all(client, "Vnics", "vnics")
    seen = [await client.inventory.GetServer(inventory_service_pb2.GetServerRequest(name=name)) for name in servers]
    running = [machine.server for machine in machines if machine.server]
    return Picture(
        objects=frozenset(item.name for item in (*machines, *disks, *cards)),
        files=frozenset(await _findings(client, repository)),
        guests={server.name: server.observed.running_guests for server in seen},
        recorded={server.name: running.count(server.name) for server in seen},
    )


async def compare(client: Client, before: Picture, after: Picture, prefix: str, operations: frozenset[str]) -> Leaks:
    """Return what is there after that was not there before, and the locks that these operations still hold.

    Args:
        client: of the site.
        before: the look before the first operation.
        after: the look after the last one.
        prefix: what the ids of the burn-in's own objects begin with; others are other people's.
        operations: the names of its operations.
    """
    held = [lock for lock in await _locks(client) if lock.owner in operations]
    processes = []
    for server, guests in after.guests.items():
        # Somebody else may have started machines meanwhile; a guest beyond the records is nobody's.
        unknown = (guests - after.recorded[server]) - (before.guests.get(server, 0) - before.recorded.get(server, 0))
        if unknown > 0:
            processes.append(f"{unknown} guests on {server} that no machine is recorded for")
    return Leaks(
        objects=sorted(name for name in after.objects if name.partition("/")[2].startswith(prefix)),
        locks=sorted(f"{lock.object} held by {lock.owner}" for lock in held),
        files=sorted(after.files - before.files),
        processes=processes,
    )


async def servers_of(client: Client, pool: str) -> list[str]:
    """Return the servers of a pool that are online."""
    listed = await list_all(client, "Servers", "servers")
    online = server_pb2.SERVER_STATE_ONLINE
    return sorted(item.name for item in listed if item.server_pool == pool and item.state == online)


async def _refresh(client: Client, name: str) -> None:
    if name.startswith("servers/"):
        asked = await client.operations.RefreshServer(refresh_server_pb2.RefreshServerRequest(name=name))
    else:
        asked = await client.operations.RefreshRepository(refresh_repository_pb2.RefreshRepositoryRequest(name=name))
    story = await client.wait(asked)
    if story.error is not None:
        raise story.error


async def list_all(client: Client, method: str, field: str) -> list[Any]:
    """Return all objects of a kind, page by page: `list_all(client, "ServerPools", "server_pools")`."""
    request: Any = getattr(inventory_service_pb2, f"List{method}Request")(page_size=_PAGE)
    found: list[Any] = []
    while True:
        page = await getattr(client.inventory, f"List{method}")(request)
        found.extend(getattr(page, field))
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _locks(client: Client) -> list[lock_service_pb2.Lock]:
    request = lock_service_pb2.ListLocksRequest(page_size=_PAGE)
    found: list[lock_service_pb2.Lock] = []
    while True:
        page = await client.locks.ListLocks(request)
        found.extend(page.locks)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _findings(client: Client, repository: str) -> set[str]:
    request = inventory_service_pb2.ListEventsRequest(page_size=_PAGE, filter=f"object = {repository}")
    found = set()
    while True:
        page = await client.inventory.ListEvents(request)
        found |= {event.message for event in page.events if event.type == "FOREIGN_FILE"}
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
