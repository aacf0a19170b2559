"""What every operation on machines checks and chooses: sizes, boot sources, hardware addresses."""

from __future__ import annotations

from virtyard.api.inventory.v1 import image_pb2, virtual_machine_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import PlanBuilder
from virtyard.kernel.view import View
from virtyard.operations.images import UsableImage, usable_image
from virtyard.operations.needs import check
from virtyard.operations.refusals import state_word
from virtyard.operations.storage_paths import absolute_path

MIB = 1 << 20
LEAST_MEMORY = 16 * MIB
MOST_CPUS = 64
MOST_DISKS = 20
MOST_CARDS = 8
"""Together with what a guest needs besides, what fits on the 32 slots of one PCI bus."""


def check_machine(machine: virtual_machine_pb2.VirtualMachine) -> None:
    """Refuse a machine that no hypervisor could run.

    Raises:
        InvalidRequest: naming the field of `virtual_machine` and what is allowed.
    """
    if machine.memory_bytes % MIB or machine.memory_bytes < LEAST_MEMORY:
        raise InvalidRequest.of(
            "virtual_machine.memory_bytes", f"{machine.memory_bytes} is not a multiple of 1 MiB of at least 16 MiB"
        )
    if not 1 <= machine.cpus <= MOST_CPUS:
        raise InvalidRequest.of("virtual_machine.cpus", f"{machine.cpus} is not allowed; it must be 1 to {MOST_CPUS}")
    _check_boot(machine.boot, "virtual_machine.boot")


def _check_boot(boot: virtual_machine_pb2.BootSource, field: str) -> None:
    """Refuse a boot source of which parts would have no effect."""
    if boot.kernel_path:
        absolute_path(boot.kernel_path, f"{field}.kernel_path")
        if boot.initrd_path:
            absolute_path(boot.initrd_path, f"{field}.initrd_path")
        if boot.boot_order:
            text = "is for firmware, which boots only where no kernel is given; leave out one of the two"
            raise InvalidRequest.of(f"{field}.boot_order", text)
    elif boot.initrd_path or boot.kernel_arguments:
        text = "is required where an initial file system or arguments are given: they are those of a kernel"
        raise InvalidRequest.of(f"{field}.kernel_path", text)
    if virtual_machine_pb2.BOOT_DEVICE_UNSPECIFIED in boot.boot_order or len(set(boot.boot_order)) < len(
        boot.boot_order
    ):
        names = ", ".join(virtual_machine_pb2.BootDevice.keys()[1:])
        raise InvalidRequest.of(f"{field}.boot_order", f"each device may be named once; allowed are {names}")


def lock_cdrom(builder: PlanBuilder, view: View, cdrom: str, pool: str, field: str) -> UsableImage | None:
    """Return the image for a machine's CD-ROM drive, if one is named, and keep it where it is.

    Args:
        builder: the plan, which has a job already.
        view: what was read: the image and its repository.
        cdrom: the image; empty for none.
        pool: the pool whose servers must reach it.
        field: the request's field that led to it, for the refusal.

    Raises:
        NotFound, InvalidRequest, WrongState: it cannot be used as a CD-ROM in this pool.
    """
    if not cdrom:
        return None
    found = usable_image(view, cdrom, image_pb2.IMAGE_FORMAT_ISO, pool, field)
    builder.lock(cdrom, LockMode.S)
    return found


def stopped(machine: virtual_machine_pb2.VirtualMachine) -> str:
    """Need a machine that is stopped."""
    if machine.state != virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED:
        return f"{machine.name} is {state_word(machine)}; it must be stopped"
    return ""


def pooled(machine: virtual_machine_pb2.VirtualMachine) -> str:
    """Need a machine that is in a pool."""
    return "" if machine.server_pool else f"{machine.name} is in no server pool; it must be added to one"


def stopped_machine(view: View, name: str, field: str) -> virtual_machine_pb2.VirtualMachine:
    """Return a machine that is stopped.

    Raises:
        NotFound: it does not exist.
        WrongState: it is not stopped; the refusal names `field`.
    """
    machine = view.get(name, virtual_machine_pb2.VirtualMachine, field=field)
    check(machine, field, stopped)
    return machine


def check_number(number: int, most: int, field: str) -> None:
    """Refuse more disks or cards than a guest can have.

    Raises:
        InvalidRequest: naming `field` and how many are allowed.
    """
    if number > most:
        raise InvalidRequest.of(field, f"{number} are too many; at most {most} are allowed")
