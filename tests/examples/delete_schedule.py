"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Example
from tests.examples.create_schedule import request
from virtyard.api.operations.v1 import delete_schedule_pb2

EXAMPLE = Example(
    request=lambda site: delete_schedule_pb2.DeleteScheduleRequest(name="schedules/nightly"),
    titles=["Delete Schedule"],
    prepare=lambda site: [request()],
)
