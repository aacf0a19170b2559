"""Update Webhook: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.create_webhook import request
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_webhook_pb2

EXAMPLE = update(update_webhook_pb2.UpdateWebhookRequest, "webhooks/pager", prepare=lambda site: [request()])
