"""Kill Virtual Machine: end its guest at once, then record that it is stopped."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import kill_guest_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.running import KILL, running, running_machine

Request = kill_virtual_machine_pb2.KillVirtualMachineRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the machine, its pool and the server that it runs on."""
    return [select(request.name, "server_pool", "server/server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the kill, which cannot be undone, and the record after it."""
    machine, server = running_machine(view, request.name, request.etag)
    builder = PlanBuilder(view)
    job = builder.job("Kill Virtual Machine", machine.name)
    builder.lock(server.name, LockMode.IX)
    kill = kill_guest_pb2.KillGuest(virtual_machine=machine.name, uid=machine.uid)
    job.step("End the guest", server.name, kill, pivot=True)
    stopped = virtual_machine_pb2.VirtualMachine(
        name=machine.name, state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    )
    job.write("Record that it is stopped", update(stopped, "state", "server", "placement"), forward=True)
    return builder.build(machine.name)


OPERATION = OperationType(
    method=KILL,
    selections=selections,
    plan=plan,
    needs={"name": (running,)},
    safe_in_quarantine=True,
)
