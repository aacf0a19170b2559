"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, import_image, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.operations.v1 import create_virtual_disk_pb2

Request = create_virtual_disk_pb2.CreateVirtualDiskRequest

EXAMPLE = Example(
    request=lambda site: Request(
        virtual_disk_id="more",
        virtual_machine="virtualMachines/web",
        virtual_disk=virtual_disk_pb2.VirtualDisk(
            repository="repositories/shared", size_bytes=4 << 20, image="images/debian"
        ),
    ),
    titles=["Create Virtual Disk", "Add Virtual Disk to Virtual Machine"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        import_image(site, "debian"),
        import_image(site, "installer", iso=True),
    ],
    bad=(
        Bad(
            request=lambda site: Request(
                virtual_disk_id="more",
                virtual_disk=virtual_disk_pb2.VirtualDisk(repository="repositories/shared", size_bytes=-1),
            ),
            reason="INVALID_REQUEST",
            field="virtual_disk.size_bytes",
        ),
        Bad(
            request=lambda site: Request(
                virtual_disk_id="web-disk0",
                virtual_disk=virtual_disk_pb2.VirtualDisk(repository="repositories/shared", size_bytes=1 << 20),
            ),
            reason="ALREADY_EXISTS",
            field="virtual_disk_id",
        ),
        Bad(
            request=lambda site: Request(
                virtual_disk_id="more",
                virtual_disk=virtual_disk_pb2.VirtualDisk(repository="repositories/shared", image="images/installer"),
            ),
            reason="INVALID_REQUEST",
            field="virtual_disk.image",
        ),
    ),
)
