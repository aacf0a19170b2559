"""Delete Virtual Disk: move the image to the trash, which can be undone, then erase it and remove the record."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import repository_pb2, virtual_disk_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import disk_ready, plan_erasure, unattached
from virtyard.operations.hosts import servers_of, storage_server

Request = delete_virtual_disk_pb2.DeleteVirtualDiskRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the disk, and its repository with the servers that reach it."""
    return [select(request.name, "repository/server_pool/servers@server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the steps; erasing is the point of no return."""
    disk = view.get(request.name, virtual_disk_pb2.VirtualDisk, field="name", etag=request.etag)
    repository = view.get(disk.repository, repository_pb2.Repository, field="name")
    server = storage_server(servers_of(view, repository), disk.uid, repository.name, "name").name
    builder = PlanBuilder(view)
    leaving = virtual_disk_pb2.VirtualDisk(name=disk.name, state=virtual_disk_pb2.VIRTUAL_DISK_STATE_DELETING)
    plan_erasure(builder.job("Delete Virtual Disk", disk.name), leaving, disk.uid, repository, server)
    return builder.build()


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteVirtualDisk",
    selections=selections,
    plan=plan,
    needs={"name": (unattached, disk_ready)},
)
