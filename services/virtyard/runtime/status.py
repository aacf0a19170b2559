"""The one place that knows gRPC's codes: errors of Virtyard to google.rpc.Status, and back with nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NoReturn

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel import errors
from virtyard.kernel.errors import FieldViolation, LockHolder, VirtyardError

__all__ = [
    "DOMAIN",
    "answered",
    "code_of",
    "errors_named",
    "from_status",
    "named",
    "raise_from",
    "to_rpc_error",
    "to_status",
]

DOMAIN = "virtyard"
"""The domain of every ErrorInfo."""

_CUT_WHILE_SENDING = "Internal error from Core"
"""What grpc.aio says where a call ends while the client still sends: it hides the status that the server gave."""
_DETAILS = "grpc-status-details-bin"

_CODES: Mapping[type[VirtyardError], grpc.StatusCode] = MappingProxyType(
    {
        errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
        errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
        errors.Contended: grpc.StatusCode.ABORTED,
        errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
        errors.NotFound: grpc.StatusCode.NOT_FOUND,
        errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
        errors.BlockedByEvent: grpc.StatusCode.FAILED_PRECONDITION,
        errors.ConditionHolds: grpc.StatusCode.FAILED_PRECONDITION,
        errors.EtagMismatch: grpc.StatusCode.ABORTED,
        errors.CapacityExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
        errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
        errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        errors.Cancelled: grpc.StatusCode.CANCELLED,
        errors.StaleEpoch: grpc.StatusCode.FAILED_PRECONDITION,
        errors.StaleToken: grpc.StatusCode.FAILED_PRECONDITION,
        errors.Superseded: grpc.StatusCode.FAILED_PRECONDITION,
        errors.OwnerClosed: grpc.StatusCode.FAILED_PRECONDITION,
        errors.KeyRefused: grpc.StatusCode.FAILED_PRECONDITION,
        errors.GenerationMismatch: grpc.StatusCode.FAILED_PRECONDITION,
        errors.InternalError: grpc.StatusCode.INTERNAL,
        errors.PayloadMismatch: grpc.StatusCode.INTERNAL,
        errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    }
)

_BY_REASON: Mapping[str, type[VirtyardError]] = MappingProxyType({kind.reason: kind for kind in _CODES})

# What gRPC itself answers, without details: a peer that is not there, a method that it does not know.
_BY_CODE: Mapping[grpc.StatusCode, type[VirtyardError]] = MappingProxyType(
    {
        grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
        grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
        grpc.StatusCode.ABORTED: errors.Contended,
        grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
        grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequest,
        grpc.StatusCode.NOT_FOUND: errors.NotFound,
        grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
        grpc.StatusCode.FAILED_PRECONDITION: errors.WrongState,
        grpc.StatusCode.RESOURCE_EXHAUSTED: errors.CapacityExhausted,
        grpc.StatusCode.UNIMPLEMENTED: errors.Unsupported,
        grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
        grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
        grpc.StatusCode.CANCELLED: errors.Cancelled,
        grpc.StatusCode.DATA_LOSS: errors.DataLoss,
    }
)
_BY_NUMBER: Mapping[int, grpc.StatusCode] = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})

_UNREACHABLE_AGAIN = 1.0
"""Seconds after which it makes sense to look again for somebody who was not reached."""


def code_of(error: VirtyardError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    for kind in type(error).__mro__:
        code = _CODES.get(kind)
        if code is not None:
            return code
    return grpc.StatusCode.UNKNOWN


def to_status(error: VirtyardError) -> status_pb2.Status:
    """Return the error as the wire carries it: ErrorInfo always, the other details where there is something to say."""
    status = status_pb2.Status(code=code_of(error).value[0], message=error.message)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if error.resource:
        details.append(error_details_pb2.ResourceInfo(resource_name=error.resource))
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=one.field, description=one.description)
                    for one in error.violations
                ]
            )
        )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    details.extend(
        lock_pb2.LockInfo(object=lock.object, holder=lock.holder, purpose=lock.purpose) for lock in error.locks
    )
    for detail in details:
        status.details.add().Pack(detail)
    return status


def from_status(status: status_pb2.Status) -> VirtyardError:
    """Return the error that a status stands for; one of another system is told by its code alone."""
    info, resource, bad = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.ResourceInfo(),
        error_details_pb2.BadRequest(),
    )
    retry, lock = error_details_pb2.RetryInfo(), lock_pb2.LockInfo()
    retry_after: float | None = None
    locks = []
    for detail in status.details:
        if detail.Unpack(lock):
            locks.append(LockHolder(object=lock.object, holder=lock.holder, purpose=lock.purpose))
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        else:
            _ = detail.Unpack(info) or detail.Unpack(resource) or detail.Unpack(bad)
    kind = _BY_REASON.get(info.reason) if info.domain == DOMAIN else None
    if kind is None:
        kind = _BY_CODE.get(_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN), errors.InternalError)
    return kind(
        status.message,
        resource=resource.resource_name,
        violations=[FieldViolation(field=one.field, description=one.description) for one in bad.field_violations],
        metadata=dict(info.metadata),
        retry_after=retry_after,
        locks=locks,
    )


def to_rpc_error(error: VirtyardError) -> grpc.aio.AioRpcError:
    """Return the error as a client of gRPC meets it, details included; for calls that skip the wire."""
    status = to_status(error)
    return grpc.aio.AioRpcError(
        code_of(error),
        grpc.aio.Metadata(),
        grpc.aio.Metadata((_DETAILS, status.SerializeToString())),
        details=error.message,
    )


def named(error: grpc.RpcError) -> VirtyardError:
    """Return the error of Virtyard that a client of gRPC has met."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return errors.InternalError(f"an error of gRPC without a status: {error}")
    if (told := answered(error)) is not None:
        return told
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _CUT_WHILE_SENDING:
        return errors.Unavailable("the call ended while it was being sent", retry_after=0.0)
    if error.code() is grpc.StatusCode.CANCELLED:
        # A service that says so has details; without them gRPC gave up a call that nobody had cancelled.
        return errors.Unavailable("the other side gave up the call", retry_after=0.0)
    told = from_status(status_pb2.Status(code=error.code().value[0], message=error.details() or error.code().name))
    if isinstance(told, errors.Unavailable):
        told.retry_after = _UNREACHABLE_AGAIN  # nobody was reached who could have said
    return told


def answered(error: grpc.aio.AioRpcError) -> VirtyardError | None:
    """Return the error that the other side itself has answered with; None if it is gRPC that speaks, as of a cut."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return None


def raise_from(error: grpc.RpcError) -> NoReturn:
    """Raise the error of Virtyard that a client of gRPC has met."""
    raise named(error) from error


@contextmanager
def peer_cancels_named() -> Iterator[None]:
    """Turn a cancellation by the other side into Unavailable; a cancellation of our own task passes as it is.

    grpc.aio raises CancelledError for both, the former for a call that ended with the status CANCELLED, as when a
    server stops; a loop that took it for its own end would never talk again.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise errors.Unavailable("the other side cancelled the call", retry_after=0.0) from None


@contextmanager
def errors_named() -> Iterator[None]:
    """Turn every error of gRPC that leaves the block into the error of Virtyard that it stands for."""
    try:
        yield
    except grpc.RpcError as error:
        raise_from(error)
