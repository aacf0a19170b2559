"""What every operation on filters checks: which operations one matches, and what it does with them."""

from __future__ import annotations

from virtyard.api.inventory.v1 import filter_pb2
from virtyard.internal.jobs.v1 import operation_summary_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import compile_filter

_MOST = 10_000


def check_filter(wanted: filter_pb2.Filter, field: str) -> None:
    """Refuse a filter that cannot be read or says nothing; one that does not say is enabled.

    Raises:
        InvalidRequest: naming the field.
    """
    wanted.state = wanted.state or filter_pb2.FILTER_STATE_ENABLED
    if not wanted.matches.strip():
        raise InvalidRequest.of(f"{field}.matches", 'is required: which operations, as type:"VirtualMachine"')
    try:
        compile_filter(wanted.matches, operation_summary_pb2.OperationSummary.DESCRIPTOR)
    except InvalidRequest as error:
        raise InvalidRequest.of(f"{field}.matches", error.violations[0].description) from None
    if not wanted.action:
        raise InvalidRequest.of(f"{field}.action", "is required: pause, reject, rate-limit or drain")
    limited = wanted.action == filter_pb2.FILTER_ACTION_RATE_LIMIT
    if limited != bool(wanted.limit_per_minute) or not 0 <= wanted.limit_per_minute <= _MOST:
        text = f"must be 1 to {_MOST} where the action is rate-limit, and 0 where it is not"
        raise InvalidRequest.of(f"{field}.limit_per_minute", text)
