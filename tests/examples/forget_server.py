"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import forget_server_pb2

Request = forget_server_pb2.ForgetServerRequest

EXAMPLE = Example(
    request=lambda site: Request(name="servers/s3"),
    titles=["Forget Server"],
    bad=(Bad(request=lambda site: Request(name="servers/s1"), reason="WRONG_STATE", field="name"),),
)
