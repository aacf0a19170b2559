"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk, start_machine
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import restart_virtual_machine_pb2

Request = restart_virtual_machine_pb2.RestartVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualMachines/web"),
    titles=["Restart Virtual Machine"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        start_machine("web"),
        create_machine(site, "idle"),
    ],
    bad=(
        Bad(request=lambda site: Request(name="virtualMachines/idle"), reason="WRONG_STATE", field="name"),
        Bad(
            request=lambda site: Request(name="virtualMachines/web", grace_seconds=-1),
            reason="INVALID_REQUEST",
            field="grace_seconds",
        ),
    ),
)
