"""Create Virtual Machine: the machine, its pool, then each disk and each network card.

The jobs and their order are those that people know: Create Virtual Machine, Add Virtual Machine to Server Pool, for
each disk Create Virtual Disk and Add Virtual Disk to Virtual Machine, for each card Create VNIC on Virtual Machine.
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
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import storage_server
from virtyard.operations.machines import MOST_CARDS, MOST_DISKS, check_machine, check_number, mac_address
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.refusals import state_word, wrong_state

MIB = 1 << 20
Request = create_virtual_machine_pb2.CreateVirtualMachineRequest


def _name(request: Request) -> str:
    return named("virtualMachines", request.virtual_machine_id, "virtual_machine_id")


def _disk_names(request: Request) -> list[str]:
    return [
        named(
            "virtualDisks",
            disk.virtual_disk_id or f"{request.virtual_machine_id}-disk{index}",
            f"disks[{index}].virtual_disk_id",
        )
        for index, disk in enumerate(request.disks)
    ]


def _vnic_names(request: Request) -> list[str]:
    return [
        named("vnics", vnic.vnic_id or f"{request.virtual_machine_id}-vnic{index}", f"vnics[{index}].vnic_id")
        for index, vnic in enumerate(request.vnics)
    ]


def _pool(request: Request) -> str:
    if not request.virtual_machine.server_pool:
        raise InvalidRequest.of("virtual_machine.server_pool", "is required: the pool whose servers may run it")
    return request.virtual_machine.server_pool


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the names to be taken, the pool, and each repository with the servers that can reach it."""
    repositories = sorted({disk.repository for disk in request.disks})
    names = [_name(request), _pool(request), *_disk_names(request), *_vnic_names(request)]
    return [*map(select, names), *(select(name, "server_pool/servers@server_pool") for name in repositories)]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the jobs; see the module for their order."""
    name = _name(request)
    check_free(view, name, "virtual_machine_id")
    check_machine(request.virtual_machine)
    check_number(len(request.disks), MOST_DISKS, "disks")
    check_number(len(request.vnics), MOST_CARDS, "vnics")
    pool = view.get(_pool(request), server_pool_pb2.ServerPool, field="virtual_machine.server_pool").name
    machine = configured(request.virtual_machine)
    machine.name, machine.uid = name, ids.uid(name)
    machine.display_name = display_name(machine.display_name, id_of(name), "virtual_machine.display_name")
    machine.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    machine.ClearField("server_pool")

    builder = PlanBuilder(view)
    builder.job("Create Virtual Machine", name).write("Record the machine", machine)
    added = virtual_machine_pb2.VirtualMachine(name=name, server_pool=pool)
    builder.job("Add Virtual Machine to Server Pool", name).write("Add it to the pool", update(added, "server_pool"))
    builder.lock(name, LockMode.X, parent=pool)
    taken: set[str] = set()
    for index, disk_name in enumerate(_disk_names(request)):
        _check_new(view, taken, disk_name, f"disks[{index}].virtual_disk_id")
        _plan_disk(builder, request, index, _disk(request, index, disk_name, ids.uid(disk_name)), view)
    addresses: set[str] = set()
    for index, vnic_name in enumerate(_vnic_names(request)):
        _check_new(view, taken, vnic_name, f"vnics[{index}].vnic_id")
        vnic = _vnic(request, index, vnic_name, ids.uid(vnic_name))
        if vnic.mac_address in addresses:
            text = f"{vnic.mac_address} is named twice; each card needs an address of its own"
            raise InvalidRequest.of(f"vnics[{index}].mac_address", text)
        addresses.add(vnic.mac_address)
        job = builder.job("Create VNIC on Virtual Machine", vnic.name)
        builder.lock(vnic.name, LockMode.X, parent=name)
        job.write("Plug in the card", vnic)
    return builder.build(name)


def _check_new(view: View, taken: set[str], name: str, field: str) -> None:
    """Refuse the name of a disk or card that exists, or that the request names a second time."""
    check_free(view, name, field)
    if name in taken:
        raise InvalidRequest.of(field, f"{name} is named twice; each needs an id of its own")
    taken.add(name)


def _repository(request: Request, index: int, view: View) -> repository_pb2.Repository:
    """Return the repository of a disk; ready, and presented to the machine's pool."""
    field = f"disks[{index}].repository"
    repository = view.get(request.disks[index].repository, repository_pb2.Repository, field=field)
    if repository.server_pool != _pool(request):
        raise InvalidRequest.of(field, f"{repository.name} is not presented to {_pool(request)}")
    if repository.state != repository_pb2.REPOSITORY_STATE_READY:
        text = f"{repository.name} is {state_word(repository)}; it must be ready"
        raise wrong_state(field, repository.name, text)
    return repository


def _plan_disk(
    builder: PlanBuilder, request: Request, index: int, disk: virtual_disk_pb2.VirtualDisk, view: View
) -> None:
    repository = _repository(request, index, view)
    servers = view.of(server_pb2.Server, server_pool=repository.server_pool)
    server = storage_server(servers, disk.uid, repository.name, f"disks[{index}].repository")
    job = builder.job("Create Virtual Disk", disk.name)
    builder.lock(disk.name, LockMode.X, parent=repository.name)
    # The image first and its record second, so that no half-made disk is ever visible.
    made = job.step(
        "Make the disk's image",
        server.name,
        create_disk_file_pb2.CreateDiskFile(
            repository_path=repository.path,
            repository_uid=repository.uid,
            disk_uid=disk.uid,
            size_bytes=disk.size_bytes,
            full=disk.allocation == virtual_disk_pb2.DISK_ALLOCATION_FULL,
        ),
        undo=remove_disk_file_pb2.RemoveDiskFile(
            repository_path=repository.path, repository_uid=repository.uid, disk_uid=disk.uid
        ),
        weight=5,
    )
    job.write("Record the disk", disk)
    job.bind("writes[0].create.virtual_disk.path", made, "path")
    job.bind("writes[0].create.virtual_disk.allocated_bytes", made, "allocated_bytes")
    attached = virtual_disk_pb2.VirtualDisk(name=disk.name, virtual_machine=_name(request))
    attach = builder.job("Add Virtual Disk to Virtual Machine", disk.name)
    attach.write("Attach the disk", update(attached, "virtual_machine"))


def _disk(request: Request, index: int, name: str, uid: str) -> virtual_disk_pb2.VirtualDisk:
    """Return the record of a disk that is attached to nothing yet."""
    wanted = request.disks[index]
    if wanted.size_bytes % MIB or wanted.size_bytes <= 0:
        text = f"{wanted.size_bytes} is not allowed; it must be a multiple of 1 MiB above 0"
        raise InvalidRequest.of(f"disks[{index}].size_bytes", text)
    return virtual_disk_pb2.VirtualDisk(
        name=name,
        uid=uid,
        display_name=id_of(name),
        repository=wanted.repository,
        size_bytes=wanted.size_bytes,
        allocation=wanted.allocation or virtual_disk_pb2.DISK_ALLOCATION_SPARSE,
        position=index,
        serial=uid[:20],
        state=virtual_disk_pb2.VIRTUAL_DISK_STATE_READY,
    )


def _vnic(request: Request, index: int, name: str, uid: str) -> vnic_pb2.Vnic:
    """Return the record of a card."""
    wanted = request.vnics[index]
    return vnic_pb2.Vnic(
        name=name,
        uid=uid,
        display_name=id_of(name),
        virtual_machine=_name(request),
        mac_address=mac_address(wanted.mac_address, uid, f"vnics[{index}].mac_address"),
        network=wanted.network or vnic_pb2.VNIC_NETWORK_USER,
        position=index,
        state=vnic_pb2.VNIC_STATE_READY,
    )


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateVirtualMachine", selections=selections, plan=plan
)
