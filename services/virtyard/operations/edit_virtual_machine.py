"""Edit Virtual Machine: memory, processors, boot source and CD-ROM of a machine that does not run; see `updating`.

Its restart policy is nothing of the guest, and can be changed while that runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import image_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import edit_virtual_machine_pb2
from virtyard.kernel.view import View
from virtyard.operations.images import usable_image
from virtyard.operations.machines import check_machine, stopped
from virtyard.operations.needs import check
from virtyard.operations.updating import updates


def _check(
    view: View,
    before: virtual_machine_pb2.VirtualMachine,
    wanted: virtual_machine_pb2.VirtualMachine,
    paths: Sequence[str],
    field: str,
) -> None:
    """Refuse what no hypervisor could run, and a machine that runs: a guest gets its parts when it starts."""
    if list(paths) == ["restart_policy"]:
        return
    check(before, f"{field}.name", stopped)
    after = virtual_machine_pb2.VirtualMachine()
    after.CopyFrom(before)
    for path in paths:
        after.ClearField(path)  # type: ignore[arg-type]  # the paths are fields of the machine
    only = virtual_machine_pb2.VirtualMachine(memory_bytes=wanted.memory_bytes, cpus=wanted.cpus, boot=wanted.boot)
    for name in {"memory_bytes", "cpus", "boot"}.difference(paths):
        only.ClearField(name)  # type: ignore[arg-type]  # as above
    after.MergeFrom(only)
    check_machine(after)
    if "cdrom" in paths and wanted.cdrom:
        usable_image(view, wanted.cdrom, image_pb2.IMAGE_FORMAT_ISO, before.server_pool, f"{field}.cdrom")


OPERATION = updates(edit_virtual_machine_pb2.EditVirtualMachineRequest, "Edit Virtual Machine", _check)
