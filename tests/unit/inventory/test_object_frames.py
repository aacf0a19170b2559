"""Frames of objects: what a filter sees of them, and the activity that is put into their bytes."""

from __future__ import annotations

import pytest

from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2, vnic_pb2
from virtyard.api.type.v1 import activity_pb2, lock_pb2, watch_pb2
from virtyard.inventory.object_frames import ObjectFrames, compile_object_filter, summary_of
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.names import kinds, wrap
from virtyard.runtime.feed import Frame

BODY = wrap(server_pb2.Server(name="servers/s", state=server_pb2.SERVER_STATE_ONLINE, labels={"a": "b"}))


def frame(kind: watch_pb2.FrameKind.ValueType, body: bytes) -> Frame:
    """Return a frame about a server."""
    return Frame(kind=kind, token="t", topic="object", key="servers/s", body=body)


def test_activity_is_part_of_the_frame() -> None:
    """The bytes are those of the message, with the activity of the moment."""
    activity = activity_pb2.Activity(locked_by=[lock_pb2.LockInfo(holder="operations/1")])
    encoded = ObjectFrames(lambda _: activity).encode(frame(watch_pb2.FRAME_KIND_CHANGED, BODY.SerializeToString()))
    shown = inventory_service_pb2.WatchObjectsResponse.FromString(encoded)
    assert (shown.kind, shown.resume_token, shown.name) == (watch_pb2.FRAME_KIND_CHANGED, "t", "servers/s")
    assert [info.holder for info in shown.object.server.activity.locked_by] == ["operations/1"]
    assert dict(shown.object.server.labels) == {"a": "b"}


def test_frame_without_a_body_has_no_object() -> None:
    """An object that is gone is told by its name."""
    encoded = ObjectFrames(lambda _: activity_pb2.Activity()).encode(frame(watch_pb2.FRAME_KIND_REMOVED, b""))
    shown = inventory_service_pb2.WatchObjectsResponse.FromString(encoded)
    assert not shown.HasField("object")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", True),
        ("kind = servers", True),
        ("kind = vnics", False),
        ("state = ONLINE", True),
        ('name = "servers/s" AND labels.a = b', True),
        ("NOT labels.a = b", False),
    ],
)
def test_filter_over_objects(text: str, wanted: bool) -> None:
    """A filter names what objects of all kinds have."""
    matches = compile_object_filter(text)
    assert (matches is None or matches("object", "servers/s", BODY.SerializeToString())) is wanted


def test_filter_over_another_field_is_refused() -> None:
    """A field that only some kinds have cannot be named."""
    with pytest.raises(InvalidRequest):
        compile_object_filter("memory_bytes > 1")


def test_every_kind_has_a_summary() -> None:
    """The state of every kind is named without its prefix."""
    for kind in kinds().values():
        states = kind.message.DESCRIPTOR.fields_by_name["state"].enum_type
        assert states is not None
        for value in states.values:
            summary = summary_of(kind.message(name=f"{kind.collection}/a", state=value.number))
            assert value.name.endswith(f"STATE_{summary.state}")
    assert summary_of(vnic_pb2.Vnic(name="vnics/a")).kind == "vnics"
