"""Update Webhook: which events it sends and where to, and what people say of it; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import update_webhook_pb2
from virtyard.operations.definitions import updates_whole
from virtyard.operations.webhooks import check_webhook

OPERATION = updates_whole(update_webhook_pb2.UpdateWebhookRequest, "Update Webhook", check_webhook, existing="within")
