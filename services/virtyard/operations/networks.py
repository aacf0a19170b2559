"""What every operation on networks checks and plans: the bridge on each server, and what cards need of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from virtyard.api.actions.v1 import create_bridge_pb2, remove_bridge_pb2, remove_other_bridges_pb2
from virtyard.api.inventory.v1 import network_pb2, server_pb2, vnic_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import JobBuilder
from virtyard.kernel.view import View
from virtyard.operations.needs import check
from virtyard.operations.refusals import listed_names, state_word

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")


def bridge_name(uid: str) -> str:
    """Return the name that the bridge of a network has on every server; the kernel allows 15 characters."""
    return f"vy{uid.replace('-', '')[:10]}"


def check_uplink(uplink: str, field: str) -> str:
    """Return the name of an interface, or the empty one.

    Raises:
        InvalidRequest: no interface can have it; the refusal names `field`.
    """
    if uplink and not _INTERFACE.fullmatch(uplink):
        raise InvalidRequest.of(field, f"{uplink!r} is not the name of an interface: 1 to 15 characters, as eth1")
    return uplink


def create_bridge(network: network_pb2.Network) -> create_bridge_pb2.CreateBridge:
    """Return the action by which a server gets the network's bridge."""
    return create_bridge_pb2.CreateBridge(
        network=network.name, uid=network.uid, bridge=network.bridge, uplink=network.uplink
    )


def remove_bridge(network: network_pb2.Network) -> remove_bridge_pb2.RemoveBridge:
    """Return the action by which a server loses the network's bridge."""
    return remove_bridge_pb2.RemoveBridge(network=network.name, uid=network.uid, bridge=network.bridge)


def plan_other_bridges(
    job: JobBuilder, server: str, kept: Iterable[network_pb2.Network] = (), *, address: str = ""
) -> None:
    """Plan the step by which a server loses the bridges of all networks but these.

    It needs no list of them, so it removes those that no record names. Its undo brings none of them back.

    Args:
        job: a job that has the server locked.
        server: the server.
        kept: every network that the server is recorded to carry; their bridges stay as they are.
        address: where its agent is, if the inventory does not know that yet.
    """
    others = remove_other_bridges_pb2.RemoveOtherBridges(network_uids=[network.uid for network in kept])
    job.step("Remove bridges that it should not have", server, others, undo=others, address=address)


def carried_by(view: View, server: str) -> list[network_pb2.Network]:
    """Return the networks that a server is recorded to carry; `networks@servers` of it must have been read."""
    return [network for network in view.of(network_pb2.Network) if server in network.servers]


def plan_bridges(job: JobBuilder, server: str, networks: Iterable[network_pb2.Network]) -> None:
    """Plan the steps by which a server gets the bridges of these networks; those that it has stay as they are.

    A network that is being deleted is left to who deletes it.
    """
    for network in networks:
        if network.state == network_pb2.NETWORK_STATE_READY:
            made = create_bridge(network)
            job.step(f"Make the bridge of {network.name}", server, made, undo=remove_bridge(network))


def ready_network(view: View, name: str, field: str) -> network_pb2.Network:
    """Return a network that is ready for cards.

    Raises:
        NotFound: there is no such network.
        WrongState: it is not ready; the refusal names `field`.
    """
    network = view.get(name, network_pb2.Network, field=field)
    check(network, field, network_ready)
    return network


def network_ready(network: network_pb2.Network) -> str:
    """Need a network that is ready for cards."""
    if network.state != network_pb2.NETWORK_STATE_READY:
        return f"{network.name} is {state_word(network)}; it must be ready"
    return ""


def without_cards(network: network_pb2.Network) -> str:
    """Need a network that no card is plugged into."""
    if network.vnics:
        return f"{network.name} has {listed_names(network.vnics)}; no card may be plugged into it"
    return ""


def networks_of(view: View, cards: Sequence[vnic_pb2.Vnic]) -> list[network_pb2.Network]:
    """Return the networks that cards are plugged into, each once, in the order of their names."""
    names = sorted({card.bridged_network for card in cards if card.bridged_network})
    return [ready_network(view, name, "name") for name in names]


def missing_network(server: server_pb2.Server, networks: Sequence[network_pb2.Network]) -> str:
    """Return why a server cannot run a machine with cards in these networks; empty if it can."""
    missing = [id_of(network.name) for network in networks if server.name not in network.servers]
    return f"does not carry {', '.join(missing)}" if missing else ""
