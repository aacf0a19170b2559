"""Refresh Server, of one that is up to date."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import refresh_server_pb2

Request = refresh_server_pb2.RefreshServerRequest

EXAMPLE = Example(
    request=lambda site: Request(name="servers/s1"),
    titles=["Refresh Server"],
    bad=(Bad(request=lambda site: Request(name="serverPools/pool"), reason="INVALID_REQUEST", field="name"),),
)
