"""Create Webhook: one record, by which the scheduler sends events; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import create_webhook_pb2
from virtyard.operations.definitions import creates
from virtyard.operations.webhooks import check_webhook

OPERATION = creates(create_webhook_pb2.CreateWebhookRequest, "Create Webhook", check_webhook, existing="within")
