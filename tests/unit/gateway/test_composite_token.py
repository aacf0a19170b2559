"""The composite token: it holds where each subscription stands, and nothing but what was given is taken for one."""

from __future__ import annotations

import base64

import pytest

from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.type.v1.watch_pb2 import WatchOptions
from virtyard.gateway.composite_token import digest_of, join_tokens, split_token
from virtyard.gateway.public import public_methods, public_services
from virtyard.gateway.source import watches_by_request
from virtyard.kernel.errors import InvalidRequest


def objects(name: str = "a", **fields: object) -> pb.Subscription:
    """Return a subscription to objects."""
    return pb.Subscription(id=name, objects=inventory_service_pb2.WatchObjectsRequest(**fields))  # type: ignore[arg-type]


def test_what_is_joined_comes_apart() -> None:
    """Tokens that are not there yet are left out, and nothing at all is empty."""
    places = {("a", "d1"): "t1", ("b", "d2"): "", ("c", "d3"): 't"3'}
    assert split_token(join_tokens(places)) == {("a", "d1"): "t1", ("c", "d3"): 't"3'}
    assert split_token("") == {}


def test_a_subscription_is_the_same_if_it_asks_the_same() -> None:
    """Where it starts for the first time makes no difference; its filter, its form and its id do."""
    start = WatchOptions(resume_token="t", skip_snapshot=True)
    assert digest_of(objects(filter="x = 1", options=start)) == digest_of(
        objects(filter="x = 1", options=WatchOptions())
    )
    others = [
        objects(filter="x = 2"),
        objects("b", filter="x = 1"),
        objects(filter="x = 1", options=WatchOptions(batch=True)),
        pb.Subscription(id="a", events=inventory_service_pb2.WatchEventsRequest(filter="x = 1")),
    ]
    assert len({digest_of(one) for one in [objects(filter="x = 1"), *others]}) == 1 + len(others)


@pytest.mark.parametrize("text", ["{", "[1]", '[["a","b"]]', '[["a","b",1]]', '[[["a"],"b","c"]]', "7", "null"])
def test_other_texts_are_refused(text: str) -> None:
    """By the name of the field, whatever is inside."""
    for token in (text, base64.urlsafe_b64encode(text.encode()).decode()):
        with pytest.raises(InvalidRequest, match="resume_token"):
            split_token(token)


def test_every_source_can_be_watched() -> None:
    """Each choice of a subscription is the request of a public watch, and its answers have a field of the same name."""
    watches = watches_by_request(public_methods(public_services()))
    choices = pb.Subscription.DESCRIPTOR.oneofs_by_name["source"].fields
    frames = pb.WatchResponse.DESCRIPTOR.fields_by_name
    assert len(choices) >= 6
    for choice in choices:
        assert choice.message_type is not None
        assert watches[choice.message_type.full_name].response.DESCRIPTOR is frames[choice.name].message_type
