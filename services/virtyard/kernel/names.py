"""Resource names: which kinds of object exist, how each is named, and what an id may look like.

The protos are the one source: a kind is a message of `virtyard.api.inventory.v1.Object` with its `google.api.resource`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import object_pb2
from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.kernel.options import resource_of

INVENTORY = "inventory"
"""The participant that is the inventory; every other is the name of a server."""

_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
ID_RULE = "1 to 63 letters, digits, dots, hyphens and underscores, with a letter or digit at both ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of object in the inventory."""

    collection: str
    """First part of the resource name, as `virtualMachines`."""
    field: str
    """Field of `Object` that holds it, as `virtual_machine`."""
    message: type[Message]
    """Class of the typed object."""
    type: str
    """Resource type, as `virtyard.io/VirtualMachine`."""
    noun: str
    """Words for people, as `virtual machine`."""


@cache
def kinds() -> Mapping[str, Kind]:
    """Return every kind of object by its collection."""
    found = {}
    for field in object_pb2.Object.DESCRIPTOR.fields:
        described = cast("Descriptor", field.message_type)
        resource = resource_of(described)
        found[resource.plural] = Kind(
            collection=resource.plural,
            type=resource.type,
            field=field.name,
            message=message_factory.GetMessageClass(described),
            noun=field.name.replace("_", " "),
        )
    return found


@cache
def _collection_of_type() -> Mapping[str, str]:
    return {kind.type: kind.collection for kind in kinds().values()}


def collection_of(name: str) -> str:
    """Return the collection of a resource name, as `servers` of `servers/a`."""
    return name.partition("/")[0]


def id_of(name: str) -> str:
    """Return the last part of a resource name, as `a` of `servers/a`."""
    return name.partition("/")[2]


def kind_of(name: str) -> Kind:
    """Return the kind of the object of this name.

    Raises:
        NotFound: there is no such kind.
    """
    try:
        return kinds()[collection_of(name)]
    except KeyError:
        raise NotFound(f"no kind of object is named as {name!r} is", resource=name) from None


def check_id(identifier: str, field: str) -> str:
    """Return the id if it is well formed.

    Raises:
        InvalidRequest: it is not; the refusal names `field`.
    """
    if not _ID.fullmatch(identifier):
        raise InvalidRequest.of(field, f"{identifier!r} is not an id; allowed are {ID_RULE}")
    return identifier


def check_name(name: str, resource_type: str, field: str) -> str:
    """Return the resource name if it is one of this type, as `virtyard.io/Server`.

    Raises:
        InvalidRequest: it is not; the refusal names `field`.
    """
    collection = _collection_of_type().get(resource_type)
    if collection is None:
        return name
    first, slash, last = name.partition("/")
    if first != collection or not slash or not _ID.fullmatch(last):
        allowed = f"{collection}/ID, ID being {ID_RULE}"
        raise InvalidRequest.of(field, f"{name!r} is not a name of this kind; allowed is {allowed}")
    return name


def wrap(message: Message) -> object_pb2.Object:
    """Return the typed object inside an `Object`."""
    wrapped = object_pb2.Object()
    getattr(wrapped, kind_of(message.name).field).CopyFrom(message)  # type: ignore[attr-defined]  # all kinds have name
    return wrapped


def unwrap(wrapped: object_pb2.Object) -> Message:
    """Return the typed object that an `Object` holds."""
    which = wrapped.WhichOneof("object")
    if which is None:
        raise InvalidRequest.of("object", "one kind of object must be set")
    return cast("Message", getattr(wrapped, which))
