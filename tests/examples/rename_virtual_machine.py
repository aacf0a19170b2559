"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import rename_virtual_machine_pb2

Request = rename_virtual_machine_pb2.RenameVirtualMachineRequest

EXAMPLE = Example(
    request=lambda site: Request(name="virtualMachines/web", display_name="Web 1"),
    titles=["Rename Virtual Machine"],
    prepare=lambda site: [create_machine(site, "web", [new_disk(4)], 1)],
    bad=(
        Bad(
            request=lambda site: Request(name="virtualMachines/web", display_name=" "),
            reason="INVALID_REQUEST",
            field="display_name",
        ),
    ),
)
