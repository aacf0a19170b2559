"""What the protos say of their own messages and fields, read off the options in a typed way.

The stubs do not know the types of extensions; the casts for that are here and nowhere else. What is read is kept:
descriptors never change, and every request is judged by the options of all its fields.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from google.api import field_behavior_pb2, field_info_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from virtyard.api.type.v1 import annotations_pb2


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    """Return the type of a message, as the stubs of the descriptors call it."""
    return cast("Descriptor", message.DESCRIPTOR)


def fields_of(message: Message | type[Message]) -> tuple[FieldDescriptor, ...]:
    """Return the fields of a message's type, in the order of the proto."""
    return _fields(descriptor_of(message))


@cache
def _fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return tuple(descriptor.fields)


def _option(descriptor: Descriptor | FieldDescriptor, extension: object) -> Any:
    return cast("Any", descriptor.GetOptions()).Extensions[extension]


@cache
def resource_of(message: Descriptor) -> resource_pb2.ResourceDescriptor:
    """Return the resource that a message is; without a type if it is none."""
    return cast("resource_pb2.ResourceDescriptor", _option(message, resource_pb2.resource))


@cache
def action_hint(message: Descriptor) -> annotations_pb2.ActionHint:
    """Return what an action's message declares of itself; without a domain if it is no action."""
    return cast("annotations_pb2.ActionHint", _option(message, annotations_pb2.action_hint))


@cache
def reference_type(field: FieldDescriptor) -> str:
    """Return the resource type that a field names, as `virtyard.io/Server`; empty if it names none."""
    return str(_option(field, resource_pb2.resource_reference).type)


@cache
def is_required(field: FieldDescriptor) -> bool:
    """Tell whether a caller must set the field."""
    return field_behavior_pb2.REQUIRED in _option(field, field_behavior_pb2.field_behavior)


@cache
def is_output(field: FieldDescriptor) -> bool:
    """Tell whether a caller's value of the field is never taken over: it is the server's to set, or the identity."""
    behaviors = _option(field, field_behavior_pb2.field_behavior)
    return field_behavior_pb2.OUTPUT_ONLY in behaviors or field_behavior_pb2.IDENTIFIER in behaviors


@cache
def is_uuid(field: FieldDescriptor) -> bool:
    """Tell whether the field holds a UUID."""
    return bool(_option(field, field_info_pb2.field_info).format == field_info_pb2.FieldInfo.UUID4)


@cache
def hint_of(field: FieldDescriptor) -> annotations_pb2.FieldHint:
    """Return how people see the field: its unit among other things."""
    return cast("annotations_pb2.FieldHint", _option(field, annotations_pb2.field_hint))


@cache
def is_map(field: FieldDescriptor) -> bool:
    """Tell whether the field is a map."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


@cache
def is_repeated(field: FieldDescriptor) -> bool:
    """Tell whether the field holds several values, a map's included."""
    return bool(cast("Any", field).is_repeated)
