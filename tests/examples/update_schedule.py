"""Update Schedule: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.create_schedule import request
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_schedule_pb2

EXAMPLE = update(update_schedule_pb2.UpdateScheduleRequest, "schedules/nightly", prepare=lambda site: [request()])
