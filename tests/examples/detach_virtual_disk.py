"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk, start_machine
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import detach_virtual_disk_pb2

Request = detach_virtual_disk_pb2.DetachVirtualDiskRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualDisks/web-disk0"),
    titles=["Remove Virtual Disk from Virtual Machine"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        create_machine(site, "busy", [new_disk(4)]),
        start_machine("busy"),
    ],
    bad=(Bad(request=lambda site: Request(name="virtualDisks/busy-disk0"), reason="WRONG_STATE", field="name"),),
)
