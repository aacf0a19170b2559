"""Create Virtual Machine: the machine, its pool, then each disk and each network card.

The jobs and their order are those that people know: Create Virtual Machine, Add Virtual Machine to Server Pool, for
each disk Create Virtual Disk and Add Virtual Disk to Virtual Machine, for each card Create VNIC on Virtual Machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import server_pool_pb2, virtual_disk_pb2, virtual_machine_pb2, vnic_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import create_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.cards import new_card, plan_card
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import complete, plan_attachment, plan_image, ready_repository, source_image
from virtyard.operations.machines import MOST_CARDS, MOST_DISKS, check_machine, check_number, lock_cdrom
from virtyard.operations.naming import check_free, display_name, named

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
    """Read the names to be taken, the pool, each repository with the servers that can reach it, and images."""
    repositories = sorted({disk.repository for disk in request.disks})
    networks = sorted({card.bridged_network for card in request.vnics} - {""})
    images = sorted({request.virtual_machine.cdrom, *(disk.image for disk in request.disks)} - {""})
    names = [_name(request), _pool(request), *_disk_names(request), *_vnic_names(request), *networks]
    return [
        *map(select, names),
        *(select(name, "server_pool/servers@server_pool") for name in repositories),
        *(select(name, "repository") for name in images),
    ]


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
    lock_cdrom(builder, view, machine.cdrom, pool, "virtual_machine.cdrom")
    taken: set[str] = set()
    for index, disk_name in enumerate(_disk_names(request)):
        _check_new(view, taken, disk_name, f"disks[{index}].virtual_disk_id")
        _plan_disk(builder, request, index, disk_name, view, ids)
    addresses: set[str] = set()
    for index, vnic_name in enumerate(_vnic_names(request)):
        _check_new(view, taken, vnic_name, f"vnics[{index}].vnic_id")
        wanted = request.vnics[index]
        vnic = new_card(
            view,
            vnic_pb2.Vnic(
                mac_address=wanted.mac_address,
                network=wanted.network,
                bridged_network=wanted.bridged_network,
                position=index,
            ),
            vnic_name,
            ids.uid(vnic_name),
            name,
            f"vnics[{index}]",
        )
        if vnic.mac_address in addresses:
            text = f"{vnic.mac_address} is named twice; each card needs an address of its own"
            raise InvalidRequest.of(f"vnics[{index}].mac_address", text)
        addresses.update({vnic.mac_address} - {""})
        plan_card(builder, vnic)
    return builder.build(name)


def _check_new(view: View, taken: set[str], name: str, field: str) -> None:
    """Refuse the name of a disk or card that exists, or that the request names a second time."""
    check_free(view, name, field)
    if name in taken:
        raise InvalidRequest.of(field, f"{name} is named twice; each needs an id of its own")
    taken.add(name)


def _plan_disk(builder: PlanBuilder, request: Request, index: int, name: str, view: View, ids: Ids) -> None:
    wanted, field = request.disks[index], f"disks[{index}]"
    repository = ready_repository(view, wanted.repository, _pool(request), f"{field}.repository")
    disk = virtual_disk_pb2.VirtualDisk(
        name=name,
        uid=ids.uid(name),
        repository=repository.name,
        size_bytes=wanted.size_bytes,
        allocation=wanted.allocation,
        position=index,
        image=wanted.image,
    )
    source = source_image(view, disk, _pool(request), field)
    plan_image(builder, complete(disk), repository, view, f"{field}.repository", source)
    owner = virtual_machine_pb2.VirtualMachine(name=_name(request), server_pool=_pool(request))
    plan_attachment(builder, disk.name, owner)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateVirtualMachine", selections=selections, plan=plan
)
