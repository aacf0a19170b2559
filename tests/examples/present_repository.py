"""Present Repository to two servers: one that it was taken off, and one that has it."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import present_repository_pb2, unpresent_repository_pb2

Request = present_repository_pb2.PresentRepositoryRequest


def request(*servers: str, name: str = "repositories/shared") -> Request:
    """Return a request for these servers."""
    return Request(name=name, servers=[f"servers/{server}" for server in servers])


EXAMPLE = Example(
    request=lambda site: request("s1", "s2"),
    titles=["Present Repository", "Present Repository to Server", "Present Repository to Server"],
    prepare=lambda site: [
        unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/shared", servers=["servers/s2"])
    ],
    bad=(
        Bad(request=lambda site: request(), reason="INVALID_REQUEST", field="servers"),
        Bad(request=lambda site: request("s1", "s9"), reason="NOT_FOUND", field="servers[1]"),
        Bad(request=lambda site: request("s1", "s1"), reason="INVALID_REQUEST", field="servers[1]"),
        Bad(request=lambda site: request("s3"), reason="INVALID_REQUEST", field="servers[0]"),
    ),
)
