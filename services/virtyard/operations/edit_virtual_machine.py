"""Edit Virtual Machine: memory, processors and boot source of a machine that does not run; see `updating`."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.operations.v1 import edit_virtual_machine_pb2
from virtyard.operations.machines import check_machine, check_stopped
from virtyard.operations.updating import updates


def _check(
    before: virtual_machine_pb2.VirtualMachine,
    wanted: virtual_machine_pb2.VirtualMachine,
    paths: Sequence[str],
    field: str,
) -> None:
    """Refuse what no hypervisor could run, and a machine that runs: a guest gets its parts when it starts."""
    check_stopped(before, f"{field}.name")
    after = virtual_machine_pb2.VirtualMachine()
    after.CopyFrom(before)
    for path in paths:
        after.ClearField(path)  # type: ignore[arg-type]  # the paths are fields of the machine
    only = virtual_machine_pb2.VirtualMachine(memory_bytes=wanted.memory_bytes, cpus=wanted.cpus, boot=wanted.boot)
    for name in {"memory_bytes", "cpus", "boot"}.difference(paths):
        only.ClearField(name)  # type: ignore[arg-type]  # as above
    after.MergeFrom(only)
    check_machine(after)


OPERATION = updates(edit_virtual_machine_pb2.EditVirtualMachineRequest, "Edit Virtual Machine", _check)
