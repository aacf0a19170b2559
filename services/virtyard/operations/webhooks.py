"""What every operation on webhooks checks: the address that events are sent to, and which events."""

from __future__ import annotations

import re

from virtyard.api.inventory.v1 import event_pb2, webhook_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.names import check_id, kinds
from virtyard.kernel.templates import kinds_of_events

LONGEST_URL = 2000
_PORTS = 1 << 16
_URL = re.compile(
    r"https?://(?P<user>[!-~]*@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?][!-\"$-~]*)?(?P<fragment>#[!-~]*)?"
)


def check_webhook(webhook: webhook_pb2.Webhook, field: str) -> None:
    """Refuse a webhook that could not do what it says; one that does not say is enabled, for events, with secret 1.

    Raises:
        InvalidRequest: naming the field.
    """
    webhook.state = webhook.state or webhook_pb2.WEBHOOK_STATE_ENABLED
    webhook.content = webhook.content or webhook_pb2.WEBHOOK_CONTENT_EVENTS
    webhook.secret_version = webhook.secret_version or 1
    if webhook.secret_version < 1:
        text = f"{webhook.secret_version} is not allowed; it must be 1 or more, or 0 for 1"
        raise InvalidRequest.of(f"{field}.secret_version", text)
    _check_url(webhook.url, f"{field}.url")
    _check_filters(webhook, field)
    if webhook.within:
        _check_within(webhook.within, f"{field}.within")


def _check_filters(webhook: webhook_pb2.Webhook, field: str) -> None:
    events, operations = f"{field}.event_filter", f"{field}.operation_filter"
    if webhook.event_filter.strip():
        if webhook.content == webhook_pb2.WEBHOOK_CONTENT_OPERATIONS:
            raise InvalidRequest.of(events, "is given, but content is OPERATIONS; leave it out, or send events too")
        _ = kinds_of_events(webhook.event_filter, events)
        _ = compile_filter(webhook.event_filter, event_pb2.Event.DESCRIPTOR)
    if webhook.operation_filter.strip():
        if webhook.content == webhook_pb2.WEBHOOK_CONTENT_EVENTS:
            text = "is given, but content is EVENTS; leave it out, or say OPERATIONS or EVENTS_AND_OPERATIONS"
            raise InvalidRequest.of(operations, text)
        try:
            _ = compile_filter(webhook.operation_filter, operation_pb2.OperationMetadata.DESCRIPTOR)
        except InvalidRequest as error:
            raise InvalidRequest.of(operations, error.violations[0].description) from None


def _check_within(name: str, field: str) -> None:
    collection, slash, identifier = name.partition("/")
    if collection not in kinds() or not slash:
        text = f"{name!r} is not the name of an object; allowed is one as serverPools/production, or nothing for all"
        raise InvalidRequest.of(field, text)
    check_id(identifier, field)


def _check_url(url: str, field: str) -> None:
    allowed = "it must be an http or https address, as https://example.org/virtyard"
    if not url:
        raise InvalidRequest.of(field, f"is required; {allowed}")
    if len(url) > LONGEST_URL:
        raise InvalidRequest.of(field, f"{len(url)} characters are too many; at most {LONGEST_URL} are allowed")
    parts = _URL.fullmatch(url)
    if parts is None or (parts["port"] and not 0 < int(parts["port"]) < _PORTS):
        raise InvalidRequest.of(field, f"{url!r} is not allowed; {allowed}")
    if parts["user"] or parts["fragment"]:
        text = "must have no user, password or fragment: addresses are shown to everybody who may read the webhook"
        raise InvalidRequest.of(field, text)
