"""An example of its operation type; see `contract`."""

from __future__ import annotations

from typing import Any

from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import webhook_pb2
from virtyard.api.operations.v1 import create_webhook_pb2

OPERATIONS = webhook_pb2.WEBHOOK_CONTENT_OPERATIONS
Request = create_webhook_pb2.CreateWebhookRequest


def request(webhook_id: str = "pager", url: str = "http://127.0.0.1:9/events", **fields: Any) -> Request:
    """Return a request for a webhook whose receiver is not there."""
    return Request(webhook_id=webhook_id, webhook=webhook_pb2.Webhook(url=url, **fields))


EXAMPLE = Example(
    request=lambda site: request(event_filter="severity >= WARNING", within="serverPools/pool"),
    titles=["Create Webhook"],
    prepare=lambda site: [request("old", event_filter="type = FOREIGN_FILE")],
    bad=(
        Bad(request=lambda site: request("old"), reason="ALREADY_EXISTS", field="webhook_id"),
        Bad(request=lambda site: request("a b"), reason="INVALID_REQUEST", field="webhook_id"),
        Bad(request=lambda site: request(url=""), reason="INVALID_REQUEST", field="webhook.url"),
        Bad(request=lambda site: request(url="ftp://example.org"), reason="INVALID_REQUEST", field="webhook.url"),
        Bad(request=lambda site: request(url="http://h:99999/"), reason="INVALID_REQUEST", field="webhook.url"),
        Bad(request=lambda site: request(url="http://[::1/"), reason="INVALID_REQUEST", field="webhook.url"),
        Bad(request=lambda site: request(url="https://a:b@h/"), reason="INVALID_REQUEST", field="webhook.url"),
        Bad(request=lambda site: request(url="https://h/a b"), reason="INVALID_REQUEST", field="webhook.url"),
        Bad(request=lambda site: request(secret_version=-1), reason="INVALID_REQUEST", field="webhook.secret_version"),
        Bad(request=lambda site: request(within="pool"), reason="INVALID_REQUEST", field="webhook.within"),
        Bad(request=lambda site: request(within="pools/pool"), reason="INVALID_REQUEST", field="webhook.within"),
        Bad(request=lambda site: request(within="serverPools/none"), reason="NOT_FOUND", field="webhook.within"),
        Bad(
            request=lambda site: request(event_filter="kind = x"),
            reason="INVALID_REQUEST",
            field="webhook.event_filter",
        ),
        Bad(
            request=lambda site: request(event_filter="type = NONE"),
            reason="INVALID_REQUEST",
            field="webhook.event_filter",
        ),
        Bad(
            request=lambda site: request(event_filter="severity >= WARNING", content=OPERATIONS),
            reason="INVALID_REQUEST",
            field="webhook.event_filter",
        ),
        Bad(
            request=lambda site: request(operation_filter="state = FAILED"),
            reason="INVALID_REQUEST",
            field="webhook.operation_filter",
        ),
        Bad(
            request=lambda site: request(operation_filter="kind = x", content=OPERATIONS),
            reason="INVALID_REQUEST",
            field="webhook.operation_filter",
        ),
    ),
)
