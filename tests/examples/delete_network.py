"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine
from tests.examples.contract import Bad, Example
from tests.examples.create_network import request
from virtyard.api.inventory.v1 import vnic_pb2
from virtyard.api.operations.v1 import add_vnic_pb2, delete_network_pb2

Request = delete_network_pb2.DeleteNetworkRequest

EXAMPLE = Example(
    request=lambda site: Request(name="networks/lan"),
    titles=["Delete Network", "Remove Network from Server", "Remove Network from Server"],
    prepare=lambda site: [
        request(),
        request(network_id="busy"),
        create_machine(site, "web"),
        add_vnic_pb2.AddVnicRequest(
            vnic_id="web0", virtual_machine="virtualMachines/web", vnic=vnic_pb2.Vnic(bridged_network="networks/busy")
        ),
    ],
    bad=(Bad(request=lambda site: Request(name="networks/busy"), reason="WRONG_STATE", field="name"),),
)
