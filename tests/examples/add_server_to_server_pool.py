"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import add_server_to_server_pool_pb2

Request = add_server_to_server_pool_pb2.AddServerToServerPoolRequest

EXAMPLE = Example(
    request=lambda site: Request(name="serverPools/pool", server="servers/s3"),
    titles=["Add Server to Server Pool", "Join Cluster"],
    bad=(
        Bad(
            request=lambda site: Request(name="serverPools/pool", server="servers/s1"),
            reason="WRONG_STATE",
            field="server",
        ),
    ),
    clustered=True,
)
