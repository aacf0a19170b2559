"""What a request must satisfy before anybody looks at the inventory; read off the protos' own options.

Every refusal names the field and what is allowed; all wrong fields are named at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from google.api import field_behavior_pb2, field_info_pb2, resource_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from virtyard.api.type.v1 import annotations_pb2
from virtyard.kernel.errors import FieldViolation, InvalidRequest
from virtyard.kernel.names import check_name

_LONGEST_TEXT = 4096
_MOST_ITEMS = 1000


def validate(request: Message) -> None:
    """Check a request against the options of its fields.

    Raises:
        InvalidRequest: with one violation for every field that is wrong.
    """
    violations = tuple(_violations(request, ""))
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidRequest(text, violations=violations)


def _violations(message: Message, prefix: str) -> Iterator[FieldViolation]:
    for field in message.DESCRIPTOR.fields:
        path = prefix + field.name
        value = getattr(message, field.name)
        present = message.HasField(field.name) if field.has_presence else bool(value)
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if not present:
            if field_behavior_pb2.REQUIRED in behaviors:
                yield FieldViolation(field=path, description="is required")
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _text_violations([*value.keys(), *value.values()], path)
        elif field.is_repeated:
            if len(value) > _MOST_ITEMS:
                yield FieldViolation(field=path, description=f"at most {_MOST_ITEMS} are allowed")
            for index, item in enumerate(value):
                yield from _value_violations(field, item, f"{path}[{index}]")
        else:
            yield from _value_violations(field, value, path)


def _value_violations(field: FieldDescriptor, value: Any, path: str) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        if field.message_type.full_name.startswith("virtyard."):
            yield from _violations(value, path + ".")
    elif field.enum_type is not None:
        if value not in field.enum_type.values_by_number:
            yield FieldViolation(field=path, description=f"{value} is not a value of {field.enum_type.name}")
    elif isinstance(value, str):
        yield from _text_violations([value], path)
        yield from _format_violations(field, value, path)
    elif isinstance(value, int | float) and value < 0 and _is_quantity(field):
        yield FieldViolation(field=path, description=f"{value} is not allowed; it must be 0 or more")


def _text_violations(texts: list[str], path: str) -> Iterator[FieldViolation]:
    for text in texts:
        if len(text) > _LONGEST_TEXT:
            yield FieldViolation(field=path, description=f"at most {_LONGEST_TEXT} characters are allowed")
        elif any(ord(character) < 32 for character in text):
            yield FieldViolation(field=path, description="control characters are not allowed")


def _format_violations(field: FieldDescriptor, value: str, path: str) -> Iterator[FieldViolation]:
    options = field.GetOptions()
    if options.Extensions[field_info_pb2.field_info].format == field_info_pb2.FieldInfo.UUID4:
        try:
            uuid.UUID(value)
        except ValueError:
            yield FieldViolation(field=path, description=f"{value!r} is not a UUID, as 8-4-4-4-12 hexadecimal digits")
    if options.HasExtension(resource_pb2.resource_reference):
        try:
            check_name(value, options.Extensions[resource_pb2.resource_reference].type, path)
        except InvalidRequest as error:
            yield from error.violations


def _is_quantity(field: FieldDescriptor) -> bool:
    hint = field.GetOptions().Extensions[annotations_pb2.field_hint]
    return hint.unit != annotations_pb2.UNIT_UNSPECIFIED or field.name in ("cpus", "page_size", "slots")
