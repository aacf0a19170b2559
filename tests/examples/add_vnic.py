"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import vnic_pb2
from virtyard.api.operations.v1 import add_vnic_pb2

Request = add_vnic_pb2.AddVnicRequest

EXAMPLE = Example(
    request=lambda site: Request(vnic_id="more", virtual_machine="virtualMachines/web", vnic=vnic_pb2.Vnic()),
    titles=["Create VNIC on Virtual Machine"],
    prepare=lambda site: [create_machine(site, "web", [new_disk(4)], 1)],
    bad=(
        Bad(
            request=lambda site: Request(
                vnic_id="more", virtual_machine="virtualMachines/web", vnic=vnic_pb2.Vnic(mac_address="x")
            ),
            reason="INVALID_REQUEST",
            field="vnic.mac_address",
        ),
        Bad(
            request=lambda site: Request(
                vnic_id="web-vnic0", virtual_machine="virtualMachines/web", vnic=vnic_pb2.Vnic()
            ),
            reason="ALREADY_EXISTS",
            field="vnic_id",
        ),
    ),
)
