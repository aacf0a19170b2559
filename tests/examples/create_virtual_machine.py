"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import create_virtual_machine_pb2, delete_virtual_machine_pb2

Request = create_virtual_machine_pb2.CreateVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: create_machine(site, "web", [new_disk(4), new_disk(4)], 1),
    titles=[
        "Create Virtual Machine",
        "Add Virtual Machine to Server Pool",
        "Create Virtual Disk",
        "Add Virtual Disk to Virtual Machine",
        "Create Virtual Disk",
        "Add Virtual Disk to Virtual Machine",
        "Create VNIC on Virtual Machine",
    ],
    again=lambda _: [delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web")],
    bad=(
        Bad(
            request=lambda site: create_machine(site, "web", [new_disk(0)]),
            reason="INVALID_REQUEST",
            field="disks[0].size_bytes",
        ),
        Bad(
            request=lambda site: create_machine(site, "web", memory_mib=1),
            reason="INVALID_REQUEST",
            field="virtual_machine.memory_bytes",
        ),
    ),
)
