"""What every operation on network cards checks and plans: the address, the record."""

from __future__ import annotations

from virtyard.api.inventory.v1 import vnic_pb2
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import PlanBuilder
from virtyard.operations.machines import mac_address
from virtyard.operations.naming import display_name


def new_card(wanted: vnic_pb2.Vnic, name: str, uid: str, machine: str, field: str) -> vnic_pb2.Vnic:
    """Return the record of a new card of a machine.

    Args:
        wanted: what is asked for.
        name: the card's resource name.
        uid: its uid, from which its address is made if none is asked for.
        machine: the machine that it is plugged into.
        field: the request's field that holds what is asked for, for a refusal.

    Raises:
        InvalidRequest: the address is none of a card, or the display name cannot be shown.
    """
    card = vnic_pb2.Vnic()
    card.CopyFrom(wanted)
    card.name, card.uid, card.virtual_machine = name, uid, machine
    card.display_name = display_name(wanted.display_name, id_of(name), f"{field}.display_name")
    card.mac_address = mac_address(wanted.mac_address, uid, f"{field}.mac_address")
    card.network = wanted.network or vnic_pb2.VNIC_NETWORK_USER
    card.state = vnic_pb2.VNIC_STATE_READY
    return card


def plan_card(builder: PlanBuilder, card: vnic_pb2.Vnic) -> None:
    """Plan the job that plugs a new card into its machine."""
    job = builder.job("Create VNIC on Virtual Machine", card.name)
    builder.lock(card.name, LockMode.X, parent=card.virtual_machine)
    job.write("Plug in the card", card)
