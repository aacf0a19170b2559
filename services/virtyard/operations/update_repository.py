"""Update Repository: what people say of it; see `updating`."""

from __future__ import annotations

from virtyard.api.operations.v1 import update_repository_pb2
from virtyard.operations.updating import updates

OPERATION = updates(update_repository_pb2.UpdateRepositoryRequest, "Update Repository")
