"""Updates of one object by field mask (AIP-134): which fields may change is said by the request's own proto.

The field of the request that holds the object names them as `settable`. A mask that is empty stands for the fields that
are set, `*` for all that can be changed. What is so already is written without effect: no new generation, no event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import check_name, kind_of
from virtyard.kernel.options import descriptor_of, fields_of, hint_of, is_output, reference_type, resource_of
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.relations import ancestor_path, targets_of
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.naming import check_display_name

__all__ = ["Check", "object_field", "paths_of", "updates"]

Check = Callable[[View, Any, Any, Sequence[str], str], None]
"""From the view, the object as it is and as it is asked for, the paths and the field's name; raises for what cannot be.

The view has what the object is to refer to, too, each with the objects above it in the lock tree."""


def updates(request: type[Message], title: str, check: Check | None = None) -> OperationType:
    """Return the operation type of an update.

    Args:
        request: the request's class, as `UpdateServerRequest`.
        title: the job's title, as people know it.
        check: refuses what this kind of object does not allow.
    """
    descriptor = descriptor_of(request)
    method = f"{descriptor.file.package}.OperationService.{descriptor.name.removesuffix('Request')}"
    field = object_field(request)
    return OperationType(
        method=method, selections=partial(_selections, field), plan=partial(_plan, field, title, check)
    )


def object_field(request: Message | type[Message]) -> FieldDescriptor:
    """Return the field of a request that holds the object to change."""
    return next(field for field in fields_of(request) if hint_of(field).settable)


def _selections(field: FieldDescriptor, request: Any) -> Sequence[participant.Selection]:
    name = _name(field, request)
    wanted, settable = getattr(request, field.name), hint_of(field).settable
    targets = [target for each in fields_of(wanted) if each.name in settable for target in _targets(wanted, each)]
    return [_with_ancestors(target) for target in dict.fromkeys([name, *targets])]


def _with_ancestors(name: str) -> participant.Selection:
    path = ancestor_path(kind_of(name).collection)
    return select(name, path) if path else select(name)


def _targets(message: Any, field: FieldDescriptor) -> Sequence[str]:
    """Return the objects that a field of a message refers to; none if it is no reference."""
    return targets_of(message, field.name) if reference_type(field) else ()


def _name(field: FieldDescriptor, request: Any) -> str:
    name = getattr(request, field.name).name
    if not name:
        raise InvalidRequest.of(f"{field.name}.name", "is required: the object to change")
    assert field.message_type is not None
    return check_name(name, resource_of(field.message_type).type, f"{field.name}.name")


def _plan(
    field: FieldDescriptor,
    title: str,
    check: Check | None,
    request: Any,
    view: View,
    ids: Ids,  # noqa: ARG001  # every planner has this shape
) -> plan_pb2.Plan:
    wanted = getattr(request, field.name)
    before = view.get(_name(field, request), type(wanted), field=f"{field.name}.name", etag=wanted.etag)
    paths = paths_of(field, wanted, request.update_mask.paths)
    _check_common(wanted, paths, field.name)
    if check is not None:
        check(view, before, wanted, paths, field.name)
    taken = type(wanted)(name=before.name)
    for path in paths:
        _copy(wanted, taken, path)
    builder = PlanBuilder(view)
    builder.job(title, before.name).write("Change the record", update(taken, *paths))
    _lock_targets(builder, view, taken, field.name)
    return builder.build(before.name)


def _lock_targets(builder: PlanBuilder, view: View, taken: Message, field: str) -> None:
    """Keep what the object refers to from now on where it is, while the reference is written.

    Raises:
        NotFound: it does not exist; the refusal names the field that refers to it.
    """
    for each in fields_of(taken):
        if each.name == "name":
            continue
        for target in _targets(taken, each):
            view.get(target, kind_of(target).message, field=f"{field}.{each.name}")
            builder.lock(target, LockMode.S)


def paths_of(field: FieldDescriptor, wanted: Message, mask: Sequence[str]) -> list[str]:
    """Return the fields to take over, each once, in the order of the proto's `settable`.

    Args:
        field: the request's field that holds the object.
        wanted: the object as it is asked for.
        mask: the paths of the update mask.

    Raises:
        InvalidRequest: the mask names what cannot be changed so, or nothing is to be changed.
    """
    settable = list(hint_of(field).settable)
    allowed = ", ".join([*settable, "*"])
    if list(mask) == ["*"]:
        return settable
    if mask:
        for path in mask:
            if path not in settable:
                raise InvalidRequest.of("update_mask", f"{path!r} cannot be changed here; allowed are {allowed}")
        return [path for path in settable if path in mask]
    given = {found.name for found, _ in cast("Any", wanted).ListFields()} - {"name", "etag"}
    kept = [path for path in settable if path in given]
    # What only the server sets is no request: a caller may send back what was read.
    refused = [
        item.name
        for item in fields_of(wanted)
        if item.name in given and item.name not in settable and not is_output(item)
    ]
    if refused:
        text = f"cannot be changed here; allowed are {', '.join(settable)}"
        raise InvalidRequest.of(f"{field.name}.{refused[0]}", text)
    if not kept:
        raise InvalidRequest.of("update_mask", f"nothing is to be changed; allowed are {allowed}")
    return kept


def _check_common(wanted: Any, paths: Sequence[str], field: str) -> None:
    if "display_name" in paths:
        check_display_name(wanted.display_name, f"{field}.display_name")


def _copy(source: Any, target: Any, name: str) -> None:
    """Take one field over, whatever its type."""
    only = type(source)()
    only.CopyFrom(source)
    for other in fields_of(source):
        if other.name != name:
            only.ClearField(other.name)
    target.MergeFrom(only)
