"""Rename Virtual Machine: another display name; the resource name, which is its identity, stays."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import rename_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.naming import check_display_name

Request = rename_virtual_machine_pb2.RenameVirtualMachineRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the machine and its pool, which is its ancestor in the lock tree."""
    return [select(request.name, "server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the one write."""
    machine = view.get(request.name, virtual_machine_pb2.VirtualMachine, field="name", etag=request.etag)
    wanted = check_display_name(request.display_name, "display_name")
    renamed = virtual_machine_pb2.VirtualMachine(name=machine.name, display_name=wanted)
    builder = PlanBuilder(view)
    builder.job("Rename Virtual Machine", machine.name).write(
        "Change the display name", update(renamed, "display_name")
    )
    return builder.build(machine.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.RenameVirtualMachine", selections=selections, plan=plan
)
