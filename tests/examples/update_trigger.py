"""Update Trigger: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.create_trigger import request
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_trigger_pb2

EXAMPLE = update(update_trigger_pb2.UpdateTriggerRequest, "triggers/look", prepare=lambda site: [request()])
