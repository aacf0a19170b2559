"""What a request must satisfy before anybody looks at the inventory; read off the protos' own options.

Every refusal names the field and what is allowed; all wrong fields are named at once.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from virtyard.api.type.v1 import annotations_pb2
from virtyard.kernel.errors import FieldViolation, InvalidRequest
from virtyard.kernel.names import check_name
from virtyard.kernel.options import (
    fields_of,
    hint_of,
    is_map,
    is_output,
    is_repeated,
    is_required,
    is_uuid,
    reference_type,
)

M = TypeVar("M", bound=Message)

_LONGEST_TEXT = 4096
_MOST_ITEMS = 1000
_MOST_LABELS = 64
_LABEL_KEY = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")
_LABEL_RULE = "1 to 63 lower-case letters, digits and . - _ /, with a letter or digit at both ends"
_LONGEST_LABEL = 255
_COUNTS = frozenset({"cpus", "page_size", "slots"})
_HIDDEN = frozenset({*(chr(code) for code in range(32)), chr(127), *(chr(code) for code in range(128, 160))})


def validate(request: Message) -> None:
    """Check a request against the options of its fields.

    Raises:
        InvalidRequest: with one violation for every field that is wrong.
    """
    violations = tuple(_violations(request, ""))
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidRequest(text, violations=violations)


def configured(message: M) -> M:
    """Return a copy of a typed object that has only what a caller may set; the rest is the server's (AIP-203)."""
    copy = type(message)()
    copy.CopyFrom(message)
    for field in fields_of(message):
        if is_output(field) or field.name == "etag":
            copy.ClearField(field.name)
    return copy


def _violations(message: Message, prefix: str, only: Sequence[str] = ()) -> Iterator[FieldViolation]:
    for field in fields_of(message):
        if only and field.name not in only:
            continue
        path = prefix + field.name
        value = getattr(message, field.name)
        if not (message.HasField(field.name) if field.has_presence else bool(value)):
            if is_required(field):
                yield FieldViolation(field=path, description="is required")
        elif not is_output(field):
            # What only the server sets is not looked at: it is dropped anyway.
            yield from _field_violations(field, value, path)


def _field_violations(field: FieldDescriptor, value: Any, path: str) -> Iterator[FieldViolation]:
    if not is_repeated(field):
        yield from _value_violations(field, value, path)
        return
    if len(value) > _MOST_ITEMS:
        yield FieldViolation(field=path, description=f"at most {_MOST_ITEMS} are allowed")
    elif is_map(field):
        yield from _text_violations([*value.keys(), *value.values()], path)
        if field.name == "labels":
            yield from _label_violations(value, path)
    else:
        for index, item in enumerate(value):
            yield from _value_violations(field, item, f"{path}[{index}]")


def _value_violations(field: FieldDescriptor, value: Any, path: str) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        if field.message_type.full_name.startswith("virtyard."):
            yield from _violations(value, path + ".", hint_of(field).settable)
    elif field.enum_type is not None:
        if value not in field.enum_type.values_by_number:
            allowed = ", ".join(name for name in field.enum_type.values_by_name if not name.endswith("_UNSPECIFIED"))
            yield FieldViolation(field=path, description=f"{value} is not allowed; it must be one of {allowed}")
    elif isinstance(value, str):
        yield from _text_violations([value], path)
        yield from _format_violations(field, value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        yield FieldViolation(field=path, description=f"{value} is not allowed; it must be a finite number")
    elif isinstance(value, int | float) and value < 0 and _is_quantity(field):
        yield FieldViolation(field=path, description=f"{value} is not allowed; it must be 0 or more")


def _text_violations(texts: Iterable[Any], path: str) -> Iterator[FieldViolation]:
    for text in texts:
        if not isinstance(text, str):
            continue
        if len(text) > _LONGEST_TEXT:
            yield FieldViolation(field=path, description=f"at most {_LONGEST_TEXT} characters are allowed")
        elif not _HIDDEN.isdisjoint(text):
            yield FieldViolation(field=path, description="control characters are not allowed")


def _label_violations(labels: Mapping[str, str], path: str) -> Iterator[FieldViolation]:
    """Find labels that could not be written in a filter or shown in a table."""
    if len(labels) > _MOST_LABELS:
        yield FieldViolation(field=path, description=f"there are {len(labels)}; at most {_MOST_LABELS} are allowed")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            text = f"{key!r} is not a key of a label; allowed are {_LABEL_RULE}"
            yield FieldViolation(field=path, description=text)
        elif len(value) > _LONGEST_LABEL:
            text = f"the value of {key} has {len(value)} characters; at most {_LONGEST_LABEL} are allowed"
            yield FieldViolation(field=path, description=text)


def _format_violations(field: FieldDescriptor, value: str, path: str) -> Iterator[FieldViolation]:
    if is_uuid(field):
        try:
            uuid.UUID(value)
        except ValueError:
            yield FieldViolation(field=path, description=f"{value!r} is not a UUID, as 8-4-4-4-12 hexadecimal digits")
    if wanted := reference_type(field):
        try:
            check_name(value, wanted, path)
        except InvalidRequest as error:
            yield from error.violations


def _is_quantity(field: FieldDescriptor) -> bool:
    return hint_of(field).unit != annotations_pb2.UNIT_UNSPECIFIED or field.name in _COUNTS
