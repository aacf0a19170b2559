"""Attach Virtual Disk: a disk that is free becomes the last one of a stopped machine."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import attach_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import (
    disk_ready,
    next_position,
    plan_attachment,
    ready_repository,
    unattached,
)
from virtyard.operations.machines import pooled, stopped

Request = attach_virtual_disk_pb2.AttachVirtualDiskRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the disk with its repository, and the machine with its disks."""
    return [
        select(request.name, "repository"),
        select(request.virtual_machine, "server_pool", "virtualDisks@virtual_machine"),
    ]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the one write; the machine is locked, so that it does not start meanwhile."""
    disk = view.get(request.name, virtual_disk_pb2.VirtualDisk, field="name", etag=request.etag)
    machine = view.get(request.virtual_machine, virtual_machine_pb2.VirtualMachine, field="virtual_machine")
    ready_repository(view, disk.repository, machine.server_pool, "name")
    builder = PlanBuilder(view)
    plan_attachment(builder, disk.name, machine, next_position(view, machine, "virtual_machine"))
    return builder.build(disk.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.AttachVirtualDisk",
    selections=selections,
    plan=plan,
    needs={"name": (unattached, disk_ready), "virtual_machine": (stopped, pooled)},
)
