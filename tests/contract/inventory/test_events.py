"""Events: raised once for their key, named by rising numbers, listed the newest first."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.contract.inventory.served import Served
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.status import errors_named


def raised(*keys: str) -> control_service_pb2.RaiseEventsRequest:
    """Return the request that raises an event for each key."""
    return control_service_pb2.RaiseEventsRequest(
        events=[
            control_service_pb2.KeyedEvent(
                key=key, event=event_pb2.Event(type="JOB_FAILED", severity=event_pb2.SEVERITY_WARNING, message=key)
            )
            for key in keys
        ]
    )


async def test_event_is_raised_once_for_its_key(served: Served) -> None:
    """However often an event is delivered, there is one of it."""
    await served.control.RaiseEvents(raised("a", "b"))
    await served.control.RaiseEvents(raised("b", "a", "c"))
    page = await served.reads.ListEvents(pb.ListEventsRequest())
    assert [(event.name, event.message) for event in page.events] == [
        ("events/3", "c"),
        ("events/2", "b"),
        ("events/1", "a"),
    ]
    assert all(event.HasField("create_time") for event in page.events)
    assert (await served.reads.GetEvent(pb.GetEventRequest(name="events/2"))).message == "b"


@pytest.mark.parametrize("order", ["", "name", "name desc", "create_time"])
async def test_events_are_paged(served: Served, order: str) -> None:
    """Pages give each event once, the newest first unless asked otherwise."""
    await served.control.RaiseEvents(raised(*"abcdefg"))
    found, token = "", ""
    while True:
        page = await served.reads.ListEvents(pb.ListEventsRequest(page_size=3, page_token=token, order_by=order))
        found += "".join(event.message for event in page.events)
        token = page.next_page_token
        if not token:
            break
    assert found == ("gfedcba" if order in ("", "name desc") else "abcdefg")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("type", "SOMETHING_ELSE", "JOB_FAILED"),
        ("severity", event_pb2.SEVERITY_CRITICAL, "WARNING"),
        ("create_time", Timestamp(seconds=1), "empty"),
    ],
)
async def test_event_that_is_not_as_the_catalogue_has_it_is_refused(
    served: Served, field: str, value: Any, allowed: str
) -> None:
    """An unknown type, another severity than the type's and a time of one's own are refused, with what is allowed."""
    request = raised("a", "b")
    good = request.events[1].event
    given = event_pb2.Event(**{field: value})
    good.ClearField(field)  # type: ignore[arg-type]  # the name of a field
    good.MergeFrom(given)
    with pytest.raises(InvalidRequest) as caught, errors_named():
        await served.control.RaiseEvents(request)
    (violation,) = caught.value.violations
    assert violation.field == f"events[1].event.{field}"
    assert allowed in violation.description
    assert not (await served.reads.ListEvents(pb.ListEventsRequest())).events


@pytest.mark.parametrize("missing", ["key", "type", "severity"])
async def test_event_without_what_every_event_has_is_refused(served: Served, missing: str) -> None:
    """Nothing of the request is stored, and the refusal names the field."""
    request = raised("a", "b")
    if missing == "key":
        request.events[1].key = ""
    else:
        request.events[1].event.ClearField(missing)  # type: ignore[arg-type]  # the name of a field
    with pytest.raises(InvalidRequest) as caught, errors_named():
        await served.control.RaiseEvents(request)
    assert caught.value.violations[0].field == f"events[1].{'key' if missing == 'key' else 'event.' + missing}"
    assert not (await served.reads.ListEvents(pb.ListEventsRequest())).events
