"""Request templates: a request of an operation whose texts are filled in from an event when it is submitted.

What may be filled in is closed: the names of `PLACEHOLDERS`, in any text field, whole or in part. A template is checked
when it is written, against every kind of object that the events can be about, so that none fails for its form later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import event_pb2
from virtyard.kernel import event_types
from virtyard.kernel.any import type_of, unpack
from virtyard.kernel.errors import FieldViolation, InvalidRequest, Unsupported
from virtyard.kernel.filters import restrictions_of
from virtyard.kernel.names import collection_of, id_of, kinds
from virtyard.kernel.options import fields_of, is_map, is_repeated
from virtyard.kernel.validation import validate

__all__ = ["PLACEHOLDERS", "check_request", "check_template", "fill", "kinds_of_events", "values_of"]

PLACEHOLDERS: Mapping[str, Callable[[event_pb2.Event], str]] = {
    "event.object": lambda event: event.object,
    "event.object_id": lambda event: id_of(event.object),
    "event.name": lambda event: event.name,
    "event.type": lambda event: event.type,
    "event.operation": lambda event: event.operation,
    "event.message": lambda event: event.message,
}
"""What a template may name, and where it comes from."""

_PLACE = re.compile(r"\{([^{}]*)\}")
_CALL_FIELDS = ("request_id", "validate_only", "options")
"""What every request of an operation has, and no other message."""
_CONTAINS = ":"


def values_of(event: event_pb2.Event) -> dict[str, str]:
    """Return what an event fills in, by the name of the place."""
    return {name: value(event) for name, value in PLACEHOLDERS.items()}


def fill(template: AnyMessage, values: Mapping[str, str], field: str = "request") -> Message:
    """Return the request that a template gives.

    Args:
        template: the request with places in its texts.
        values: what to put there.
        field: the field that holds the template, for the refusal.

    Raises:
        InvalidRequest: it is no known message, or it has a place of another name.
    """
    try:
        request = unpack(template)
    except Unsupported as error:
        raise InvalidRequest.of(field, str(error)) from None
    _fill(request, values, field)
    return request


def _fill(message: Any, values: Mapping[str, str], path: str) -> None:
    for field in fields_of(message):
        at, value = f"{path}.{field.name}", getattr(message, field.name)
        if is_map(field):
            for key, text in list(value.items()):
                if isinstance(text, str):
                    value[key] = _filled(text, values, f"{at}[{key}]")
        elif is_repeated(field):
            for index, item in enumerate(value):
                if isinstance(item, Message):
                    _fill(item, values, f"{at}[{index}]")
                elif isinstance(item, str):
                    value[index] = _filled(item, values, f"{at}[{index}]")
        elif isinstance(value, str):
            if value:
                setattr(message, field.name, _filled(value, values, at))
        elif isinstance(value, Message) and message.HasField(field.name):
            _fill(value, values, at)


def _filled(text: str, values: Mapping[str, str], field: str) -> str:
    def put(match: re.Match[str]) -> str:
        if match[1] not in values:
            allowed = ", ".join(f"{{{name}}}" for name in values) or "none"
            raise InvalidRequest.of(field, f"{match[0]} is not known; allowed are {allowed}")
        return values[match[1]]

    return _PLACE.sub(put, text)


def check_request(request: Message, field: str) -> Message:
    """Return a message if it is the request of an operation that can be submitted for a schedule or a trigger.

    Raises:
        InvalidRequest: it is another message, it has what is given with each submission, or it is not well formed.
    """
    descriptor = request.DESCRIPTOR
    if not set(_CALL_FIELDS) <= set(descriptor.fields_by_name):
        raise InvalidRequest.of(field, f"{descriptor.full_name} is not the request of an operation")
    typed: Any = request
    for name in ("request_id", "validate_only"):
        if getattr(typed, name):
            raise InvalidRequest.of(f"{field}.{name}", "must be empty; it is given with each submission")
    if inner := next((each for each in _requests_inside(request)), ""):
        raise InvalidRequest.of(f"{field}.{inner}", "a request inside of a request is not allowed")
    try:
        validate(request)
    except InvalidRequest as error:
        violations = tuple(
            FieldViolation(field=f"{field}.{each.field}", description=each.description) for each in error.violations
        )
        text = "; ".join(f"{each.field}: {each.description}" for each in violations)
        raise InvalidRequest(text, violations=violations) from None
    return request


def _requests_inside(request: Message) -> Iterator[str]:
    """Yield the paths of requests that a request carries."""
    typed: Any = request
    for outer in fields_of(request):
        if outer.message_type is None or is_repeated(outer) or not typed.HasField(outer.name):
            continue
        for each in fields_of(getattr(typed, outer.name)):
            inside = each.message_type
            if inside is AnyMessage.DESCRIPTOR and getattr(typed, outer.name).HasField(each.name):
                yield f"{outer.name}.{each.name}"


def check_template(template: AnyMessage, event_filter: str, field: str, filter_field: str) -> None:
    """Refuse a template that would not be a good request for some event that its filter lets through.

    Args:
        template: the request with places in its texts.
        event_filter: the filter over events.
        field: the field that holds the template.
        filter_field: the field that holds the filter.

    Raises:
        InvalidRequest: naming the field inside the template, or the filter.
    """
    if not type_of(template):
        raise InvalidRequest.of(field, "is required: the request of an operation")
    for collection in kinds_of_events(event_filter, filter_field):
        name = f"{collection}/x"
        sample = event_types.new_event(
            event_types.OBJECT_CHANGED, name, f"{name} was changed", name="events/1", operation="operations/1"
        )
        request = fill(template, values_of(sample), field)
        try:
            check_request(request, field)
        except InvalidRequest as error:
            if "{event." not in template.value.decode(errors="replace"):
                raise
            violations = tuple(
                FieldViolation(field=each.field, description=f"for an event of {collection}: {each.description}")
                for each in error.violations
            )
            text = "; ".join(f"{each.field}: {each.description}" for each in violations)
            raise InvalidRequest(text, violations=violations) from None


def kinds_of_events(event_filter: str, field: str) -> Sequence[str]:
    """Return the collections of the objects that the events of a filter can be about, as `servers`.

    Raises:
        InvalidRequest: the filter cannot be read, or nothing can pass it; the refusal names `field`.
    """
    try:
        restrictions, _ = restrictions_of(event_filter, event_pb2.Event.DESCRIPTOR)
    except InvalidRequest as error:
        raise InvalidRequest.of(field, error.violations[0].description) from None
    found = set(kinds())
    for asked in restrictions:
        if asked.path == "type" and asked.operator == "=":
            kind = event_types.find(str(asked.value))
            if kind is None:
                allowed = ", ".join(each.name for each in event_types.EVENT_TYPES)
                raise InvalidRequest.of(field, f"{asked.value!r} is no type of event; allowed are {allowed}")
            found &= set(kind.about) or found
        elif asked.path == "object" and asked.operator in ("=", _CONTAINS) and "/" in str(asked.value):
            found &= {collection_of(str(asked.value))}
    if not found:
        raise InvalidRequest.of(field, "lets no event pass: no event of that type is about such an object")
    return sorted(found)
