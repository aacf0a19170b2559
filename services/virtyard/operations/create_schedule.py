"""Create Schedule: one record, which the scheduler follows; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import create_schedule_pb2
from virtyard.operations.definitions import creates
from virtyard.operations.schedules import check_schedule

OPERATION = creates(create_schedule_pb2.CreateScheduleRequest, "Create Schedule", check_schedule)
