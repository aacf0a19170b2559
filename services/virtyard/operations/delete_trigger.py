"""Delete Trigger: its record; what it has submitted goes on; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import delete_trigger_pb2
from virtyard.operations.definitions import deletes

OPERATION = deletes(delete_trigger_pb2.DeleteTriggerRequest, "Delete Trigger")
