"""What is shown of webhooks: counts, secrets, and what is still to be sent or was given up."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import webhook_pb2
from virtyard.api.jobs.v1 import automation_service_pb2 as pb
from virtyard.jobs.listing import decode_page, encode_page, page_size_of
from virtyard.jobs.model import operation_number
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.webhook_store import Delivery
from virtyard.jobs.webhooks import Webhooks
from virtyard.kernel.errors import InvalidRequest, NotFound

__all__ = ["deliveries_of", "discard_deliveries", "retry_deliveries", "secret_text", "status_of"]

_STATES = {
    pb.WEBHOOK_DELIVERY_STATE_UNSPECIFIED: None,
    pb.WEBHOOK_DELIVERY_STATE_PENDING: False,
    pb.WEBHOOK_DELIVERY_STATE_DEAD: True,
}


async def status_of(webhook: webhook_pb2.Webhook, webhooks: Webhooks, states: RunStates) -> pb.WebhookStatus:
    """Return a webhook with what it has sent."""
    state, counts = states.of(webhook.uid), await webhooks.store.counts(webhook.uid)
    return pb.WebhookStatus(
        webhook=webhook,
        delivered=state.runs,
        pending=counts.pending,
        dead=counts.dead,
        last_time=state.last_time if state.HasField("last_time") else None,
        last_error=state.last_error,
        next_time=_timestamp(counts.next_time),
    )


async def secret_text(webhook: webhook_pb2.Webhook, webhooks: Webhooks) -> pb.WebhookSecret:
    """Return the secret as receivers are given it."""
    return pb.WebhookSecret(secret=f"whsec_{base64.b64encode(await webhooks.secret(webhook)).decode()}")


async def deliveries_of(
    webhook: webhook_pb2.Webhook, request: pb.ListWebhookDeliveriesRequest, webhooks: Webhooks
) -> pb.ListWebhookDeliveriesResponse:
    """Return a page of deliveries.

    Raises:
        InvalidRequest: of `page_size`, `page_token` or `state`.
    """
    if request.state not in _STATES:
        allowed = "PENDING, DEAD, or nothing for both"
        raise InvalidRequest.of("state", f"{request.state} is not allowed; it must be {allowed}")
    size, bound = page_size_of(request.page_size), f"{webhook.uid} {request.state}"
    (after,) = decode_page(request.page_token, bound, 1) if request.page_token else (0,)
    found = await webhooks.store.page(webhook.uid, after, size + 1, _STATES[request.state])
    answer = pb.ListWebhookDeliveriesResponse(deliveries=[_shown(each) for each in found[:size]])
    if len(found) > size:
        answer.next_page_token = encode_page(bound, found[size - 1].place)
    return answer


async def retry_deliveries(
    webhook: webhook_pb2.Webhook, request: pb.RetryWebhookDeliveriesRequest, webhooks: Webhooks
) -> pb.RetryWebhookDeliveriesResponse:
    """Put what was given up in line again.

    Raises:
        NotFound: no delivery of this id was given up.
    """
    count = await webhooks.retry(webhook, request.id)
    _check_found(webhook, request.id, count)
    return pb.RetryWebhookDeliveriesResponse(count=count)


async def discard_deliveries(
    webhook: webhook_pb2.Webhook, request: pb.DiscardWebhookDeliveriesRequest, webhooks: Webhooks
) -> pb.DiscardWebhookDeliveriesResponse:
    """Forget what was given up.

    Raises:
        NotFound: no delivery of this id was given up.
    """
    count = await webhooks.discard(webhook, request.id)
    _check_found(webhook, request.id, count)
    return pb.DiscardWebhookDeliveriesResponse(count=count)


def _check_found(webhook: webhook_pb2.Webhook, identifier: str, count: int) -> None:
    if identifier and not count:
        raise NotFound(f"{webhook.name} has given up no delivery {identifier}", resource=webhook.name)


def _shown(delivery: Delivery) -> pb.WebhookDelivery:
    dead = delivery.next_time is None
    of_operation = operation_number(delivery.event) > 0
    return pb.WebhookDelivery(
        id=delivery.id,
        event="" if of_operation else delivery.event,
        operation=delivery.event if of_operation else "",
        event_type=delivery.event_type,
        state=pb.WEBHOOK_DELIVERY_STATE_DEAD if dead else pb.WEBHOOK_DELIVERY_STATE_PENDING,
        attempts=delivery.attempts,
        create_time=_timestamp(delivery.create_time),
        next_time=_timestamp(delivery.next_time),
        last_error=delivery.last_error,
    )


def _timestamp(seconds: float | None) -> Timestamp | None:
    if seconds is None:
        return None
    found = Timestamp()
    found.FromDatetime(datetime.fromtimestamp(seconds, UTC))
    return found
