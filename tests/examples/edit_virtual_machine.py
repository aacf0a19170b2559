"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, import_image, new_disk, start_machine
from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.operations.v1 import edit_virtual_machine_pb2

Request = edit_virtual_machine_pb2.EditVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: Request(
        virtual_machine=virtual_machine_pb2.VirtualMachine(
            name="virtualMachines/web",
            cpus=2,
            cdrom="images/installer",
            boot=virtual_machine_pb2.BootSource(boot_order=[virtual_machine_pb2.BOOT_DEVICE_CDROM]),
        )
    ),
    titles=["Edit Virtual Machine"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        import_image(site, "debian"),
        import_image(site, "installer", iso=True),
        create_machine(site, "busy"),
        start_machine("busy"),
    ],
    bad=(
        Bad(
            request=lambda site: Request(
                virtual_machine=virtual_machine_pb2.VirtualMachine(name="virtualMachines/web", cpus=65)
            ),
            reason="INVALID_REQUEST",
            field="virtual_machine.cpus",
        ),
        Bad(
            request=lambda site: Request(
                virtual_machine=virtual_machine_pb2.VirtualMachine(name="virtualMachines/web", cdrom="images/debian")
            ),
            reason="INVALID_REQUEST",
            field="virtual_machine.cdrom",
        ),
        Bad(
            request=lambda site: Request(
                virtual_machine=virtual_machine_pb2.VirtualMachine(name="virtualMachines/busy", cpus=2)
            ),
            reason="WRONG_STATE",
            field="virtual_machine.name",
        ),
    ),
)
