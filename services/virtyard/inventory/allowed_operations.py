"""Allowed operations: which methods act on an object and would be accepted as its own record is now.

It is computed from what the operation types declare they need, the same that their plans refuse by. It shows, and
decides nothing: what other objects forbid, as a server that does not answer, is told only to who asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from virtyard.api.operations.v1 import operation_service_pb2
from virtyard.inventory.model import TypedObject
from virtyard.kernel.errors import InternalError
from virtyard.kernel.names import collection_of, kinds
from virtyard.kernel.options import hint_of, is_repeated, is_required, reference_type, resource_of
from virtyard.operations.contract import OperationType
from virtyard.operations.needs import Need

__all__ = ["AllowedOperations"]

# Where Virtyard's own methods are described; those of added packages come with them.
_ = operation_service_pb2.DESCRIPTOR


@dataclass(slots=True)
class _OfKind:
    """What can be done with the objects of one kind."""

    methods: dict[str, list[tuple[Need, ...]]] = field(default_factory=dict)
    """What each method needs of an object, once for each field that may name it."""
    needs: tuple[Need, ...] = ()
    """All that any of them needs, each once."""
    known: dict[tuple[bool, ...], tuple[str, ...]] = field(default_factory=dict)
    """The methods that are allowed, by which needs are met; as many as there are states that objects were seen in."""


class AllowedOperations:
    """The operation types by the kind of object that they act on."""

    def __init__(self, types: Mapping[str, OperationType]) -> None:
        """Take note of what each type acts on: what its request must name, or the object that it changes.

        Raises:
            InternalError: a type declares needs of a field that names no object.
        """
        self._kinds: dict[str, _OfKind] = {}
        for name in sorted(types):
            request = _request_of(name)
            _check_needs(types[name], request)
            for path, collection in _acting_fields(request):
                of_kind = self._kinds.setdefault(collection, _OfKind())
                of_kind.methods.setdefault(name, []).append(tuple(types[name].needs.get(path, ())))
        for of_kind in self._kinds.values():
            asked = [need for ways in of_kind.methods.values() for needs in ways for need in needs]
            of_kind.needs = tuple(dict.fromkeys(asked))

    def of(self, item: TypedObject) -> tuple[str, ...]:
        """Return the full names of the methods that an object allows, in their order."""
        of_kind = self._kinds.get(collection_of(item.name))
        if of_kind is None:
            return ()
        met = tuple(not need(item) for need in of_kind.needs)
        known = of_kind.known.get(met)
        if known is None:
            holds = dict(zip(of_kind.needs, met, strict=True))
            known = tuple(
                method
                for method, ways in of_kind.methods.items()
                if any(all(holds[need] for need in needs) for needs in ways)
            )
            of_kind.known[met] = known
        return known


def _request_of(method: str) -> Descriptor:
    return descriptor_pool.Default().FindMethodByName(method).input_type


def _acting_fields(request: Descriptor) -> Iterator[tuple[str, str]]:
    """Yield (field, collection) of what a request acts on; what it only uses, or makes something in, is none."""
    collections = {kind.type: kind.collection for kind in kinds().values()}
    changed = next((each for each in request.fields if hint_of(each).settable), None)
    if changed is not None:
        yield changed.name, collections[resource_of(changed.message_type).type]
        return
    for each in request.fields:
        if _names_object(each) and is_required(each):
            yield each.name, collections[reference_type(each)]


def _names_object(each: FieldDescriptor) -> bool:
    return bool(reference_type(each)) and not is_repeated(each)


def _check_needs(operation: OperationType, request: Descriptor) -> None:
    naming = {each.name for each in request.fields if _names_object(each)}
    for path in operation.needs:
        if path not in naming:
            raise InternalError(
                f"{operation.method} declares needs of {path!r}, which is no field that names an object"
            )
