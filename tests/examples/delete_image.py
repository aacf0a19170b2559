"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, import_image
from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.operations.v1 import delete_image_pb2, edit_virtual_machine_pb2

Request = delete_image_pb2.DeleteImageRequest

EXAMPLE = Example(
    request=lambda site: Request(name="images/debian"),
    titles=["Delete Image"],
    prepare=lambda site: [
        import_image(site, "debian"),
        import_image(site, "installer", iso=True),
        create_machine(site, "web"),
        edit_virtual_machine_pb2.EditVirtualMachineRequest(
            virtual_machine=virtual_machine_pb2.VirtualMachine(name="virtualMachines/web", cdrom="images/installer")
        ),
    ],
    bad=(Bad(request=lambda site: Request(name="images/installer"), reason="WRONG_STATE", field="name"),),
)
