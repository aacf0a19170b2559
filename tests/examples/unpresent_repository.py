"""Unpresent Repository, from a server that does not run the machine which uses it on the other."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import present_repository_pb2, start_virtual_machine_pb2, unpresent_repository_pb2

Request = unpresent_repository_pb2.UnpresentRepositoryRequest


def request(*servers: str) -> Request:
    """Return a request for these servers."""
    return Request(name="repositories/shared", servers=[f"servers/{server}" for server in servers])


EXAMPLE = Example(
    request=lambda site: request("s2"),
    titles=["Unpresent Repository", "Unpresent Repository from Server"],
    prepare=lambda site: [
        # Without it the server would have nothing to give up.
        present_repository_pb2.PresentRepositoryRequest(name="repositories/shared", servers=["servers/s2"]),
        create_machine(site, "web", [new_disk(4)]),
        start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/web", server="servers/s1"),
    ],
    bad=(
        Bad(request=lambda site: request("s2", "s1"), reason="WRONG_STATE", field="servers[1]"),
        Bad(request=lambda site: request("s3"), reason="INVALID_REQUEST", field="servers[0]"),
        Bad(request=lambda site: request("s2", "s2"), reason="INVALID_REQUEST", field="servers[1]"),
        Bad(request=lambda site: request(), reason="INVALID_REQUEST", field="servers"),
    ),
)
