"""Create Virtual Machine: the machine, its pool, then each disk and each network card.

The jobs and their order are those that people know: Create Virtual Machine, Add Virtual Machine to Server Pool, for each disk
Create Virtual Disk and Add Virtual Disk to Virtual Machine, for each card Create VNIC on Virtual Machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import create_disk_file_pb2, remove_disk_file_pb2
from virtyard.api.inventory.v1 import (
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    vnic_pb2,
)
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import create_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import AlreadyExists, InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import check_id
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import storage_server
from virtyard.operations.machines import check_machine, mac_address

MIB = 1 << 20
Request = create_virtual_machine_pb2.CreateVirtualMachineRequest


def _name(request: Request) -> str:
    return f"virtualMachines/{request.virtual_machine_id}"


def _disk_name(request: Request, index: int) -> str:
    return f"virtualDisks/{request.disks[index].virtual_disk_id or f'{request.virtual_machine_id}-disk{index}'}"


def _vnic_name(request: Request, index: int) -> str:
    return f"vnics/{request.vnics[index].vnic_id or f'{request.virtual_machine_id}-vnic{index}'}"


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the names to be taken, the pool, and each repository with the servers that can reach it."""
    return [
        select(_name(request)),
        select(request.virtual_machine.server_pool),
        *(select(name, "server_pool/servers@server_pool") for name in sorted({disk.repository for disk in request.disks})),
        *(select(_disk_name(request, index)) for index in range(len(request.disks))),
        *(select(_vnic_name(request, index)) for index in range(len(request.vnics))),
    ]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the jobs; see the module for their order."""
    check_id(request.virtual_machine_id, "virtual_machine_id")
    name = _name(request)
    if view.exists(name):
        raise AlreadyExists(f"virtual_machine_id: {name} exists", resource=name, metadata={"field": "virtual_machine_id"})
    check_machine(request.virtual_machine)
    pool = request.virtual_machine.server_pool
    if not pool:
        raise InvalidRequest.of("virtual_machine.server_pool", "is required: the pool whose servers may run the machine")
    view.get(pool, server_pool_pb2.ServerPool, field="virtual_machine.server_pool")

    machine = virtual_machine_pb2.VirtualMachine()
    machine.CopyFrom(request.virtual_machine)
    machine.name, machine.uid = name, ids.uid(name)
    machine.display_name = machine.display_name or request.virtual_machine_id
    machine.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    machine.ClearField("server_pool")
    machine.ClearField("server")
    builder = PlanBuilder(view)
    builder.job("Create Virtual Machine", name).write("Record the machine", machine)
    machine.server_pool = pool
    builder.job("Add Virtual Machine to Server Pool", name).write("Add it to the pool", update(machine, "server_pool"))
    builder.lock(name, LockMode.X, parent=pool)
    for index in range(len(request.disks)):
        _plan_disk(builder, request, index, view, ids)
    for index in range(len(request.vnics)):
        _plan_vnic(builder, request, index, view, ids)
    return builder.build(name)


def _plan_disk(builder: PlanBuilder, request: Request, index: int, view: View, ids: Ids) -> None:
    wanted, name, field = request.disks[index], _disk_name(request, index), f"disks[{index}]"
    check_id(name.partition("/")[2], f"{field}.virtual_disk_id")
    if view.exists(name):
        raise AlreadyExists(f"{field}.virtual_disk_id: {name} exists", resource=name, metadata={"field": f"{field}.virtual_disk_id"})
    if wanted.size_bytes % MIB or not wanted.size_bytes:
        raise InvalidRequest.of(f"{field}.size_bytes", f"{wanted.size_bytes} is not a multiple of 1 MiB above 0")
    repository = view.get(wanted.repository, repository_pb2.Repository, field=f"{field}.repository")
    if repository.server_pool != request.virtual_machine.server_pool:
        raise InvalidRequest.of(f"{field}.repository", f"{repository.name} is not presented to {request.virtual_machine.server_pool}")
    uid = ids.uid(name)
    server = storage_server(view.of(server_pb2.Server, server_pool=repository.server_pool), uid, repository.name)
    where = {"repository_path": repository.path, "repository_uid": repository.uid, "disk_uid": uid}
    disk = virtual_disk_pb2.VirtualDisk(
        name=name,
        uid=uid,
        display_name=name.partition("/")[2],
        repository=repository.name,
        size_bytes=wanted.size_bytes,
        allocation=wanted.allocation or virtual_disk_pb2.DISK_ALLOCATION_SPARSE,
        position=index,
        serial=uid[:20],
        state=virtual_disk_pb2.VIRTUAL_DISK_STATE_READY,
    )
    create = builder.job("Create Virtual Disk", name)
    builder.lock(name, LockMode.X, parent=repository.name)
    made = create.step(
        "Make the disk's image",
        server.name,
        create_disk_file_pb2.CreateDiskFile(
            **where, size_bytes=wanted.size_bytes, full=wanted.allocation == virtual_disk_pb2.DISK_ALLOCATION_FULL
        ),
        undo=remove_disk_file_pb2.RemoveDiskFile(**where),
        weight=5,
    )
    create.write("Record the disk", disk)
    create.bind("writes[0].create.virtual_disk.path", made, "path")
    create.bind("writes[0].create.virtual_disk.allocated_bytes", made, "allocated_bytes")
    attach = virtual_disk_pb2.VirtualDisk(name=name, virtual_machine=_name(request))
    builder.job("Add Virtual Disk to Virtual Machine", name).write("Attach the disk", update(attach, "virtual_machine"))


def _plan_vnic(builder: PlanBuilder, request: Request, index: int, view: View, ids: Ids) -> None:
    wanted, name, field = request.vnics[index], _vnic_name(request, index), f"vnics[{index}]"
    check_id(name.partition("/")[2], f"{field}.vnic_id")
    if view.exists(name):
        raise AlreadyExists(f"{field}.vnic_id: {name} exists", resource=name, metadata={"field": f"{field}.vnic_id"})
    uid = ids.uid(name)
    vnic = vnic_pb2.Vnic(
        name=name,
        uid=uid,
        display_name=name.partition("/")[2],
        virtual_machine=_name(request),
        mac_address=mac_address(wanted.mac_address, uid, f"{field}.mac_address"),
        network=wanted.network or vnic_pb2.VNIC_NETWORK_USER,
        position=index,
        state=vnic_pb2.VNIC_STATE_READY,
    )
    job = builder.job("Create VNIC on Virtual Machine", name)
    builder.lock(name, LockMode.X, parent=_name(request))
    job.write("Plug in the card", vnic)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateVirtualMachine", selections=selections, plan=plan
)
