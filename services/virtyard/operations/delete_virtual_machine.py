"""Delete Virtual Machine: move its disks to the trash, which can be undone, then erase them and remove the records.

Until the last disk lies in the trash everything can be put back; erasing is the pivot. Without disks it is one write.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import erase_disk_files_pb2, restore_disk_file_pb2, trash_disk_file_pb2
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, virtual_disk_pb2, virtual_machine_pb2, vnic_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, JobBuilder, PlanBuilder, delete, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import servers_of, storage_server
from virtyard.operations.machines import stopped

Request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the machine, its cards, and its disks with the servers that reach them."""
    disks = "virtualDisks@virtual_machine/repository/server_pool/servers@server_pool"
    return [select(request.name, "server_pool", disks, "vnics@virtual_machine")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the jobs; see the module for their order."""
    machine = view.get(request.name, virtual_machine_pb2.VirtualMachine, field="name", etag=request.etag)
    disks = view.of(virtual_disk_pb2.VirtualDisk, virtual_machine=machine.name)
    cards = view.of(vnic_pb2.Vnic, virtual_machine=machine.name)
    builder = PlanBuilder(view)
    job = builder.job("Delete Virtual Machine", machine.name)
    if disks:
        _mark(job, machine, disks)
        for disk in disks:
            _plan_trash(builder, job, disk, view)
        _plan_erasure(job, disks, view)
    names = [card.name for card in cards] + [disk.name for disk in disks] + [machine.name]
    job.write("Remove the records", *map(delete, names), after_children=bool(disks), forward=bool(disks))
    return builder.build()


def _mark(
    job: JobBuilder, machine: virtual_machine_pb2.VirtualMachine, disks: Sequence[virtual_disk_pb2.VirtualDisk]
) -> None:
    leaving = virtual_machine_pb2.VirtualMachine(
        name=machine.name, state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_DELETING
    )
    trashed = [
        virtual_disk_pb2.VirtualDisk(name=disk.name, state=virtual_disk_pb2.VIRTUAL_DISK_STATE_DELETING)
        for disk in disks
    ]
    job.write("Mark the machine and its disks", *(update(item, "state") for item in (leaving, *trashed)))


def _storage(
    disk: virtual_disk_pb2.VirtualDisk, view: View
) -> tuple[repository_pb2.Repository, list[server_pb2.Server]]:
    repository = view.get(disk.repository, repository_pb2.Repository, field="name")
    return repository, servers_of(view, repository)


def _plan_trash(builder: PlanBuilder, parent: JobBuilder, disk: virtual_disk_pb2.VirtualDisk, view: View) -> None:
    repository, servers = _storage(disk, view)
    where = {"repository_path": repository.path, "repository_uid": repository.uid, "disk_uid": disk.uid}
    builder.job("Delete Virtual Disk", disk.name, parent=parent).step(
        "Move the image to the trash",
        storage_server(servers, disk.uid, repository.name, "name").name,
        trash_disk_file_pb2.TrashDiskFile(**where),
        undo=restore_disk_file_pb2.RestoreDiskFile(**where),
    )


def _plan_erasure(job: JobBuilder, disks: Sequence[virtual_disk_pb2.VirtualDisk], view: View) -> None:
    """Erase repository by repository: the first erasure is the point of no return, the others follow it."""
    for index, name in enumerate(sorted({disk.repository for disk in disks})):
        inside = [disk for disk in disks if disk.repository == name]
        repository, servers = _storage(inside[0], view)
        job.step(
            f"Erase the images in {name}",
            storage_server(servers, repository.uid, name, "name").name,
            erase_disk_files_pb2.EraseDiskFiles(
                repository_path=repository.path, repository_uid=repository.uid, disk_uids=[disk.uid for disk in inside]
            ),
            pivot=index == 0,
            after_children=True,
        )


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteVirtualMachine",
    selections=selections,
    plan=plan,
    needs={"name": (stopped,)},
)
