"""Update Trigger: what it waits for and submits, and what people say of it; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import update_trigger_pb2
from virtyard.operations.definitions import updates_whole
from virtyard.operations.triggers import check_trigger

OPERATION = updates_whole(update_trigger_pb2.UpdateTriggerRequest, "Update Trigger", check_trigger)
