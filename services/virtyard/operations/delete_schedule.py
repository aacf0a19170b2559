"""Delete Schedule: its record; what it has submitted goes on; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import delete_schedule_pb2
from virtyard.operations.definitions import deletes

OPERATION = deletes(delete_schedule_pb2.DeleteScheduleRequest, "Delete Schedule")
