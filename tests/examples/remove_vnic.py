"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk, start_machine
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import remove_vnic_pb2

Request = remove_vnic_pb2.RemoveVnicRequest

EXAMPLE = Example(
    request=lambda site: Request(name="vnics/web-vnic0"),
    titles=["Remove VNIC from Virtual Machine"],
    prepare=lambda site: [
        create_machine(site, "web", [new_disk(4)], 1),
        create_machine(site, "busy", (), 1),
        start_machine("busy"),
    ],
    bad=(Bad(request=lambda site: Request(name="vnics/busy-vnic0"), reason="WRONG_STATE", field="name"),),
)
