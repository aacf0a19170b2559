"""The service: an implementation behind a proto service, with what applies to every call of it.

One place for both ways of calling, the wire and `LocalChannel`: permission, parsing, unknown fields, the mapping of
errors. An implementation has one method per rpc, named like it::

    async def GetJob(self, request: GetJobRequest, call: Call) -> Job
    async def WatchJobs(self, request: WatchJobsRequest, call: Call) -> AsyncIterator[WatchJobsResponse | bytes]
    async def Execute(self, requests: AsyncIterator[ExecuteRequest], call: Call) -> AsyncIterator[ExecuteResponse]

or `handle(method_descriptor, request, call)` for every unary rpc that it has no method for. Streams may yield messages
or ready bytes.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from virtyard.api.type.v1 import annotations_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel.errors import InternalError, InvalidRequest, Unsupported, VirtyardError
from virtyard.kernel.permissions import Principal, permit
from virtyard.runtime import telemetry
from virtyard.runtime.call import Call
from virtyard.runtime.unknown_fields import refuse_unknown_fields

__all__ = ["Call", "Method", "Principal", "Service", "role_of", "serialised"]

_log = logging.getLogger(__name__)

_ROLES_OF_OTHERS: Mapping[str, int] = MappingProxyType(
    {
        "google.longrunning.Operations.ListOperations": Role.ROLE_VIEWER,
        "google.longrunning.Operations.GetOperation": Role.ROLE_VIEWER,
        "google.longrunning.Operations.WaitOperation": Role.ROLE_VIEWER,
        "google.longrunning.Operations.CancelOperation": Role.ROLE_OPERATOR,
        "google.longrunning.Operations.DeleteOperation": Role.ROLE_OPERATOR,
    }
)
"""The roles of methods whose protos are not ours, and so have no `permission` option."""


class Method:
    """One rpc of a service, bound to its implementation; takes and gives serialised messages."""

    def __init__(self, descriptor: MethodDescriptor, implementation: object) -> None:
        """Bind the rpc; one that the implementation does not have is refused when it is called."""
        self.descriptor = descriptor
        self.name = descriptor.name
        self.path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        self.client_streaming = bool(descriptor.client_streaming)
        self.server_streaming = bool(descriptor.server_streaming)
        self.role = role_of(descriptor)
        self.reads_only = self.role == Role.ROLE_VIEWER or (
            descriptor.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        )
        self._request_class: type[Message] = GetMessageClass(descriptor.input_type)
        self._function = _find(descriptor, implementation)

    async def unary(self, raw: bytes, call: Call) -> bytes:
        """Answer one request with one message.

        Raises:
            VirtyardError: and nothing else but CancelledError.
        """
        try:
            request = self._admit(raw, call)
            if not telemetry.is_on():
                return serialised(await self._function(request, call))
            with telemetry.serving(self.path, call.trace):
                return serialised(await self._function(request, call))
        except VirtyardError:
            raise
        except Exception as error:
            raise self.named(error) from error

    async def collect(self, raws: AsyncIterable[bytes], call: Call) -> bytes:
        """Answer a stream of requests with one message; see `unary`."""
        try:
            permit(call.principal, self.role, self.path)
            return serialised(await self._function(self._parsed(raws), call))
        except VirtyardError:
            raise
        except Exception as error:
            raise self.named(error) from error

    def open(self, raw: bytes | AsyncIterable[bytes], call: Call) -> AsyncGenerator[Message | bytes, None]:
        """Return the stream that answers one request, or a stream of them; what it raises is for `named`."""
        if isinstance(raw, bytes):
            stream: AsyncGenerator[Message | bytes, None] = self._function(self._admit(raw, call), call)
        else:
            permit(call.principal, self.role, self.path)
            stream = self._function(self._parsed(raw), call)
        return stream

    def named(self, error: Exception) -> VirtyardError:
        """Return what the caller is told: the error itself, or that the log knows of one that nobody expected."""
        if isinstance(error, VirtyardError):
            return error
        reference = secrets.token_hex(4)
        _log.error("%s failed, reference %s", self.path, reference, exc_info=error)
        internal = InternalError(
            f"{self.path} failed for a reason that is in the log under the reference {reference}",
            metadata={"reference": reference},
        )
        internal.__cause__ = error
        return internal

    def _admit(self, raw: bytes, call: Call) -> Message:
        """Return the request, if the caller may ask this and it is well formed."""
        permit(call.principal, self.role, self.path)
        return self._parse(raw)

    def _parse(self, raw: bytes) -> Message:
        try:
            message = self._request_class.FromString(raw)
        except DecodeError as error:
            raise InvalidRequest(
                f"{self.path}: the request cannot be read as {self._request_class.__name__}"
            ) from error
        refuse_unknown_fields(message, raw)
        return message

    async def _parsed(self, raws: AsyncIterable[bytes]) -> AsyncIterator[Message]:
        async for raw in raws:
            yield self._parse(raw)


class Service:
    """A proto service with its implementation."""

    def __init__(self, descriptor: ServiceDescriptor, implementation: object) -> None:
        """Bind every rpc of the service to the implementation."""
        self.descriptor = descriptor
        self.name = str(descriptor.full_name)
        self.implementation = implementation
        self.methods = tuple(Method(method, implementation) for method in descriptor.methods)


def role_of(descriptor: MethodDescriptor) -> int:
    """Return the `Role` that a method asks for; ROLE_UNSPECIFIED if it names none, which is refused to everybody."""
    options = descriptor.GetOptions()
    if options.HasExtension(annotations_pb2.permission):
        return int(options.Extensions[annotations_pb2.permission].role)
    return _ROLES_OF_OTHERS.get(descriptor.full_name, Role.ROLE_UNSPECIFIED)


def serialised(answer: Message | bytes) -> bytes:
    """Return a message's bytes; bytes that are ready pass as they are."""
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _find(descriptor: MethodDescriptor, implementation: object) -> Callable[[Any, Call], Any]:
    """Return the function that implements a method."""
    function: Callable[[Any, Call], Any] | None = getattr(implementation, descriptor.name, None)
    if function is not None:
        return function
    handle: Callable[[MethodDescriptor, Any, Call], Any] | None = getattr(implementation, "handle", None)
    if handle is not None and not descriptor.client_streaming and not descriptor.server_streaming:
        return functools.partial(handle, descriptor)
    return _refusal(descriptor)


def _refusal(descriptor: MethodDescriptor) -> Callable[[Any, Call], Any]:
    message = f"{descriptor.full_name} is not served here"
    nothing: tuple[bytes, ...] = ()

    async def refuse(_: Any, __: Call) -> bytes:
        raise Unsupported(message)

    async def refuse_stream(_: Any, __: Call) -> AsyncIterator[bytes]:
        for answer in nothing:
            yield answer
        raise Unsupported(message)

    return refuse_stream if descriptor.server_streaming else refuse
