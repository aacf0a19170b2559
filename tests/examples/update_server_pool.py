"""Update Server Pool: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.updating import update
from virtyard.api.operations.v1 import update_server_pool_pb2

EXAMPLE = update(update_server_pool_pb2.UpdateServerPoolRequest, "serverPools/pool")
