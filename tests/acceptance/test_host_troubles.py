"""What happens to the storage and the links of hosts: what goes is told, and what comes back, each once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    MIB,
    ask,
    create_repository,
    list_objects,
    prepare,
    run,
)
from tests.acceptance.site import Site, open_site
from tests.acceptance.test_events import listed
from tests.acceptance.test_host_events import see
from tests.acceptance.test_networks import create_network
from tests.acceptance.wires import UPLINK, Wired, ip, wired
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, virtual_disk_pb2
from virtyard.api.operations.v1 import create_virtual_disk_pb2, delete_network_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(240)

BOTH = {server_pb2.LINK_KIND_BRIDGE, server_pb2.LINK_KIND_UPLINK}


async def test_storage_that_goes_is_told_and_that_comes_back() -> None:
    """A repository that is unmounted, and one whose folder goes while its agents are away: told once, and shown."""
    with (
        open_site("embedded", ("s1", "s2")) as site,
        bound(site.folder / "storage", site.shared / "mounted") as (mount, unmount),
    ):
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_repository(site, "mounted"))
            for name in ("servers/s1", "servers/s2"):
                await watched_for(client, name, "repositories/mounted", "repositories/shared")
            await storage_goes_and_comes(client, mount, unmount)
            await folder_goes_while_the_agent_is_away(client, site)


@pytest.mark.qemu
async def test_links_that_break_are_told_and_those_that_are_mended() -> None:
    """A cable that breaks between two servers is told by both; a network that a job deletes has not gone down."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu is not installed")
    with (
        wired() as wires,
        open_site("embedded", ("s1", "s2"), driver="qemu", homes=wires.homes, namespaces=wires.namespaces) as site,
    ):
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_network(UPLINK))
            await links_go_and_come(client, wires)


@contextmanager
def bound(behind: Path, place: Path) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Mount a folder at a place, which others see too, and yield what mounts it again and what unmounts it."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for folder in (behind, place):
        folder.mkdir()

    def mount() -> None:
        subprocess.run(["mount", "--bind", str(behind), str(place)], check=True)

    def unmount() -> None:
        subprocess.run(["umount", str(place)], check=True)

    mount()
    try:
        yield mount, unmount
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, stderr=subprocess.DEVNULL)


async def server(client: Client, name: str) -> server_pb2.Server:
    """Return a server as it is now."""
    servers: list[server_pb2.Server] = await list_objects(client, "Servers")
    return next(each for each in servers if each.name == name)


async def repository(client: Client, name: str) -> repository_pb2.Repository:
    """Return a repository as it is now."""
    repositories: list[repository_pb2.Repository] = await list_objects(client, "Repositories")
    return next(each for each in repositories if each.name == f"repositories/{name}")


async def of(client: Client, name: str, *kinds: str) -> list[str]:
    """Return those types of an object's events, in order, that are asked for."""
    return [event.type for event in await listed(client, f'object = "{name}"') if event.type in kinds]


async def watched_for(client: Client, name: str, *wanted: str) -> None:
    """Wait until an agent has been told to watch these repositories, and has looked at them."""

    async def looked() -> bool:
        found = (await server(client, name)).observed.repositories
        return {each.repository for each in found if each.state == server_pb2.STORAGE_STATE_PRESENT} == set(wanted)

    await see(looked, f"{name} watches {', '.join(wanted)}")


async def storage_goes_and_comes(client: Client, mount: Callable[[], None], unmount: Callable[[], None]) -> None:
    """Unmounted for both servers the repository is unavailable, and a disk in it is refused for that reason."""
    kinds = ("STORAGE_LOST", "STORAGE_BACK")
    unmount()

    async def lost() -> bool:
        return len((await repository(client, "mounted")).lost_servers) == 2

    await see(lost, "the storage was seen to be lost by both servers")
    assert (await repository(client, "mounted")).state == repository_pb2.REPOSITORY_STATE_UNAVAILABLE
    assert await of(client, "repositories/mounted", *kinds) == ["STORAGE_LOST", "STORAGE_LOST"]
    refused = await run_refused(client, create_machine_on("mounted"))
    assert "repositories/mounted is unavailable; it must be ready" in refused
    mount()

    async def back() -> bool:
        return await of(client, "repositories/mounted", *kinds) == ["STORAGE_LOST", "STORAGE_LOST", "STORAGE_BACK"]

    await see(back, "the storage was told to be back")
    after = await repository(client, "mounted")
    assert (list(after.lost_servers), after.state) == ([], repository_pb2.REPOSITORY_STATE_READY)
    assert await of(client, "repositories/shared", *kinds) == []


async def links_go_and_come(client: Client, wires: Wired) -> None:
    """An uplink that is switched off on one server takes the carrier from the other's."""
    kinds = ("LINK_DOWN", "LINK_UP")
    for name in ("servers/s1", "servers/s2"):

        async def up(name: str = name) -> bool:
            links = (await server(client, name)).observed.links
            return {each.kind for each in links if each.state == server_pb2.LINK_STATE_UP} == BOTH

        await see(up, f"the links of {name} are watched")
    ip("-n", wires.namespaces["s2"], "link", "set", UPLINK, "down")
    for name in ("servers/s1", "servers/s2"):

        async def down(name: str = name) -> bool:
            return await of(client, name, *kinds) == ["LINK_DOWN"]

        await see(down, f"the broken link of {name} was told")
    (event,) = await listed(client, 'object = "servers/s1" AND type = LINK_DOWN')
    assert event.message == f"{UPLINK} of servers/s1, the uplink of networks/lan, is down"
    ip("-n", wires.namespaces["s2"], "link", "set", UPLINK, "up")
    for name in ("servers/s1", "servers/s2"):

        async def again(name: str = name) -> bool:
            return await of(client, name, *kinds) == ["LINK_DOWN", "LINK_UP"]

        await see(again, f"the mended link of {name} was told")
    # What a job takes away has not gone down.
    await run(client, delete_network_pb2.DeleteNetworkRequest(name="networks/lan"))

    async def gone() -> bool:
        return not (await server(client, "servers/s1")).observed.links

    await see(gone, "the links of the deleted network are watched no more")
    assert await of(client, "servers/s1", *kinds) == ["LINK_DOWN", "LINK_UP"]


async def folder_goes_while_the_agent_is_away(client: Client, site: Site) -> None:
    """What an agent finds at its start otherwise than it was last reported has happened meanwhile."""
    kinds = ("STORAGE_LOST", "STORAGE_BACK")
    before = await of(client, "repositories/shared", *kinds)
    site.kill("s1")
    site.kill("s2")
    (site.shared / "shared").rename(site.folder / "aside")
    site.start("s1")

    async def lost() -> bool:
        return list((await repository(client, "shared")).lost_servers) == ["servers/s1"]

    await see(lost, "the storage was told to be lost by the next agent")
    assert (await repository(client, "shared")).state == repository_pb2.REPOSITORY_STATE_READY, "s2 is not asked"
    (site.folder / "aside").rename(site.shared / "shared")

    async def back() -> bool:
        return await of(client, "repositories/shared", *kinds) == [*before, "STORAGE_LOST", "STORAGE_BACK"]

    await see(back, "the folder was told to be back")


def create_machine_on(where: str) -> create_virtual_disk_pb2.CreateVirtualDiskRequest:
    """Return the request for a disk in a repository."""
    return create_virtual_disk_pb2.CreateVirtualDiskRequest(
        virtual_disk_id="data",
        virtual_disk=virtual_disk_pb2.VirtualDisk(repository=f"repositories/{where}", size_bytes=4 * MIB),
    )


async def run_refused(client: Client, request: Any) -> str:
    """See a request be refused, and return the words."""
    with pytest.raises(ClientError) as refused:
        await ask(client, request)
    return str(refused.value)
