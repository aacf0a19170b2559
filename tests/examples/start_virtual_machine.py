"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import kill_virtual_machine_pb2, start_virtual_machine_pb2

Request = start_virtual_machine_pb2.StartVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualMachines/web"),
    titles=["Start Virtual Machine"],
    prepare=lambda site: [create_machine(site, "web", [new_disk(4)], 1)],
    again=lambda _: [kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/web")],
    bad=(
        Bad(
            request=lambda site: Request(name="virtualMachines/web", server="servers/s3"),
            reason="INVALID_REQUEST",
            field="server",
        ),
    ),
)
