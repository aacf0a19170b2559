"""What a service refused, as a program and a person can read it: one exception for every rpc.

It is made from `google.rpc.Status` with ErrorInfo, BadRequest, ResourceInfo, RetryInfo and LockInfo, and in one place
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from virtyard.api.type.v1 import lock_pb2

_DETAILS = "grpc-status-details-bin"
_UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
_BROKEN = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A field of the request that is wrong."""

    field: str
    """Its path, as virtual_machine.memory_bytes or disks[1].size_bytes."""
    description: str
    """What is allowed."""


class ClientError(Exception):
    """A call or an operation that was refused or failed.

    `code` is the name of the gRPC code, `reason` the finer word of ErrorInfo, `message` a sentence for people.
    `violations`, `resource`, `locks` (who is in the way), `metadata` and `retry_after` (seconds) are what the server
    said besides.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        resource: str = "",
        locks: tuple[lock_pb2.LockInfo, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason or code
        self.violations = violations
        self.resource = resource
        self.locks = locks
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    @property
    def unreachable(self) -> bool:
        """True if the service could not be reached or did not answer in time; the outcome may be unknown."""
        return self.code in _UNREACHABLE

    @property
    def broken(self) -> bool:
        """True if the service itself broke down, which is no fault of the request."""
        return self.code in _BROKEN

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> ClientError:
        """The error that a status describes."""
        said: dict[str, Any] = {}
        for detail in status.details:
            _read_detail(detail, said)
        return cls(
            status.message or code_name(status.code),
            code=code_name(status.code),
            reason=said.get("reason", ""),
            violations=tuple(said.get("violations", ())),
            resource=said.get("resource", ""),
            locks=tuple(said.get("locks", ())),
            metadata=said.get("metadata"),
            retry_after=said.get("retry_after"),
        )

    @classmethod
    def from_rpc(cls, error: grpc.aio.AioRpcError) -> ClientError:
        """The error that a failed rpc carries, with its details if the server sent any."""
        for key, value in error.trailing_metadata() or ():
            if key == _DETAILS and isinstance(value, bytes):
                try:
                    status = status_pb2.Status.FromString(value)
                except DecodeError:
                    break
                return cls.from_status(status)
        code = error.code()
        if code is grpc.StatusCode.CANCELLED:
            # A service that says so has details; without them gRPC gave up a call that nobody had cancelled.
            return cls("the service gave up the call before it had answered", code="UNAVAILABLE")
        return cls(error.details() or code.name, code=code.name)


def code_name(code: int) -> str:
    """The name of a gRPC code; the number if it is none."""
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else str(code)


def _read_detail(detail: Any, said: dict[str, Any]) -> None:
    """Add what one detail of a status says."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    resource, retry, lock = error_details_pb2.ResourceInfo(), error_details_pb2.RetryInfo(), lock_pb2.LockInfo()
    if detail.Unpack(info):
        said["reason"], said["metadata"] = info.reason, dict(info.metadata)
    elif detail.Unpack(bad):
        said.setdefault("violations", []).extend(
            Violation(field=item.field, description=item.description) for item in bad.field_violations
        )
    elif detail.Unpack(resource):
        said.setdefault("resource", resource.resource_name)
    elif detail.Unpack(retry):
        said["retry_after"] = retry.retry_delay.ToTimedelta().total_seconds()
    elif detail.Unpack(lock):
        said.setdefault("locks", []).append(lock)
