"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk, start_machine
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import kill_virtual_machine_pb2

Request = kill_virtual_machine_pb2.KillVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualMachines/web"),
    titles=["Kill Virtual Machine"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        start_machine("web"),
        create_machine(site, "idle"),
    ],
    bad=(Bad(request=lambda site: Request(name="virtualMachines/idle"), reason="WRONG_STATE", field="name"),),
)
