"""A record: one object in full, a line for each field that is set; messages inside it are indented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from virtyard_client.command.flags import REQUEST
from virtyard_client.command.request import message_class
from virtyard_client.render.line import Line, Span
from virtyard_client.render.words import STYLES, show_value
from virtyard_client.schema.model import Field, Kind, Message
from virtyard_client.schema.schema import Schema

_COUNTS = (Kind.WHOLE, Kind.TRUTH)

COLUMN = 22
"""Columns of the field names."""


def record(schema: Schema, message: Message, item: Any, indent: str = "") -> Iterator[Line]:
    """The lines of an object, in the order of the proto."""
    for field in message.fields:
        value = getattr(item, field.name)
        if field.kind in (Kind.MESSAGE, Kind.OPAQUE):
            yield from _inner(schema, field, value, item, indent)
        elif shown := _shown(schema, message, field, value):
            yield _line(indent, field.name, shown)


def _shown(schema: Schema, message: Message, field: Field, value: Any) -> str:
    empty = not value if not hasattr(value, "ByteSize") else not value.ByteSize()
    # Zero and no are news where people look for the field in a table, or where there is nothing but counters.
    counts = field.kind in _COUNTS and (field.column or all(other.kind in _COUNTS for other in message.fields))
    return "" if empty and not counts else show_value(schema, field, value, short=False)


def _line(indent: str, name: str, text: str) -> Line:
    words = f"{indent}{name.removesuffix('_bytes').replace('_', ' ')}:"
    return Span(words.ljust(COLUMN) + " ", "dim"), Span(text, STYLES.get(text, ""))


def _inner(schema: Schema, field: Field, value: Any, owner: Any, indent: str) -> Iterator[Line]:
    heading = f"{indent}{field.name.replace('_', ' ')}:"
    if field.repeated:
        for number, one in enumerate(value, start=1):
            yield (Span(f"{heading[:-1]} {number}:", "dim"),)
            yield from _body(schema, field, one, indent)
    elif owner.HasField(field.name):
        lines = list(_body(schema, field, value, indent))
        if lines:
            yield (Span(heading, "dim"),)
            yield from lines


def _body(schema: Schema, field: Field, value: Any, indent: str) -> Iterator[Line]:
    if schema.has_message(field.type_name):
        yield from record(schema, schema.message(field.type_name), value, indent + "  ")
    elif field.type_name == "google.rpc.Status":
        yield _line(indent + "  ", "message", value.message)
    elif field.type_name == REQUEST and schema.has_message(name := value.TypeName()):
        yield _line(indent + "  ", "asks for", name.rpartition(".")[2].removesuffix("Request"))
        inside = message_class(schema, name).FromString(value.value)
        yield from record(schema, schema.message(name), inside, indent + "  ")
    else:
        yield _line(indent + "  ", "type", value.DESCRIPTOR.full_name)
