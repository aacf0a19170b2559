"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_pool
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import create_server_pool_pb2, delete_server_pool_pb2

Request = create_server_pool_pb2.CreateServerPoolRequest

EXAMPLE = Example(
    request=lambda site: create_pool(site, "more", ["s3", "s4"], clustered=True),
    titles=["Create Server Pool", "Create Cluster Heartbeat Device", "Create Cluster", "Join Cluster", "Join Cluster"],
    again=lambda _: [delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/more")],
    bad=(
        Bad(
            request=lambda site: Request(server_pool_id="more", servers=["servers/s1"]),
            reason="INVALID_REQUEST",
            field="server_pool",
        ),
        Bad(request=lambda site: create_pool(site, "more", ["s1"]), reason="WRONG_STATE", field="servers[0]"),
    ),
)
