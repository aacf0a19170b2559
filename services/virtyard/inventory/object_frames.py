"""Frames of the watch over objects: which ones a filter lets through, and their bytes, made once for all watchers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from virtyard.api.inventory.v1 import inventory_service_pb2, object_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.internal.inventory.v1 import object_summary_pb2
from virtyard.inventory.model import TypedObject
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.names import collection_of, unwrap
from virtyard.runtime.feed import Frame
from virtyard.runtime.frame_bytes import with_body

__all__ = ["ObjectFrames", "compile_object_filter", "summary_of"]

_OBJECT_FIELD = inventory_service_pb2.WatchObjectsResponse.DESCRIPTOR.fields_by_name["object"].number


class ObjectFrames:
    """Makes the bytes of frames, with the activity of the moment in them."""

    def __init__(self, activity: Callable[[TypedObject], activity_pb2.Activity]) -> None:
        """Use what is known of an object beside its record."""
        self._activity = activity

    def encode(self, frame: Frame) -> bytes:
        """Return the serialised `WatchObjectsResponse` of a frame."""
        head = inventory_service_pb2.WatchObjectsResponse(kind=frame.kind, resume_token=frame.token, name=frame.key)
        if not frame.body:
            return head.SerializeToString()
        wrapped = object_pb2.Object.FromString(frame.body)
        typed: Any = unwrap(wrapped)
        typed.activity.CopyFrom(self._activity(typed))
        return with_body(head, _OBJECT_FIELD, wrapped.SerializeToString())


def compile_object_filter(text: str) -> Callable[[str, str, bytes], bool] | None:
    """Return a predicate over (topic, key, body) for a filter over name, kind, display_name, state and labels.

    Raises:
        InvalidRequest: the filter cannot be read.
    """
    if not text.strip():
        return None
    matches = compile_filter(text, object_summary_pb2.ObjectSummary.DESCRIPTOR)

    def wanted(topic: str, key: str, body: bytes) -> bool:  # noqa: ARG001 - the feed's signature
        return matches(summary_of(unwrap(object_pb2.Object.FromString(body))))

    return wanted


def summary_of(message: Message) -> object_summary_pb2.ObjectSummary:
    """Return what a filter can name of an object of any kind."""
    typed: Any = message
    states: Any = message.DESCRIPTOR.fields_by_name["state"].enum_type
    # By house rule the value 0 is named as the prefix of all others, with UNSPECIFIED behind it.
    prefix = states.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = states.values_by_number.get(typed.state)
    return object_summary_pb2.ObjectSummary(
        name=typed.name,
        kind=collection_of(typed.name),
        display_name=typed.display_name,
        state=known.name.removeprefix(prefix) if known is not None else "",
        labels=typed.labels,
    )
