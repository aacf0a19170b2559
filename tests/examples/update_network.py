"""Update Network: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.create_network import request
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_network_pb2

EXAMPLE = update(update_network_pb2.UpdateNetworkRequest, "networks/lan", prepare=lambda site: [request()])
