"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_pool
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import delete_server_pool_pb2

Request = delete_server_pool_pb2.DeleteServerPoolRequest

EXAMPLE = Example(
    request=lambda site: Request(name="serverPools/more"),
    titles=[
        "Delete Cluster",
        "Leave Cluster",
        "Leave Cluster",
        "Delete Cluster Heartbeat Device",
        "Delete Server Pool",
    ],
    prepare=lambda site: [create_pool(site, "more", ["s3", "s4"], clustered=True)],
    bad=(Bad(request=lambda site: Request(name="serverPools/pool"), reason="WRONG_STATE", field="name"),),
)
