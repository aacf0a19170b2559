"""What every operation on disks checks and plans: sizes, repositories, the image, the attachment."""

from __future__ import annotations

from virtyard.api.actions.v1 import create_disk_file_pb2, remove_disk_file_pb2
from virtyard.api.inventory.v1 import repository_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import PlanBuilder, update
from virtyard.kernel.view import View
from virtyard.operations.hosts import servers_of, storage_server
from virtyard.operations.machines import MOST_DISKS, check_number, stopped_machine
from virtyard.operations.refusals import state_word, wrong_state

MIB = 1 << 20


def check_size(size_bytes: int, field: str) -> int:
    """Return the size of a disk if an image can have it.

    Raises:
        InvalidRequest: it is not a multiple of 1 MiB above 0; the refusal names `field`.
    """
    if size_bytes % MIB or size_bytes <= 0:
        raise InvalidRequest.of(field, f"{size_bytes} is not allowed; it must be a multiple of 1 MiB above 0")
    return size_bytes


def ready_repository(view: View, name: str, pool: str, field: str) -> repository_pb2.Repository:
    """Return a repository that is ready and presented to the pool.

    Args:
        view: what was read.
        name: the repository.
        pool: the pool whose servers must reach it; empty for any.
        field: the request's field that led to it, for the refusal.

    Raises:
        NotFound: it does not exist.
        InvalidRequest: it is not presented to the pool.
        WrongState: it is not ready.
    """
    repository = view.get(name, repository_pb2.Repository, field=field)
    if pool and repository.server_pool != pool:
        raise InvalidRequest.of(field, f"{repository.name} is not presented to {pool}")
    if repository.state != repository_pb2.REPOSITORY_STATE_READY:
        text = f"{repository.name} is {state_word(repository)}; it must be ready"
        raise wrong_state(field, repository.name, text)
    return repository


def complete(disk: virtual_disk_pb2.VirtualDisk) -> virtual_disk_pb2.VirtualDisk:
    """Return the record of a new disk with what is not asked for; it is attached to nothing yet."""
    made = virtual_disk_pb2.VirtualDisk()
    made.CopyFrom(disk)
    made.display_name = disk.display_name or id_of(disk.name)
    made.allocation = disk.allocation or virtual_disk_pb2.DISK_ALLOCATION_SPARSE
    made.serial = disk.uid[:20]
    made.state = virtual_disk_pb2.VIRTUAL_DISK_STATE_READY
    return made


def plan_image(
    builder: PlanBuilder,
    disk: virtual_disk_pb2.VirtualDisk,
    repository: repository_pb2.Repository,
    view: View,
    field: str,
) -> None:
    """Plan the job that makes a disk: the image first and its record second, so that no half-made disk is visible."""
    server = storage_server(servers_of(view, repository), disk.uid, repository.name, field)
    job = builder.job("Create Virtual Disk", disk.name)
    builder.lock(disk.name, LockMode.X, parent=repository.name)
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


def ready_disk(disk: virtual_disk_pb2.VirtualDisk, field: str) -> virtual_disk_pb2.VirtualDisk:
    """Return the disk if it is ready.

    Raises:
        WrongState: it is not; the refusal names `field`.
    """
    if disk.state != virtual_disk_pb2.VIRTUAL_DISK_STATE_READY:
        raise wrong_state(field, disk.name, f"{disk.name} is {state_word(disk)}; it must be ready")
    return disk


def free_disk(disk: virtual_disk_pb2.VirtualDisk, field: str) -> virtual_disk_pb2.VirtualDisk:
    """Return the disk if it is ready and attached to no machine.

    Raises:
        WrongState: it is not; the refusal names `field`.
    """
    if disk.virtual_machine:
        text = f"{disk.name} is attached to {disk.virtual_machine}; it must be attached to no machine"
        raise wrong_state(field, disk.name, text)
    return ready_disk(disk, field)


def attachable_machine(view: View, name: str, field: str) -> virtual_machine_pb2.VirtualMachine:
    """Return a machine that may get one more disk: stopped, and in a pool.

    Raises:
        NotFound: it does not exist.
        WrongState: it is not stopped, or in no pool; the refusal names `field`.
    """
    machine = stopped_machine(view, name, field)
    if not machine.server_pool:
        raise wrong_state(field, machine.name, f"{machine.name} is in no server pool; it must be added to one")
    return machine


def next_position(view: View, machine: virtual_machine_pb2.VirtualMachine, field: str) -> int:
    """Return the place of one more disk, after those that the machine has.

    Raises:
        InvalidRequest: it has as many as a guest can have; the refusal names `field`.
    """
    disks = view.of(virtual_disk_pb2.VirtualDisk, virtual_machine=machine.name)
    check_number(len(disks) + 1, MOST_DISKS, field)
    return max((disk.position + 1 for disk in disks), default=0)


def plan_attachment(
    builder: PlanBuilder, disk: str, machine: virtual_machine_pb2.VirtualMachine, position: int | None = None
) -> None:
    """Plan the job that attaches a disk to a machine, which is locked, so that it does not start meanwhile.

    Args:
        builder: the plan.
        disk: the disk's resource name.
        machine: the machine.
        position: the disk's new place; None where its record has it.
    """
    attached = virtual_disk_pb2.VirtualDisk(name=disk, virtual_machine=machine.name, position=position or 0)
    paths = ("virtual_machine",) if position is None else ("virtual_machine", "position")
    job = builder.job("Add Virtual Disk to Virtual Machine", disk)
    builder.lock(machine.name, LockMode.X, parent=machine.server_pool)
    job.write("Attach the disk", update(attached, *paths))
