"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import add_server_to_server_pool_pb2
from virtyard.api.operations.v1 import remove_server_from_server_pool_pb2 as remove

Request = add_server_to_server_pool_pb2.AddServerToServerPoolRequest

EXAMPLE = Example(
    request=lambda site: Request(name="serverPools/pool", server="servers/s3"),
    titles=["Add Server to Server Pool", "Join Cluster"],
    again=lambda _: [remove.RemoveServerFromServerPoolRequest(name="serverPools/pool", server="servers/s3")],
    bad=(
        Bad(
            request=lambda site: Request(name="serverPools/pool", server="servers/s1"),
            reason="WRONG_STATE",
            field="server",
        ),
    ),
    clustered=True,
)
