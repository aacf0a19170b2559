"""The types of fields by their paths, as bindings write them: `writes[0].create.virtual_disk.path`.

A path is names joined by dots; a repeated field is always followed by the index of one item. Maps are not reached into.
"""

from __future__ import annotations

import re
from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from virtyard.kernel.errors import InternalError
from virtyard.kernel.options import is_map, is_repeated

_PART = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(?:\[(?P<index>\d+)\])?")


def parse_path(path: str) -> list[tuple[str, int | None]]:
    """Return the names of a path, each with its index or None.

    Raises:
        InternalError: it is not a path.
    """
    found: list[tuple[str, int | None]] = []
    for part in path.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise InternalError(f"{path!r} is not the path of a field: {part!r} cannot be read")
        found.append((match["name"], int(match["index"]) if match["index"] else None))
    return found


@cache
def field_at(descriptor: Descriptor, path: str) -> FieldDescriptor:
    """Return the field that a path leads to in messages of this type.

    Raises:
        InternalError: the type has no such field, or an index is missing or too many.
    """
    inside: Descriptor | None = descriptor
    field: FieldDescriptor | None = None
    for name, index in parse_path(path):
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None:
            raise InternalError(f"{descriptor.full_name} has no field {path}: {name!r} is not there")
        if is_map(field) or is_repeated(field) != (index is not None):
            raise InternalError(f"{path} in {descriptor.full_name}: {name} takes an index exactly if it is repeated")
        inside = field.message_type
    return cast("FieldDescriptor", field)


def assignable(source: FieldDescriptor, target: FieldDescriptor) -> bool:
    """Tell whether every value of one field is a value of the other."""
    if source.message_type is not None or target.message_type is not None:
        return source.message_type == target.message_type
    if source.enum_type is not None or target.enum_type is not None:
        return source.enum_type == target.enum_type
    wider = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)
    return source.type == target.type or (source.type, target.type) == wider
