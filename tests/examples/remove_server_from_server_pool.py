"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import (
    present_repository_pb2,
    remove_server_from_server_pool_pb2,
    start_virtual_machine_pb2,
)

Request = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest

EXAMPLE = Example(
    request=lambda site: Request(name="serverPools/pool", server="servers/s2"),
    titles=["Leave Cluster", "Remove Server from Server Pool"],
    prepare=lambda site: [
        # Without it the server would have nothing to give up.
        present_repository_pb2.PresentRepositoryRequest(name="repositories/shared", servers=["servers/s2"]),
        create_machine(site, "web"),
        start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/web", server="servers/s1"),
    ],
    bad=(
        Bad(
            request=lambda site: Request(name="serverPools/pool", server="servers/s3"),
            reason="WRONG_STATE",
            field="server",
        ),
        Bad(
            request=lambda site: Request(name="serverPools/pool", server="servers/s1"),
            reason="WRONG_STATE",
            field="server",
        ),
    ),
    clustered=True,
)
