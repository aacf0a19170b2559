"""Resize Virtual Disk: its image grows, then its record; until the operation ends no guest sees the new size."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import resize_disk_file_pb2
from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import resize_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import MIB, check_size, disk_ready, ready_repository
from virtyard.operations.hosts import servers_of, storage_server
from virtyard.operations.machines import stopped_machine

Request = resize_virtual_disk_pb2.ResizeVirtualDiskRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the disk, the machine that has it, and the repository with the servers that reach it."""
    return [select(request.name, "virtual_machine/server_pool", "repository/server_pool/servers@server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the growth, which can be taken back while the machine is locked, and the record after it."""
    disk = view.get(request.name, virtual_disk_pb2.VirtualDisk, field="name", etag=request.etag)
    if check_size(request.size_bytes, "size_bytes") <= disk.size_bytes:
        text = f"{request.size_bytes // MIB} MiB is not allowed; it must be more than the {disk.size_bytes // MIB} MiB"
        raise InvalidRequest.of("size_bytes", f"{text} that the disk has, as making it smaller would lose data")
    repository = ready_repository(view, disk.repository, "", "name")
    where = {"repository_path": repository.path, "repository_uid": repository.uid, "disk_uid": disk.uid}
    builder = PlanBuilder(view)
    job = builder.job("Resize Virtual Disk", disk.name)
    if disk.virtual_machine:
        builder.lock(stopped_machine(view, disk.virtual_machine, "name").name, LockMode.X)
    grown = job.step(
        "Resize the image",
        storage_server(servers_of(view, repository), disk.uid, repository.name, "name").name,
        resize_disk_file_pb2.ResizeDiskFile(**where, size_bytes=request.size_bytes),
        undo=resize_disk_file_pb2.ResizeDiskFile(**where, size_bytes=disk.size_bytes),
        weight=5,
    )
    after = virtual_disk_pb2.VirtualDisk(name=disk.name, size_bytes=request.size_bytes)
    job.write("Record the size", update(after, "size_bytes", "allocated_bytes"))
    job.bind("writes[0].update.object.virtual_disk.allocated_bytes", grown, "allocated_bytes")
    return builder.build(disk.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.ResizeVirtualDisk",
    selections=selections,
    plan=plan,
    needs={"name": (disk_ready,)},
)
