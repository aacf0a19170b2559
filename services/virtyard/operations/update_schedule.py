"""Update Schedule: when it is due and what it submits, and what people say of it; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import update_schedule_pb2
from virtyard.operations.definitions import updates_whole
from virtyard.operations.schedules import check_schedule

OPERATION = updates_whole(update_schedule_pb2.UpdateScheduleRequest, "Update Schedule", check_schedule)
