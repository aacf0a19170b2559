"""What every operation on network cards checks and plans: the address, the record."""

from __future__ import annotations

from virtyard.api.inventory.v1 import vnic_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.mac_addresses import check_address
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import PlanBuilder
from virtyard.kernel.view import View
from virtyard.operations.naming import display_name
from virtyard.operations.networks import ready_network


def new_card(view: View, wanted: vnic_pb2.Vnic, name: str, uid: str, machine: str, field: str) -> vnic_pb2.Vnic:
    """Return the record of a new card of a machine; an address that is not asked for is chosen when it is stored.

    Args:
        view: what was read, the card's network too.
        wanted: what is asked for.
        name: the card's resource name.
        uid: its uid.
        machine: the machine that it is plugged into.
        field: the request's field that holds what is asked for, for a refusal.

    Raises:
        NotFound, WrongState: its network does not exist or is not ready.
        InvalidRequest: the address is none of a card, the display name cannot be shown, or the kind of network does
            not go with the one that is named.
    """
    bridged = wanted.network == vnic_pb2.VNIC_NETWORK_BRIDGED
    if bridged and not wanted.bridged_network:
        raise InvalidRequest.of(f"{field}.bridged_network", "is required, as the kind of network is bridged")
    if wanted.bridged_network:
        if wanted.network and not bridged:
            raise InvalidRequest.of(f"{field}.network", "must be bridged or empty, as bridged_network names one")
        ready_network(view, wanted.bridged_network, f"{field}.bridged_network")
    card = vnic_pb2.Vnic()
    card.CopyFrom(wanted)
    card.name, card.uid, card.virtual_machine = name, uid, machine
    card.display_name = display_name(wanted.display_name, id_of(name), f"{field}.display_name")
    if wanted.mac_address:
        card.mac_address = check_address(wanted.mac_address, f"{field}.mac_address")
    of_hypervisor = wanted.network or vnic_pb2.VNIC_NETWORK_USER
    card.network = vnic_pb2.VNIC_NETWORK_BRIDGED if wanted.bridged_network else of_hypervisor
    card.state = vnic_pb2.VNIC_STATE_READY
    return card


def plan_card(builder: PlanBuilder, card: vnic_pb2.Vnic) -> None:
    """Plan the job that plugs a new card into its machine."""
    job = builder.job("Create VNIC on Virtual Machine", card.name)
    builder.lock(card.name, LockMode.X, parent=card.virtual_machine)
    if card.bridged_network:
        # The network is no ancestor of its cards; S keeps it until the card is recorded.
        builder.lock(card.bridged_network, LockMode.S)
    job.write("Plug in the card", card)
