"""Refresh Repository, of one with a disk in it."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import refresh_repository_pb2

Request = refresh_repository_pb2.RefreshRepositoryRequest

EXAMPLE = Example(
    request=lambda site: Request(name="repositories/shared"),
    titles=["Refresh Repository"],
    prepare=lambda site: [create_machine(site, "web", [new_disk(4)])],
    bad=(Bad(request=lambda site: Request(name="servers/s1"), reason="INVALID_REQUEST", field="name"),),
)
