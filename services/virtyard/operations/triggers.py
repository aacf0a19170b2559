"""What every operation on triggers checks: the events that one waits for, and the request that it submits."""

from __future__ import annotations

from virtyard.api.inventory.v1 import trigger_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.templates import check_template

HOURLY_LIMIT = 60
"""How many operations a trigger submits in an hour if it does not say."""
MOST_HOURLY = 3600
MOST_RETRIES = 5


def check_trigger(trigger: trigger_pb2.Trigger, field: str) -> None:
    """Refuse a trigger that could not do what it says; one that does not say is enabled, with the usual limit.

    Raises:
        InvalidRequest: naming the field, also inside the request that is to be submitted.
    """
    trigger.state = trigger.state or trigger_pb2.TRIGGER_STATE_ENABLED
    trigger.hourly_limit = trigger.hourly_limit or HOURLY_LIMIT
    if not 0 < trigger.hourly_limit <= MOST_HOURLY:
        text = f"{trigger.hourly_limit} is not allowed; it must be 1 to {MOST_HOURLY}, or 0 for {HOURLY_LIMIT}"
        raise InvalidRequest.of(f"{field}.hourly_limit", text)
    if not 0 <= trigger.retry_limit <= MOST_RETRIES:
        text = f"{trigger.retry_limit} is not allowed; it must be 0 to {MOST_RETRIES}"
        raise InvalidRequest.of(f"{field}.retry_limit", text)
    if not trigger.event_filter.strip():
        raise InvalidRequest.of(f"{field}.event_filter", "is required: which events it waits for, as type = JOB_FAILED")
    check_template(trigger.request, trigger.event_filter, f"{field}.request", f"{field}.event_filter")
