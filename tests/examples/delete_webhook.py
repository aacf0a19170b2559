"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Example
from tests.examples.create_webhook import request
from virtyard.api.operations.v1 import delete_webhook_pb2

EXAMPLE = Example(
    request=lambda site: delete_webhook_pb2.DeleteWebhookRequest(name="webhooks/pager"),
    titles=["Delete Webhook"],
    prepare=lambda site: [request()],
)
