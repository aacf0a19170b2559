"""Remove VNIC: a card leaves its stopped machine and is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import vnic_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import remove_vnic_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, delete
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.machines import stopped_machine

Request = remove_vnic_pb2.RemoveVnicRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the card and the machine that has it."""
    return [select(request.name, "virtual_machine/server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the one write; the machine is locked, so that it does not start meanwhile."""
    card = view.get(request.name, vnic_pb2.Vnic, field="name", etag=request.etag)
    machine = stopped_machine(view, card.virtual_machine, "name")
    builder = PlanBuilder(view)
    builder.job("Remove VNIC from Virtual Machine", card.name).write("Unplug the card", delete(card.name))
    builder.lock(machine.name, LockMode.X)
    return builder.build()


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.RemoveVnic", selections=selections, plan=plan
)
