"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Example
from virtyard.api.operations.v1 import delete_repository_pb2, present_repository_pb2

Request = delete_repository_pb2.DeleteRepositoryRequest

EXAMPLE = Example(
    request=lambda site: Request(name="repositories/shared"),
    titles=["Delete Repository", *["Unpresent Repository from Server"] * 2],
    # Without it the servers would have nothing to give up.
    prepare=lambda site: [
        present_repository_pb2.PresentRepositoryRequest(
            name="repositories/shared", servers=["servers/s1", "servers/s2"]
        ),
    ],
)
