"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk, start_machine
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import resize_virtual_disk_pb2

Request = resize_virtual_disk_pb2.ResizeVirtualDiskRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualDisks/web-disk0", size_bytes=8 << 20),
    titles=["Resize Virtual Disk"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        create_machine(site, "busy", [new_disk(4)]),
        start_machine("busy"),
    ],
    bad=(
        Bad(
            request=lambda site: Request(name="virtualDisks/web-disk0", size_bytes=2 << 20),
            reason="INVALID_REQUEST",
            field="size_bytes",
        ),
        Bad(
            request=lambda site: Request(name="virtualDisks/busy-disk0", size_bytes=8 << 20),
            reason="WRONG_STATE",
            field="name",
        ),
    ),
)
