"""What every operation on a running machine checks and plans: where it runs, and how its guest is brought down."""

from __future__ import annotations

from typing import Protocol

from virtyard.api.actions.v1 import boot_guest_pb2, shut_down_guest_pb2
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2, write_objects_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import INVENTORY
from virtyard.kernel.plan import JobBuilder, PlanBuilder, update
from virtyard.kernel.view import View
from virtyard.operations.refusals import state_word, wrong_state

KILL = "virtyard.api.operations.v1.OperationService.KillVirtualMachine"
"""The method after which nothing that a shutdown would put back is of use."""
PLACEMENT = ("hypervisor", "accelerator", "process_id", "serial_log_path", "run")
"""What an agent tells of a guest that it started, and the machine's record keeps."""
_RUNNING = (
    virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING,
    virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
)
_USUAL_GRACE, _LONGEST_GRACE = 60, 3600


class _Grace(Protocol):
    """A request that says how long a guest may take."""

    grace_seconds: int
    force: bool


def running(machine: virtual_machine_pb2.VirtualMachine) -> str:
    """Need a machine that runs, or is about to."""
    if machine.state not in _RUNNING or not machine.server:
        return f"{machine.name} is {state_word(machine)}; it must be running or starting"
    return ""


def running_machine(view: View, name: str, etag: str) -> tuple[virtual_machine_pb2.VirtualMachine, server_pb2.Server]:
    """Return a machine that is `running`, and the server that it runs on, which is online.

    Raises:
        NotFound: there is no such machine.
        EtagMismatch: it is another than the caller read.
        WrongState: its server is not online.
    """
    machine = view.get(name, virtual_machine_pb2.VirtualMachine, field="name", etag=etag)
    server = view.get(machine.server, server_pb2.Server, field="name")
    if server.state != server_pb2.SERVER_STATE_ONLINE:
        text = f"{machine.name} runs on {server.name}, which is {state_word(server)}; the server must be online"
        raise wrong_state("name", server.name, text)
    return machine, server


def plan_shutdown(
    builder: PlanBuilder,
    title: str,
    machine: virtual_machine_pb2.VirtualMachine,
    server: server_pb2.Server,
    request: _Grace,
) -> JobBuilder:
    """Plan a job that begins with the guest's own shutdown; a boot takes it back.

    The way back ends with what is recorded of the guest now, whatever a report of the guest that was down has made of
    it: else a machine that a boot has running again might be recorded as stopped.

    Raises:
        InvalidRequest: the grace is out of its range.
    """
    if not 0 <= request.grace_seconds <= _LONGEST_GRACE:
        text = f"{request.grace_seconds} is not allowed; it must be 1 to {_LONGEST_GRACE} s, or 0 for {_USUAL_GRACE} s"
        raise InvalidRequest.of("grace_seconds", text)
    job = builder.job(title, machine.name)
    builder.lock(server.name, LockMode.IX)
    kept = write_objects_pb2.WriteObjects(writes=[update(machine, "state", "server", "placement")])
    job.step("Keep the record of how it runs", INVENTORY, write_objects_pb2.WriteObjects(), undo=kept, weight=0.2)
    job.step(
        "Ask the guest to shut down",
        server.name,
        shut_down_guest_pb2.ShutDownGuest(
            virtual_machine=machine.name,
            uid=machine.uid,
            grace_seconds=request.grace_seconds or _USUAL_GRACE,
            force=request.force,
        ),
        undo=boot_guest_pb2.BootGuest(virtual_machine=machine.name, uid=machine.uid),
        weight=3,
    )
    return job
