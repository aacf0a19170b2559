"""Needs: what an operation asks of an object that it names, as one declaration that both refuses and tells beforehand.

A need reads the object's own record and nothing else, so it holds for a list of thousands as for one plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from virtyard.kernel.names import Kind, kinds
from virtyard.kernel.options import reference_type
from virtyard.kernel.view import View
from virtyard.operations.refusals import wrong_state

__all__ = ["Need", "check", "check_needs", "kind_named_by"]

Need = Callable[[Any], str]
"""From an object, as it is read, to why it cannot be used so: its state, and what is needed. Empty if it can."""


def check(message: Any, field: str, *needs: Need) -> None:
    """Refuse an object that is not as it must be.

    Args:
        message: the object.
        field: the request's field that led to it.
        needs: what must be so, the first that is not gives the reason.

    Raises:
        WrongState: naming `field`, the object and its state.
    """
    for need in needs:
        if reason := need(message):
            raise wrong_state(field, message.name, reason)


def check_needs(needs: Mapping[str, Sequence[Need]], request: Any, view: View) -> None:
    """Refuse a request that names an object which is not as the operation type needs it.

    Args:
        needs: by the request's field; one that is empty names nothing.
        request: the request.
        view: what was read for it.

    Raises:
        NotFound: an object does not exist.
        EtagMismatch: it is another than the caller read.
        WrongState: naming the field, the object and its state.
    """
    for field, wanted in needs.items():
        if name := getattr(request, field):
            # The etag of a request is that of the object that stands beside it as `name`.
            etag = request.etag if field == "name" else ""
            message = kind_named_by(request.DESCRIPTOR.fields_by_name[field]).message
            check(view.get(name, message, field=field, etag=etag), field, *wanted)


def kind_named_by(field: FieldDescriptor) -> Kind:
    """Return the kind of the object that a field names by its resource name."""
    return next(kind for kind in kinds().values() if kind.type == reference_type(field))
