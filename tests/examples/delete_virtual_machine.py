"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Example
from virtyard.api.operations.v1 import delete_virtual_machine_pb2

Request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualMachines/web"),
    titles=["Delete Virtual Machine", "Delete Virtual Disk"],
    prepare=lambda site: [create_machine(site, "web", [new_disk(4)], 1)],
)
