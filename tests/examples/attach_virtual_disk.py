"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.operations.v1 import attach_virtual_disk_pb2, create_virtual_disk_pb2

Request = attach_virtual_disk_pb2.AttachVirtualDiskRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualDisks/more", virtual_machine="virtualMachines/web"),
    titles=["Add Virtual Disk to Virtual Machine"],
    prepare=lambda site: [
        create_virtual_disk_pb2.CreateVirtualDiskRequest(
            virtual_disk_id="more",
            virtual_disk=virtual_disk_pb2.VirtualDisk(repository="repositories/shared", size_bytes=4 << 20),
        ),
        create_machine(site, "web", [new_disk(4)], 1),
    ],
    bad=(
        Bad(
            request=lambda site: Request(name="virtualDisks/web-disk0", virtual_machine="virtualMachines/web"),
            reason="WRONG_STATE",
            field="name",
        ),
        Bad(
            request=lambda site: Request(name="virtualDisks/more", virtual_machine="virtualMachines/none"),
            reason="NOT_FOUND",
            field="virtual_machine",
        ),
    ),
)
