"""Field masks over one object: which paths may be written, and taking them over from another message."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor

from virtyard.inventory.model import TypedObject
from virtyard.inventory.projections import derived_fields
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.names import collection_of

__all__ = ["KEPT_FIELDS", "check_paths", "take_over"]

KEPT_FIELDS = frozenset({"name", "uid", "generation", "create_time", "update_time"})
"""Fields that the inventory itself keeps for every object."""


def check_paths(message: TypedObject, paths: Iterable[str], field: str) -> None:
    """Refuse a mask that names what does not exist, or what is not for effects to write.

    Raises:
        InvalidRequest: naming `field`.
    """
    paths = list(paths)
    if not paths:
        raise InvalidRequest.of(field, "at least one path is required")
    refused = KEPT_FIELDS | derived_fields(collection_of(message.name))
    for path in paths:
        descriptor: Descriptor | None = message.DESCRIPTOR
        segments = path.split(".")
        if segments[0] in refused:
            raise InvalidRequest.of(field, f"{path!r} is kept by the inventory and cannot be written")
        for segment in segments:
            found = descriptor.fields_by_name.get(segment) if descriptor is not None else None
            if found is None:
                raise InvalidRequest.of(field, f"{path!r} is not a field of {message.DESCRIPTOR.name}")
            descriptor = found.message_type if not found.is_repeated else None


def take_over(source: TypedObject, target: TypedObject, paths: Iterable[str]) -> None:
    """Make the fields of `target` at these paths equal to those of `source`, unset ones included."""
    for path in paths:
        *parents, last = path.split(".")
        here, there = source, target
        for parent in parents:
            here, there = getattr(here, parent), getattr(there, parent)
        there.ClearField(last)
        field = here.DESCRIPTOR.fields_by_name[last]
        if field.message_type is not None or field.is_repeated:
            if field.is_repeated or here.HasField(last):
                _copy(here, there, last)
        else:
            setattr(there, last, getattr(here, last))


def _copy(here: TypedObject, there: TypedObject, name: str) -> None:
    value, place = getattr(here, name), getattr(there, name)
    if hasattr(place, "MergeFrom"):
        place.MergeFrom(value)
        if hasattr(place, "SetInParent"):
            place.SetInParent()
    else:
        place.update(value)
