"""Update Repository: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.updating import update
from virtyard.api.operations.v1 import update_repository_pb2

EXAMPLE = update(update_repository_pb2.UpdateRepositoryRequest, "repositories/shared")
