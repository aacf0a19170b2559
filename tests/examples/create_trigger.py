"""An example of its operation type; see `contract`."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import trigger_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import create_trigger_pb2, refresh_server_pb2
from virtyard.kernel.plan import pack

Request = create_trigger_pb2.CreateTriggerRequest
REFRESH = refresh_server_pb2.RefreshServerRequest(name="{event.object}")


def request(
    trigger_id: str = "look", events: str = "type = SERVER_ONLINE", do: Message = REFRESH, **fields: Any
) -> Request:
    """Return a request for a trigger that refreshes a server which reports again."""
    return Request(trigger_id=trigger_id, trigger=trigger_pb2.Trigger(event_filter=events, request=pack(do), **fields))


def refresh(**fields: Any) -> refresh_server_pb2.RefreshServerRequest:
    """Return another request to submit."""
    return refresh_server_pb2.RefreshServerRequest(**fields)


EXAMPLE = Example(
    request=lambda site: request(hourly_limit=3, labels={"of": "operations"}),
    titles=["Create Trigger"],
    prepare=lambda site: [request("old")],
    bad=(
        Bad(request=lambda site: request("old"), reason="ALREADY_EXISTS", field="trigger_id"),
        Bad(request=lambda site: request("a b"), reason="INVALID_REQUEST", field="trigger_id"),
        Bad(request=lambda site: request(events=""), reason="INVALID_REQUEST", field="trigger.event_filter"),
        Bad(request=lambda site: request(events="kind = x"), reason="INVALID_REQUEST", field="trigger.event_filter"),
        Bad(request=lambda site: request(events="type = NONE"), reason="INVALID_REQUEST", field="trigger.event_filter"),
        Bad(request=lambda site: request(hourly_limit=-1), reason="INVALID_REQUEST", field="trigger.hourly_limit"),
        Bad(request=lambda site: request(retry_limit=6), reason="INVALID_REQUEST", field="trigger.retry_limit"),
        Bad(
            request=lambda site: request(events="severity >= WARNING"),
            reason="INVALID_REQUEST",
            field="trigger.request.name",
        ),
        Bad(request=lambda site: request(do=refresh()), reason="INVALID_REQUEST", field="trigger.request.name"),
        Bad(
            request=lambda site: request(do=refresh(name="{event.server}")),
            reason="INVALID_REQUEST",
            field="trigger.request.name",
        ),
        Bad(
            request=lambda site: request(do=refresh(name="servers/s1", validate_only=True)),
            reason="INVALID_REQUEST",
            field="trigger.request.validate_only",
        ),
        Bad(
            request=lambda site: request(do=job_service_pb2.GetJobRequest(name="jobs/1-1")),
            reason="INVALID_REQUEST",
            field="trigger.request",
        ),
        Bad(
            request=lambda site: request(do=request("inner")),
            reason="INVALID_REQUEST",
            field="trigger.request.trigger.request",
        ),
    ),
)
