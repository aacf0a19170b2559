"""Automatic submission: requests that definitions hold, let in when written and submitted when their time comes.

A definition is written by an administrator, who must hold the role of the request inside as well; its operations are
submitted in the name of whoever made it, as long as what the authority issued to that person last allows it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from virtyard.api.type.v1 import annotations_pb2
from virtyard.jobs.causes import Cause
from virtyard.jobs.submission import Submission
from virtyard.kernel.any import type_of
from virtyard.kernel.errors import InternalError, InvalidRequest, VirtyardError
from virtyard.kernel.names import kinds
from virtyard.kernel.options import fields_of
from virtyard.kernel.permissions import Principal, permit
from virtyard.runtime.rpc import role_of

__all__ = ["AutomaticSubmission", "InnerRequests", "RolesOf", "defect"]

RolesOf = Callable[[str], frozenset[int] | None]
"""Gives the roles of an identity as they are known now; None where nobody knows."""
_log = logging.getLogger(__name__)
_WRITER = frozenset({annotations_pb2.ROLE_ADMINISTRATOR})
"""The role that whoever wrote a definition had."""


class InnerRequests:
    """Knows the method of every request that a definition may hold."""

    def __init__(self, methods: Iterable[MethodDescriptor]) -> None:
        """Take the methods of all operation services."""
        self._methods = {method.input_type.full_name: method for method in methods}

    def method_of(self, name: str, field: str) -> MethodDescriptor:
        """Return the method that takes messages of this type.

        Raises:
            InvalidRequest: none does; the refusal names `field`.
        """
        method = self._methods.get(name)
        if method is None:
            raise InvalidRequest.of(field, f"{name!r} is not the request of an operation")
        return method

    def admit(self, request: Message, principal: Principal) -> None:
        """Let in a request that makes or changes a definition: its inner request is one that the caller may ask for.

        Whoever makes a definition becomes its owner.

        Raises:
            InvalidRequest: what it holds is not the request of an operation.
            PermissionDenied: the caller may not ask for that.
        """
        outer = _definition_of(request)
        if outer is None:
            return
        definition: Any = getattr(request, outer.name)
        definition.owner = principal.identity
        if not definition.HasField("request") or not type_of(definition.request):
            return
        method = self.method_of(type_of(definition.request), f"{outer.name}.request")
        permit(principal, role_of(method), method.full_name)


def _definition_of(request: Message) -> FieldDescriptor | None:
    """Return the field of a request that holds a definition with a request of its own; None if it has none."""
    messages = {kind.message.DESCRIPTOR for kind in kinds().values()}
    for field in fields_of(request):
        inside = field.message_type
        if inside is not None and inside in messages and not field.is_repeated:
            held = inside.fields_by_name.get("request")
            if held is not None and held.message_type is AnyMessage.DESCRIPTOR:
                return field
    return None


class AutomaticSubmission:
    """Submits what definitions hold."""

    def __init__(self, submission: Submission, inner: InnerRequests, roles: RolesOf) -> None:
        """Submit through what people's requests go through, too, what the roles of owners allow."""
        self._submission = submission
        self._inner = inner
        self._roles = roles

    async def submit(
        self, request: Message, *, owner: str, request_id: str, reason: str, cause: Cause, permitted: bool = False
    ) -> operations_pb2.Operation:
        """Submit a request once for its id, and return the operation.

        Args:
            request: the request, which becomes this submission's own.
            owner: in whose name.
            request_id: the same for the same cause, a UUID.
            reason: why, if the request does not say.
            cause: what led to it.
            permitted: whether the owner is calling, and was found to be allowed it.

        Raises:
            PermissionDenied: the owner may not ask for it any more.
            InternalError: it failed for a reason that nobody expected, as a defect of its type; nothing was submitted.
            VirtyardError: as `Submission.submit` does, for the form of the request and for what the inventory allows.
        """
        typed: Any = request
        method = self._inner.method_of(request.DESCRIPTOR.full_name, "request")
        if not permitted:
            self._permit(owner, method)
        typed.request_id = request_id
        typed.options.reason = typed.options.reason or reason
        try:
            answer = await self._submission.submit(method.full_name, request, owner, {}, cause)
        except Exception as error:
            # What submits for many must be able to go on with the others, and tell of this one.
            raise defect(f"submitting {method.name}", error) from error
        return answer if isinstance(answer, operations_pb2.Operation) else _parsed(answer)

    def _permit(self, owner: str, method: MethodDescriptor) -> None:
        """Let an owner through who has the role now, or of whom no more is known than that he had it when he wrote."""
        roles = self._roles(owner)
        principal = Principal.of(owner, _WRITER if roles is None else roles)
        permit(principal, _role_for(owner, method), method.full_name)


def defect(what: str, error: Exception) -> VirtyardError:
    """Return the error itself, or what is told of one that nobody expected, which the log has with its trace."""
    if isinstance(error, VirtyardError):
        return error
    reference = secrets.token_hex(4)
    _log.error("%s failed, reference %s", what, reference, exc_info=error)
    text = f"{what} failed for a reason that is in the log of the job service under the reference {reference}"
    return InternalError(text, metadata={"reference": reference})


def _role_for(owner: str, method: MethodDescriptor) -> int:
    """Return the role that is needed; what Virtyard brings along needs none but that of a service."""
    return annotations_pb2.ROLE_SERVICE if owner.startswith("service/") else role_of(method)


def _parsed(raw: bytes) -> operations_pb2.Operation:
    return operations_pb2.Operation.FromString(raw)
