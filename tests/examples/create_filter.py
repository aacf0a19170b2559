"""An example of its operation type; see `contract`."""

from __future__ import annotations

from typing import Any

from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import filter_pb2
from virtyard.api.operations.v1 import create_filter_pb2

Request = create_filter_pb2.CreateFilterRequest
PAUSE = filter_pb2.FILTER_ACTION_PAUSE
RATE_LIMIT = filter_pb2.FILTER_ACTION_RATE_LIMIT


def request(filter_id: str = "calm", matches: str = "type = StartVirtualMachine", **fields: Any) -> Request:
    """Return a request for a filter that keeps starts back."""
    return Request(filter_id=filter_id, filter=filter_pb2.Filter(**{"matches": matches, "action": PAUSE, **fields}))


def bad(field: str, *arguments: Any, **fields: Any) -> Bad:
    """Return a request that is not allowed, with the field at fault."""
    return Bad(request=lambda site: request(*arguments, **fields), reason="INVALID_REQUEST", field=field)


EXAMPLE = Example(
    request=lambda site: request(action=RATE_LIMIT, limit_per_minute=5, labels={"of": "operations"}),
    titles=["Create Filter"],
    prepare=lambda site: [request("old")],
    bad=(
        Bad(request=lambda site: request("old"), reason="ALREADY_EXISTS", field="filter_id"),
        bad("filter_id", "a b"),
        bad("filter.matches", "new", ""),
        bad("filter.matches", "new", "colour = red"),
        bad("filter.action", action=0),
        bad("filter.limit_per_minute", action=RATE_LIMIT),
        bad("filter.limit_per_minute", limit_per_minute=5),
    ),
)
