"""Discover Server, of a host that was forgotten."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.operations.v1 import discover_server_pb2, forget_server_pb2

Request = discover_server_pb2.DiscoverServerRequest

EXAMPLE = Example(
    request=lambda site: Request(server_id="s3", server=server_pb2.Server(agent_address=site.addresses["s3"])),
    titles=["Discover Server"],
    prepare=lambda site: [forget_server_pb2.ForgetServerRequest(name="servers/s3")],
    bad=(
        Bad(
            request=lambda site: Request(server_id="s3", server=server_pb2.Server(agent_address="nowhere")),
            reason="INVALID_REQUEST",
            field="server.agent_address",
        ),
        Bad(
            request=lambda site: Request(server_id="s1", server=server_pb2.Server(agent_address="127.0.0.1:1")),
            reason="ALREADY_EXISTS",
            field="server_id",
        ),
    ),
)
