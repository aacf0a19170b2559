"""Detach Virtual Disk: the disk leaves its stopped machine; its contents stay."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import detach_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import attached
from virtyard.operations.machines import stopped_machine

Request = detach_virtual_disk_pb2.DetachVirtualDiskRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the disk with its repository, and the machine that has it."""
    return [select(request.name, "repository", "virtual_machine/server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the one write; the machine is locked, so that it does not start meanwhile."""
    disk = view.get(request.name, virtual_disk_pb2.VirtualDisk, field="name", etag=request.etag)
    machine = stopped_machine(view, disk.virtual_machine, "name")
    builder = PlanBuilder(view)
    job = builder.job("Remove Virtual Disk from Virtual Machine", disk.name)
    builder.lock(machine.name, LockMode.X)
    detached = virtual_disk_pb2.VirtualDisk(name=disk.name)
    job.write("Detach the disk", update(detached, "virtual_machine", "position"))
    return builder.build(disk.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DetachVirtualDisk",
    selections=selections,
    plan=plan,
    needs={"name": (attached,)},
)
