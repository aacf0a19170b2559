"""Add VNIC: a new card becomes the last one of a stopped machine."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import virtual_machine_pb2, vnic_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import add_vnic_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.cards import new_card, plan_card
from virtyard.operations.contract import OperationType
from virtyard.operations.machines import MOST_CARDS, check_number, stopped
from virtyard.operations.naming import check_free, named

Request = add_vnic_pb2.AddVnicRequest


def _name(request: Request) -> str:
    return named("vnics", request.vnic_id, "vnic_id")


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the name to be taken, and the machine with its cards."""
    network = [select(request.vnic.bridged_network)] if request.vnic.bridged_network else []
    machine = select(request.virtual_machine, "server_pool", "vnics@virtual_machine")
    return [select(_name(request)), machine, *network]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the one write; the machine is locked, so that it does not start meanwhile."""
    name = _name(request)
    check_free(view, name, "vnic_id")
    machine = view.get(request.virtual_machine, virtual_machine_pb2.VirtualMachine, field="virtual_machine")
    cards = view.of(vnic_pb2.Vnic, virtual_machine=machine.name)
    check_number(len(cards) + 1, MOST_CARDS, "virtual_machine")
    card = new_card(view, configured(request.vnic), name, ids.uid(name), machine.name, "vnic")
    card.position = max((each.position + 1 for each in cards), default=0)
    builder = PlanBuilder(view)
    plan_card(builder, card)
    builder.lock(machine.name, LockMode.X)
    return builder.build(name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.AddVnic",
    selections=selections,
    plan=plan,
    needs={"virtual_machine": (stopped,)},
)
