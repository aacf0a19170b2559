"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import create_repository
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import create_repository_pb2

Request = create_repository_pb2.CreateRepositoryRequest

EXAMPLE = Example(
    request=lambda site: create_repository(site, "more"),
    titles=["Create Repository"],
    bad=(
        Bad(
            request=lambda site: create_repository(site, "more", path="relative"),
            reason="INVALID_REQUEST",
            field="repository.path",
        ),
        Bad(request=lambda site: create_repository(site, "shared"), reason="ALREADY_EXISTS", field="repository_id"),
    ),
)
