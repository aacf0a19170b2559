"""Networks on real bridges: machines of two servers reach each other, and nothing is left on the servers."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import FAILED, create_machine, list_objects, new_disk, prepare, run
from tests.acceptance.site import Site, open_site
from tests.acceptance.wires import UPLINK, ip, wired
from tools import guest
from virtyard.api.inventory.v1 import network_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import (
    create_network_pb2,
    create_virtual_machine_pb2,
    delete_network_pb2,
    delete_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    refresh_server_pb2,
    start_virtual_machine_pb2,
)
from virtyard_client.client import Client

pytestmark = [pytest.mark.timeout(240), pytest.mark.qemu]

LIMIT = 90
POOL = "52:54:00:10:00:00-52:54:00:10:00:0f"


def create_network(uplink: str, network_id: str = "lan") -> create_network_pb2.CreateNetworkRequest:
    """The request for a network of both servers."""
    return create_network_pb2.CreateNetworkRequest(
        network_id=network_id,
        network=network_pb2.Network(uplink=uplink, mac_pool=POOL),
        servers=["servers/s1", "servers/s2"],
    )


async def machine(client: Client, site: Site, made: guest.Guest, name: str, number: int, peer: int) -> Path:
    """Create a machine in the network and start it on its own server; return its console's log."""
    kernel, initrd = (shutil.copy(path, site.shared) for path in (made.kernel, made.initrd))
    words = f"{made.kernel_arguments} virtyard.address=192.168.77.{number}/24 virtyard.peer=192.168.77.{peer}"
    boot = virtual_machine_pb2.BootSource(kernel_path=str(kernel), initrd_path=str(initrd), kernel_arguments=words)
    request = create_machine(site, name, [new_disk(4)], memory_mib=96, boot=boot)
    request.vnics.append(create_virtual_machine_pb2.NewVnic(bridged_network="networks/lan"))
    await run(client, request)
    start = start_virtual_machine_pb2.StartVirtualMachineRequest(
        name=f"virtualMachines/{name}", server=f"servers/s{number}"
    )
    await run(client, start)
    machines = {item.name: item for item in await list_objects(client, "VirtualMachines")}
    return Path(machines[start.name].placement.serial_log_path)


async def test_machines_of_two_servers_reach_each_other() -> None:
    """By the bridges, over the uplinks, both ways; killed and deleted, they leave no tap and no bridge."""
    try:
        made = guest.make_guest()
    except guest.GuestUnavailableError as error:
        pytest.skip(f"no kernel to boot: {error}")
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu is not installed")
    with (
        wired() as wires,
        open_site("embedded", ("s1", "s2"), driver="qemu", homes=wires.homes, namespaces=wires.namespaces) as site,
    ):
        async with site.client() as client:
            await prepare(site, client)
            before = {server: wires.links(server) for server in wires.namespaces}
            await refused(client, create_network("nowhere"), "nowhere is not an interface of this host")
            await refused(client, create_network("eth0"), "eth0 has addresses")
            assert {server: wires.links(server) for server in wires.namespaces} == before

            await run(client, create_network(UPLINK))
            await refused(client, create_network(UPLINK, "other"), f"{UPLINK} belongs to another bridge")
            logs = await asyncio.gather(
                machine(client, site, made, "one", 1, peer=2), machine(client, site, made, "two", 2, peer=1)
            )
            async with asyncio.timeout(LIMIT):
                for log, peer in zip(logs, (2, 1), strict=True):
                    while f"REACHED 192.168.77.{peer}" not in log.read_text(errors="replace"):
                        await asyncio.sleep(0.1)

            cards = await list_objects(client, "Vnics")
            assert {card.bridged_network for card in cards} == {"networks/lan"}
            assert all(POOL.partition("-")[0] <= card.mac_address <= POOL.partition("-")[2] for card in cards)
            assert all(card.mac_address in logs[index].read_text() for index, card in enumerate(cards))
            assert len(set(wires.links("s1")) - set(before["s1"])) == 2, "a bridge and a tap"

            # A refresh takes off what no record names, but for what guests are plugged into, and what is not ours.
            home = wires.namespaces["s1"]
            for name, alias in (("vyleft", "virtyard left 1/1/1"), ("vyused", "virtyard used 1/1/2"), ("br9", "mine")):
                ip("-n", home, "link", "add", name, "type", "bridge")
                ip("-n", home, "link", "set", name, "alias", alias)
            ip("-n", home, "tuntap", "add", "vtap9", "mode", "tap")
            ip("-n", home, "link", "set", "vtap9", "master", "vyused")
            (lan,) = await list_objects(client, "Networks")
            refresh = refresh_server_pb2.RefreshServerRequest(name="servers/s1")
            await run(client, refresh)
            assert {"vyused", "br9", lan.bridge} <= set(wires.links("s1"))
            assert "vyleft" not in wires.links("s1")
            for name in ("vtap9", "br9"):
                ip("-n", home, "link", "del", name)
            await run(client, refresh)

            # A server that lost its bridges, as by a boot of its own, gets them back when a machine starts.
            await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/one"))
            assert set(wires.links("s1")) - set(before["s1"]) == {lan.bridge}
            ip("-n", home, "link", "del", lan.bridge)
            await run(
                client,
                start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/one", server="servers/s1"),
            )
            assert lan.bridge in wires.links("s1")
            for name in ("virtualMachines/one", "virtualMachines/two"):
                await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name=name))
                await run(client, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=name))
            await run(client, delete_network_pb2.DeleteNetworkRequest(name="networks/lan"))
            assert {server: wires.links(server) for server in wires.namespaces} == before


async def refused(client: Client, request: Any, words: str) -> None:
    """See an operation fail on its host, for the reason that is said."""
    story = await run(client, request, ended=FAILED)
    assert story.error is not None
    assert words in story.error.message, story.error.message
