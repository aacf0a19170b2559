"""What every operation on disks checks and plans: sizes, repositories, the image, the attachment."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.message import Message

from virtyard.api.actions.v1 import (
    create_disk_file_pb2,
    erase_disk_files_pb2,
    remove_disk_file_pb2,
    restore_disk_file_pb2,
    trash_disk_file_pb2,
)
from virtyard.api.inventory.v1 import image_pb2, repository_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of, kind_of
from virtyard.kernel.plan import JobBuilder, PlanBuilder, delete, update
from virtyard.kernel.view import View
from virtyard.operations.hosts import copy_on, servers_of, storage_server
from virtyard.operations.images import UsableImage, usable_image
from virtyard.operations.machines import MOST_DISKS, check_number, pooled, stopped
from virtyard.operations.needs import check
from virtyard.operations.refusals import state_word

MIB = 1 << 20


def check_size(size_bytes: int, field: str) -> int:
    """Return the size of a disk if an image can have it.

    Raises:
        InvalidRequest: it is not a multiple of 1 MiB above 0; the refusal names `field`.
    """
    if size_bytes % MIB or size_bytes <= 0:
        raise InvalidRequest.of(field, f"{size_bytes} is not allowed; it must be a multiple of 1 MiB above 0")
    return size_bytes


def source_image(view: View, disk: virtual_disk_pb2.VirtualDisk, pool: str, field: str) -> UsableImage | None:
    """Return the image that a new disk is made from, if it is one, and see that the disk is large enough for it.

    A disk without a size gets that of the image.

    Args:
        view: what was read: the image and its repository.
        disk: the disk, whose size is filled in.
        pool: the pool whose servers must reach both.
        field: the request's field that holds the disk, for the refusal.

    Raises:
        NotFound, InvalidRequest, WrongState: the image cannot be used, or the disk's size is not allowed.
    """
    source = None
    if disk.image:
        source = usable_image(view, disk.image, image_pb2.IMAGE_FORMAT_DISK, pool, f"{field}.image")
        needed = -(-source.image.virtual_size_bytes // MIB) * MIB
        disk.size_bytes = disk.size_bytes or needed
        if 0 < disk.size_bytes < needed:
            text = f"{disk.size_bytes} is not allowed; {disk.image} needs at least {needed} bytes"
            raise InvalidRequest.of(f"{field}.size_bytes", text)
    check_size(disk.size_bytes, f"{field}.size_bytes")
    return source


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
    check(repository, field, repository_ready)
    return repository


def repository_ready(repository: repository_pb2.Repository) -> str:
    """Need a repository that is ready."""
    if repository.state != repository_pb2.REPOSITORY_STATE_READY:
        return f"{repository.name} is {state_word(repository)}; it must be ready"
    return ""


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
    source: UsableImage | None = None,
) -> None:
    """Plan the job that makes a disk: the image first and its record second, so that no half-made disk is visible."""
    server = storage_server(servers_of(view, repository), disk.uid, repository.name, field)
    job = builder.job("Create Virtual Disk", disk.name)
    builder.lock(disk.name, LockMode.X, parent=repository.name)
    if source is not None:
        builder.lock(source.image.name, LockMode.S)
    made = job.step(
        "Make the disk's image",
        server.name,
        create_disk_file_pb2.CreateDiskFile(
            repository_path=repository.path,
            repository_uid=repository.uid,
            disk_uid=disk.uid,
            size_bytes=disk.size_bytes,
            full=disk.allocation == virtual_disk_pb2.DISK_ALLOCATION_FULL,
            image=source.file if source is not None else None,
        ),
        counted=copy_on(server.name, field) if source is not None else None,
        undo=remove_disk_file_pb2.RemoveDiskFile(
            repository_path=repository.path, repository_uid=repository.uid, disk_uid=disk.uid
        ),
        weight=5,
    )
    job.write("Record the disk", disk)
    job.bind("writes[0].create.virtual_disk.path", made, "path")
    job.bind("writes[0].create.virtual_disk.allocated_bytes", made, "allocated_bytes")


def plan_erasure(
    job: JobBuilder, leaving: Message, uid: str, repository: repository_pb2.Repository, server: str
) -> None:
    """Plan the steps that remove a disk or an image for good; until its file lies in the trash all can be put back.

    Args:
        job: the job to add them to.
        leaving: the object by its name, with the state that it has meanwhile.
        uid: its uid, after which its file is named.
        repository: what holds the file.
        server: the server that does the work.
    """
    name = str(cast("Any", leaving).name)
    where = {"repository_path": repository.path, "repository_uid": repository.uid}
    job.write(f"Mark the {kind_of(name).noun.rpartition(' ')[2]}", update(leaving, "state"))
    job.step(
        "Move the image to the trash",
        server,
        trash_disk_file_pb2.TrashDiskFile(**where, disk_uid=uid),
        undo=restore_disk_file_pb2.RestoreDiskFile(**where, disk_uid=uid),
    )
    erase = erase_disk_files_pb2.EraseDiskFiles(**where, disk_uids=[uid])
    job.step("Erase the image", server, erase, pivot=True)
    job.write("Remove the record", delete(name), forward=True)


def disk_ready(disk: virtual_disk_pb2.VirtualDisk) -> str:
    """Need a disk that is ready."""
    if disk.state != virtual_disk_pb2.VIRTUAL_DISK_STATE_READY:
        return f"{disk.name} is {state_word(disk)}; it must be ready"
    return ""


def attached(disk: virtual_disk_pb2.VirtualDisk) -> str:
    """Need a disk that a machine has."""
    return "" if disk.virtual_machine else f"{disk.name} is attached to no machine"


def unattached(disk: virtual_disk_pb2.VirtualDisk) -> str:
    """Need a disk that no machine has."""
    if disk.virtual_machine:
        return f"{disk.name} is attached to {disk.virtual_machine}; it must be attached to no machine"
    return ""


def attachable_machine(view: View, name: str, field: str) -> virtual_machine_pb2.VirtualMachine:
    """Return a machine that may get one more disk: stopped, and in a pool.

    Raises:
        NotFound: it does not exist.
        WrongState: it is not stopped, or in no pool; the refusal names `field`.
    """
    machine = view.get(name, virtual_machine_pb2.VirtualMachine, field=field)
    check(machine, field, stopped, pooled)
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
