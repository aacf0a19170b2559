"""Create Trigger: one record, which the scheduler follows; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import create_trigger_pb2
from virtyard.operations.definitions import creates
from virtyard.operations.triggers import check_trigger

OPERATION = creates(create_trigger_pb2.CreateTriggerRequest, "Create Trigger", check_trigger)
