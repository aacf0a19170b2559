"""An example of its operation type; see `contract`."""

from __future__ import annotations

from typing import Any

from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import network_pb2
from virtyard.api.operations.v1 import create_network_pb2

Request = create_network_pb2.CreateNetworkRequest


def request(servers: list[str] | None = None, network_id: str = "lan", **fields: Any) -> Request:
    """Return a request for a network of the pool's servers."""
    return Request(
        network_id=network_id,
        network=network_pb2.Network(**fields),
        servers=servers or ["servers/s1", "servers/s2"],
    )


EXAMPLE = Example(
    request=lambda site: request(uplink="eth1", mac_pool="52:54:00:10:00:00-52:54:00:10:00:ff"),
    titles=["Create Network", "Add Network to Server", "Add Network to Server"],
    prepare=lambda site: [request(network_id="old")],
    bad=(
        Bad(request=lambda site: request(network_id="old"), reason="ALREADY_EXISTS", field="network_id"),
        Bad(request=lambda site: request(network_id="a b"), reason="INVALID_REQUEST", field="network_id"),
        Bad(request=lambda site: request(["servers/s9"]), reason="NOT_FOUND", field="servers[0]"),
        Bad(request=lambda site: request(["servers/s1", "servers/s1"]), reason="INVALID_REQUEST", field="servers"),
        Bad(request=lambda site: request(uplink="a/b"), reason="INVALID_REQUEST", field="network.uplink"),
        Bad(
            request=lambda site: request(mac_pool="52:54:00:10:00:ff-52:54:00:10:00:00"),
            reason="INVALID_REQUEST",
            field="network.mac_pool",
        ),
    ),
)
