"""Create Filter: one record, which the scheduler follows; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import create_filter_pb2
from virtyard.operations.definitions import creates
from virtyard.operations.job_filters import check_filter

OPERATION = creates(create_filter_pb2.CreateFilterRequest, "Create Filter", check_filter)
