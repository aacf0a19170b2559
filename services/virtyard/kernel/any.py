"""Typed messages inside `google.protobuf.Any`, and fields inside them by their paths."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from virtyard.kernel.errors import InternalError, Unsupported

_SEGMENT = re.compile(r"([a-z_0-9]+)(?:\[(\d+)\])?")


def type_of(packed: AnyMessage) -> str:
    """Return the full name of the message type inside."""
    return packed.type_url.rpartition("/")[2]


def unpack(packed: AnyMessage) -> Message:
    """Return the typed message inside.

    Raises:
        Unsupported: this process does not know the type, or the bytes are not of it.
    """
    name = type_of(packed)
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
        return message_factory.GetMessageClass(descriptor).FromString(packed.value)
    except (KeyError, DecodeError):
        raise Unsupported(f"messages of type {name!r} are not known here", metadata={"type": name}) from None


def get_path(message: Message, path: str) -> Any:
    """Return the value at a path, as `writes[0].create.virtual_disk.path`.

    Raises:
        InternalError: the message has no such field.
    """
    value: Any = message
    for segment in path.split("."):
        value = _step(value, segment, path)
    return value


def set_path(message: Message, path: str, value: Any) -> None:
    """Set the field at a path; a message is copied.

    Raises:
        InternalError: the message has no such field.
    """
    *before, last = path.split(".")
    owner: Any = message
    for segment in before:
        owner = _step(owner, segment, path)
    if isinstance(value, Message):
        _step(owner, last, path).CopyFrom(value)
    elif hasattr(owner, last):
        setattr(owner, last, value)
    else:
        raise InternalError(f"there is no field {path!r}")


def _step(value: Any, segment: str, path: str) -> Any:
    match = _SEGMENT.fullmatch(segment)
    if match is None or not hasattr(value, match.group(1)):
        raise InternalError(f"there is no field {path!r}")
    found = getattr(value, match.group(1))
    return found if match.group(2) is None else found[int(match.group(2))]
