"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Example
from tests.examples.create_trigger import request
from virtyard.api.operations.v1 import delete_trigger_pb2

EXAMPLE = Example(
    request=lambda site: delete_trigger_pb2.DeleteTriggerRequest(name="triggers/look"),
    titles=["Delete Trigger"],
    prepare=lambda site: [request()],
)
