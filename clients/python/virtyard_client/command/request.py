"""Requests: from values by field path to the protobuf message that is sent.

The message class comes from the default descriptor pool; for Virtyard's own protos the module is imported by the
proto's path, which is its import path.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message as Proto

from virtyard_client.command.flags import Flag
from virtyard_client.schema.model import Kind
from virtyard_client.schema.schema import Schema


def message_class(schema: Schema, full_name: str) -> type[Proto]:
    """The class of a message type, its module imported if need be.

    Raises:
        KeyError: neither the schema nor an imported module knows it.
    """
    pool = descriptor_pool.Default()
    try:
        found = pool.FindMessageTypeByName(full_name)
    except KeyError:
        load_module(schema, full_name)
        found = pool.FindMessageTypeByName(full_name)
    return message_factory.GetMessageClass(found)


def load_module(schema: Schema, full_name: str) -> None:
    """Import the generated module that declares a message, if it is one of Virtyard's or google's operations."""
    if full_name.startswith("google.longrunning."):
        importlib.import_module("google.longrunning.operations_pb2")
    elif schema.has_message(full_name):
        file = schema.message(full_name).file
        if file.startswith("virtyard/api/"):
            importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")


def build(schema: Schema, request: str, flags: Iterable[Flag], values: Mapping[tuple[str, ...], Any]) -> Proto:
    """The request with the given values; a required message inside it is present even if nothing of it was given."""
    message = message_class(schema, request)()
    for field in schema.message(request).fields:
        if field.required and field.kind is Kind.MESSAGE and not field.repeated:
            getattr(message, field.name).SetInParent()
    known = {flag.path: flag for flag in flags}
    for path, value in values.items():
        _assign(message, path, value, known[path])
    _name_changes(schema, request, message, values)
    return message


def _name_changes(schema: Schema, request: str, message: Any, values: Mapping[tuple[str, ...], Any]) -> None:
    """Name in the update mask what was given, so that a value can be taken away as well as set."""
    changed = next((field for field in schema.message(request).fields if field.settable), None)
    if changed is None or message.update_mask.paths:
        return
    given = {path[1] for path in values if path[0] == changed.name}
    message.update_mask.paths.extend(name for name in changed.settable if name in given)


def _assign(message: Proto, path: tuple[str, ...], value: Any, flag: Flag) -> None:
    owner: Any = message
    for part in path[:-1]:
        owner = getattr(owner, part)
    name = path[-1]
    if flag.keys:
        items = value if isinstance(value, list) else [value]
        keys = {key.path: key for key in flag.keys}
        for item in items:
            new = getattr(owner, name).add()
            for place, inner in item.items():
                _assign(new, place, inner, keys[place])
    else:
        _put(owner, name, value)


def _put(owner: Any, name: str, value: Any) -> None:
    match value:
        case datetime():
            getattr(owner, name).FromDatetime(value)
        case timedelta():
            getattr(owner, name).FromTimedelta(value)
        case [tuple(), *_]:
            getattr(owner, name).update(value)
        case Proto():
            getattr(owner, name).CopyFrom(value)
        case list():
            target = getattr(owner, name)
            if hasattr(target, "paths"):
                target.paths.extend(value)
            else:
                target.extend(value)
        case _:
            setattr(owner, name, value)


def flag_of_field(flags: Iterable[Flag], path: str) -> str:
    """The flag that sets the field of a refusal's violation, as `--disk (2nd) size`; empty if none does."""
    plain = [part.partition("[") for part in path.split(".")]
    names = tuple(part[0] for part in plain)
    best: tuple[int, str] = (0, "")
    for flag in flags:
        length = len(flag.path)
        if names[:length] == flag.path and length > best[0]:
            shown = flag.shown
            place = plain[length - 1][2].rstrip("]")
            if place.isdigit() and flag.field.repeated:
                shown += f" number {int(place) + 1}"
            if flag.keys and len(names) > length:
                shown += f" {_key_of(flag, names[length:])}"
            best = (length, shown)
    return best[1]


def _key_of(flag: Flag, names: tuple[str, ...]) -> str:
    return next((key.name for key in flag.keys if key.path == names), ".".join(names))
