"""Delete Filter: its record; what it kept back goes on; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import delete_filter_pb2
from virtyard.operations.definitions import deletes

OPERATION = deletes(delete_filter_pb2.DeleteFilterRequest, "Delete Filter")
