"""What every operation on machines checks and chooses: sizes, boot sources, hardware addresses."""

from __future__ import annotations

from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.view import View
from virtyard.operations.refusals import state_word, wrong_state
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
    absolute_path(machine.boot.kernel_path, "virtual_machine.boot.kernel_path")
    if machine.boot.initrd_path:
        absolute_path(machine.boot.initrd_path, "virtual_machine.boot.initrd_path")


def check_stopped(machine: virtual_machine_pb2.VirtualMachine, field: str) -> None:
    """Refuse a machine that is not stopped.

    Raises:
        WrongState: naming `field` and the machine's state.
    """
    if machine.state != virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED:
        raise wrong_state(field, machine.name, f"{machine.name} is {state_word(machine)}; it must be stopped")


def stopped_machine(view: View, name: str, field: str) -> virtual_machine_pb2.VirtualMachine:
    """Return a machine that is stopped.

    Raises:
        NotFound: it does not exist.
        WrongState: it is not stopped; the refusal names `field`.
    """
    machine = view.get(name, virtual_machine_pb2.VirtualMachine, field=field)
    check_stopped(machine, field)
    return machine


def check_number(number: int, most: int, field: str) -> None:
    """Refuse more disks or cards than a guest can have.

    Raises:
        InvalidRequest: naming `field` and how many are allowed.
    """
    if number > most:
        raise InvalidRequest.of(field, f"{number} are too many; at most {most} are allowed")
