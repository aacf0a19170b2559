"""Objects that live in the inventory alone, as triggers, schedules and filters: what makes, changes and deletes them.

Each is one record, so each of the three is one job with one step. What a definition may say is checked whole, as it
will be once it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.names import Kind, collection_of, id_of, kind_of, kinds
from virtyard.kernel.options import descriptor_of, fields_of, is_output, reference_type
from virtyard.kernel.plan import Ids, PlanBuilder, delete
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.updating import updates

__all__ = ["Check", "creates", "definition_field", "deletes", "updates_whole"]

Check = Callable[[Any, str], None]
"""From a definition as it will be and the request's field that holds it; fills in what is not said, or raises."""

OWNER = "owner"
"""The field of a definition that the scheduler fills in before it plans: who asked for it."""


def creates(request: type[Message], title: str, check: Check, *, existing: str = "") -> OperationType:
    """Return the operation type that makes a definition.

    Args:
        request: the request's class, as `CreateTriggerRequest`.
        title: the job's title, as people know it.
        check: see `Check`.
        existing: a field of the definition that names an object of any kind; it must be there, but may go later.
    """
    field = definition_field(request)
    kind = _kind_of(field)
    return OperationType(
        method=_method(request),
        selections=partial(_select_name, kind, field, existing),
        plan=partial(_plan_creation, kind, field, title, check, existing),
    )


def updates_whole(request: type[Message], title: str, check: Check, *, existing: str = "") -> OperationType:
    """Return the operation type that changes a definition, checked as it will be; see `updating` and `creates`."""

    def check_merged(view: View, before: Any, wanted: Any, paths: Sequence[str], field: str) -> None:
        after = type(before)()
        after.CopyFrom(before)
        for path in paths:
            after.ClearField(path)
        for each in fields_of(wanted):
            if each.name in paths:
                _take(wanted, after, each)
        check(after, field)
        if existing in paths:
            _see_existing(view, after, existing, field)

    made, definition = updates(request, title, check_merged), definition_field(request)
    if not existing:
        return made
    return replace(made, selections=lambda asked: [*made.selections(asked), *_named_in(definition, existing, asked)])


def deletes(request: type[Message], title: str) -> OperationType:
    """Return the operation type that deletes a definition."""
    reference = reference_type(descriptor_of(request).fields_by_name["name"])
    kind = next(each for each in kinds().values() if each.type == reference)
    return OperationType(
        method=_method(request), selections=_select_named, plan=partial(_plan_deletion, kind.message, title)
    )


def definition_field(request: Message | type[Message]) -> FieldDescriptor:
    """Return the field of a request that holds the object to make or change."""
    messages = {kind.message.DESCRIPTOR for kind in kinds().values()}
    return next(field for field in fields_of(request) if field.message_type in messages)


def _method(request: type[Message]) -> str:
    descriptor = descriptor_of(request)
    return f"{descriptor.file.package}.OperationService.{descriptor.name.removesuffix('Request')}"


def _kind_of(field: FieldDescriptor) -> Kind:
    return next(kind for kind in kinds().values() if kind.message.DESCRIPTOR is field.message_type)


def _name(kind: Kind, field: FieldDescriptor, request: Any) -> str:
    identifier = f"{field.name}_id"
    return named(kind.collection, getattr(request, identifier), identifier)


def _select_name(kind: Kind, field: FieldDescriptor, existing: str, request: Any) -> Sequence[participant.Selection]:
    return [select(_name(kind, field, request)), *_named_in(field, existing, request)]


def _named_in(field: FieldDescriptor, existing: str, request: Any) -> Iterator[participant.Selection]:
    """Yield the selection of what a definition names in a field; none if it names nothing that could be there."""
    name = getattr(getattr(request, field.name), existing) if existing else ""
    if collection_of(name) in kinds():
        yield select(name)


def _see_existing(view: View, definition: Any, existing: str, field: str) -> None:
    """Refuse a definition that names an object which is not there.

    Raises:
        NotFound: naming the field.
    """
    name = getattr(definition, existing)
    if name:
        view.get(name, kind_of(name).message, field=f"{field}.{existing}")


def _select_named(request: Any) -> Sequence[participant.Selection]:
    return [select(request.name)]


def _plan_creation(
    kind: Kind, field: FieldDescriptor, title: str, check: Check, existing: str, request: Any, view: View, ids: Ids
) -> plan_pb2.Plan:
    name = _name(kind, field, request)
    check_free(view, name, f"{field.name}_id")
    given = getattr(request, field.name)
    wanted: Any = configured(given)
    if OWNER in wanted.DESCRIPTOR.fields_by_name:
        wanted.owner = given.owner
    wanted.name, wanted.uid = name, ids.uid(name)
    wanted.display_name = display_name(wanted.display_name, id_of(name), f"{field.name}.display_name")
    check(wanted, field.name)
    if existing:
        _see_existing(view, wanted, existing, field.name)
    builder = PlanBuilder(view)
    builder.job(title, name).write(f"Record the {kind.noun}", wanted)
    return builder.build(name)


def _plan_deletion(message: type[Message], title: str, request: Any, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    found: Any = view.get(request.name, message, field="name", etag=request.etag)
    builder = PlanBuilder(view)
    builder.job(title, found.name).write("Remove the record", delete(found.name))
    return builder.build()


def _take(source: Any, target: Any, field: FieldDescriptor) -> None:
    """Take one field over, whatever its type."""
    assert not is_output(field)
    only = type(source)()
    only.CopyFrom(source)
    for other in fields_of(source):
        if other.name != field.name:
            only.ClearField(other.name)
    target.MergeFrom(only)
