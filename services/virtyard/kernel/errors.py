"""The errors of Virtyard: one tree, grouped by what the caller does about them.

::

    VirtyardError
    ├── RetryError              the same call may succeed later; nothing was changed, or it is safe to repeat
    │   ├── Unavailable         UNAVAILABLE         a part cannot be reached, or the outcome is unknown: repeat the call
    │   ├── DeadlineExceeded    DEADLINE_EXCEEDED   the call's deadline passed; the outcome is unknown
    │   └── Contended           CONTENDED           the objects kept changing while the operation waited for its locks
    ├── RequestError            the request must be mended first
    │   ├── InvalidRequest      INVALID_REQUEST     a field is wrong; `violations` name the field and what is allowed
    │   ├── NotFound            NOT_FOUND           the named object does not exist
    │   ├── AlreadyExists       ALREADY_EXISTS      the name, or the request id, is taken
    │   ├── WrongState          WRONG_STATE         the object's state does not allow this
    │   ├── BlockedByEvent      BLOCKED_BY_EVENT    an open event of the object blocks this until it is acknowledged
    │   ├── ConditionHolds      CONDITION_STILL_HOLDS  what an event tells of is not over, so it is not acknowledged
    │   ├── EtagMismatch        ETAG_MISMATCH       the object changed since the caller read it
    │   ├── CapacityExhausted   CAPACITY_EXHAUSTED  memory, disk space or slots do not suffice
    │   ├── Unsupported         UNSUPPORTED         this host, driver or service cannot do it
    │   ├── PermissionDenied    PERMISSION_DENIED   the caller's role does not suffice
    │   └── Unauthenticated     UNAUTHENTICATED     the caller has no identity that is known here
    ├── StopError               the caller has been overtaken and must stop acting
    │   ├── Cancelled           CANCELLED           a person or a deadline stopped it
    │   ├── StaleEpoch          STALE_EPOCH         another scheduler has adopted the operation
    │   ├── StaleToken          STALE_TOKEN         a conflicting lock was granted after this one
    │   ├── Superseded          SUPERSEDED          a later attempt of the step exists
    │   ├── OwnerClosed         OWNER_CLOSED        the operation's locks were released for ever
    │   ├── KeyRefused          KEY_REFUSED         the step's key was settled as never begun
    │   └── GenerationMismatch  GENERATION_MISMATCH the object is not the one that was planned for
    └── DefectError             report it
        ├── InternalError       INTERNAL_ERROR      a rule of Virtyard was broken by Virtyard
        ├── PayloadMismatch     PAYLOAD_MISMATCH    another payload came under a key that is in the ledger
        └── DataLoss            DATA_LOSS           stored state is missing or cannot be read

Only `runtime.status` knows which gRPC code each of them has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "BlockedByEvent",
    "Cancelled",
    "CapacityExhausted",
    "ConditionHolds",
    "Contended",
    "DataLoss",
    "DeadlineExceeded",
    "DefectError",
    "EtagMismatch",
    "FieldViolation",
    "GenerationMismatch",
    "InternalError",
    "InvalidRequest",
    "KeyRefused",
    "LockHolder",
    "NotFound",
    "OwnerClosed",
    "PayloadMismatch",
    "PermissionDenied",
    "RequestError",
    "RetryError",
    "StaleEpoch",
    "StaleToken",
    "StopError",
    "Superseded",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "VirtyardError",
    "WrongState",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that is wrong, and what is allowed."""

    field: str
    """Path of the field in the request, as `virtual_machine.memory_bytes` or `disks[1].size_bytes`."""
    description: str
    """What is allowed, as a person reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """Who holds an object that somebody else asked for."""

    object: str
    """Resource name of the locked object."""
    holder: str
    """Name of the operation, job or person."""
    purpose: str = ""
    """What the holder does, as a person reads it."""


class VirtyardError(Exception):
    """Any refusal or failure that Virtyard names; see the module for the tree."""

    reason: ClassVar[str] = "VIRTYARD_ERROR"

    def __init__(
        self,
        message: str,
        *,
        resource: str = "",
        violations: Sequence[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        locks: Sequence[LockHolder] = (),
    ) -> None:
        """Keep what the caller needs in order to act.

        Args:
            message: one sentence that a person reads.
            resource: resource name of the object that this is about.
            violations: the wrong fields.
            metadata: further facts, short texts only.
            retry_after: seconds after which a retry makes sense.
            locks: the holders that caused the refusal.
        """
        super().__init__(message)
        self.message = message
        self.resource = resource
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.locks = tuple(locks)


class RetryError(VirtyardError):
    """Repeat the same call later."""


class Unavailable(RetryError):
    """A part cannot be reached, or the outcome is unknown; repeating the call is safe."""

    reason = "UNAVAILABLE"


class DeadlineExceeded(RetryError):
    """The deadline of the call passed; its outcome is unknown and repeating it is safe."""

    reason = "DEADLINE_EXCEEDED"


class Contended(RetryError):
    """The objects kept changing while the operation waited; submit it again."""

    reason = "CONTENDED"


class RequestError(VirtyardError):
    """Mend the request, or the state of the object, first."""


class InvalidRequest(RequestError):
    """Fields are wrong; `violations` says which and what is allowed."""

    reason = "INVALID_REQUEST"

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """Refuse one field, saying what is allowed."""
        return cls(f"{field}: {description}", violations=(FieldViolation(field=field, description=description),))


class NotFound(RequestError):
    """Check the name: no such object exists."""

    reason = "NOT_FOUND"


class AlreadyExists(RequestError):
    """Choose another name, or another request id."""

    reason = "ALREADY_EXISTS"


class WrongState(RequestError):
    """Bring the object into another state first."""

    reason = "WRONG_STATE"


class BlockedByEvent(RequestError):
    """Look at the open event that `metadata` names, remove its cause, and acknowledge it."""

    reason = "BLOCKED_BY_EVENT"


class ConditionHolds(RequestError):
    """Remove the cause of the event first, or acknowledge it by force."""

    reason = "CONDITION_STILL_HOLDS"


class EtagMismatch(RequestError):
    """Read the object again and decide anew."""

    reason = "ETAG_MISMATCH"


class CapacityExhausted(RequestError):
    """Ask for less, or free memory, disk space or slots."""

    reason = "CAPACITY_EXHAUSTED"


class Unsupported(RequestError):
    """Use another host or driver; this one cannot do it and says why."""

    reason = "UNSUPPORTED"


class PermissionDenied(RequestError):
    """Ask for a role that covers this."""

    reason = "PERMISSION_DENIED"


class Unauthenticated(RequestError):
    """Present a certificate that this domain issued."""

    reason = "UNAUTHENTICATED"


class StopError(VirtyardError):
    """Stop: another is in charge now."""


class Cancelled(StopError):
    """Stop: a person or a deadline ended this."""

    reason = "CANCELLED"


class StaleEpoch(StopError):
    """Forget the operation: another scheduler has adopted it."""

    reason = "STALE_EPOCH"


class StaleToken(StopError):
    """Stop: a conflicting lock was granted later."""

    reason = "STALE_TOKEN"


class Superseded(StopError):
    """Stop: a later attempt of this step exists."""

    reason = "SUPERSEDED"


class OwnerClosed(StopError):
    """Stop: the locks of this owner were released for ever."""

    reason = "OWNER_CLOSED"


class KeyRefused(StopError):
    """Stop: this step was settled as never begun."""

    reason = "KEY_REFUSED"


class GenerationMismatch(StopError):
    """Plan again: the object is not the one that was planned for."""

    reason = "GENERATION_MISMATCH"


class DefectError(VirtyardError):
    """Report it, with the reference that the message names."""


class InternalError(DefectError):
    """A rule of Virtyard was broken by Virtyard."""

    reason = "INTERNAL_ERROR"


class PayloadMismatch(DefectError):
    """Another payload came under a key that is in the ledger."""

    reason = "PAYLOAD_MISMATCH"


class DataLoss(DefectError):
    """Stored state is missing or cannot be read."""

    reason = "DATA_LOSS"
