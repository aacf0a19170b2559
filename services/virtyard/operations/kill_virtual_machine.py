"""Kill Virtual Machine: end its guest at once, then record that it is stopped."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import kill_guest_pb2
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.refusals import state_word, wrong_state

Request = kill_virtual_machine_pb2.KillVirtualMachineRequest

_RUNNING = (
    virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING,
    virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
)


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the machine, its pool and the server that it runs on."""
    return [select(request.name, "server_pool", "server/server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the kill, which cannot be undone, and the record after it."""
    machine = view.get(request.name, virtual_machine_pb2.VirtualMachine, field="name", etag=request.etag)
    if machine.state not in _RUNNING or not machine.server:
        text = f"{machine.name} is {state_word(machine)}; it must be running or starting"
        raise wrong_state("name", machine.name, text)
    server = view.get(machine.server, server_pb2.Server, field="name")
    if server.state != server_pb2.SERVER_STATE_ONLINE:
        text = f"{machine.name} runs on {server.name}, which is {state_word(server)}; the server must be online"
        raise wrong_state("name", server.name, text)

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
    method="virtyard.api.operations.v1.OperationService.KillVirtualMachine", selections=selections, plan=plan
)
