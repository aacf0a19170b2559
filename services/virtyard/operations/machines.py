"""What every operation on machines checks and chooses: sizes, boot sources, hardware addresses."""

from __future__ import annotations

import re

from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.kernel.errors import InvalidRequest

MIB = 1 << 20
LEAST_MEMORY = 16 * MIB
MOST_CPUS = 64
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


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
    for field in ("kernel_path", "initrd_path"):
        path = getattr(machine.boot, field)
        if path and (not path.startswith("/") or ".." in path.split("/")):
            raise InvalidRequest.of(f"virtual_machine.boot.{field}", f"{path!r} is not an absolute path without '..'")
    if not machine.boot.kernel_path:
        raise InvalidRequest.of("virtual_machine.boot.kernel_path", "is required: an absolute path on the servers")


def mac_address(wanted: str, uid: str, field: str) -> str:
    """Return the hardware address of a card: the wanted one, or one made from its uid.

    Raises:
        InvalidRequest: the wanted one is not six pairs of hexadecimal digits, or is a group address.
    """
    if not wanted:
        return "52:54:00:" + ":".join(uid[index : index + 2] for index in (0, 2, 4))
    lowered = wanted.lower()
    if not _MAC.fullmatch(lowered) or int(lowered[:2], 16) & 1:
        raise InvalidRequest.of(field, f"{wanted!r} is not a hardware address of one card, as 52:54:00:12:34:56")
    return lowered
