"""Update Filter: what it matches and does, and what people say of it; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import update_filter_pb2
from virtyard.operations.definitions import updates_whole
from virtyard.operations.job_filters import check_filter

OPERATION = updates_whole(update_filter_pb2.UpdateFilterRequest, "Update Filter", check_filter)
