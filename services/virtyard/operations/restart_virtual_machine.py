"""Restart Virtual Machine: its guest shuts down, or is cut short after a while, and boots again where it was."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import boot_guest_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import restart_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.running import KILL, PLACEMENT, plan_shutdown, running, running_machine

Request = restart_virtual_machine_pb2.RestartVirtualMachineRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the machine, its pool and the server that it runs on."""
    return [select(request.name, "server_pool", "server/server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the shutdown, which can be taken back by a boot, the boot that cannot, and the record after it."""
    machine, server = running_machine(view, request.name, request.etag)
    builder = PlanBuilder(view)
    job = plan_shutdown(builder, "Restart Virtual Machine", machine, server, request)
    boot = boot_guest_pb2.BootGuest(virtual_machine=machine.name, uid=machine.uid)
    booted = job.step("Boot the guest", server.name, boot, pivot=True)
    # Its guest may have ended while this waited for its locks, and the machine be recorded as stopped: it runs now.
    after = virtual_machine_pb2.VirtualMachine(
        name=machine.name, server=server.name, state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    )
    job.write("Record how it runs", update(after, "state", "server", "placement"), forward=True)
    for field in PLACEMENT:
        job.bind(f"writes[0].update.object.virtual_machine.placement.{field}", booted, field)
    return builder.build(machine.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.RestartVirtualMachine",
    selections=selections,
    plan=plan,
    needs={"name": (running,)},
    yields_to=frozenset({KILL}),
)
