"""Delete Webhook: its record; what it still had to send goes with it; see `definitions`."""

from __future__ import annotations

from virtyard.api.operations.v1 import delete_webhook_pb2
from virtyard.operations.definitions import deletes

OPERATION = deletes(delete_webhook_pb2.DeleteWebhookRequest, "Delete Webhook")
