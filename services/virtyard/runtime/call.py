"""The call: who asks, until when, as part of which trace; the same over the wire and within a process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from virtyard.kernel.errors import PermissionDenied
from virtyard.kernel.permissions import Principal, role_from

__all__ = ["MAX_MESSAGE_BYTES", "Call", "Principal", "speaker_of"]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest message that is taken, in either direction."""

_GATEWAY = "service/gateway"
_USER = "virtyard-user"
_ROLES = "virtyard-roles"
_TRACE = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an implementation knows of the call that it serves."""

    principal: Principal
    """Who calls."""
    deadline: float | None = None
    """When the caller stops waiting, in seconds of `time.monotonic`; None for never."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The trace context that came with the call, for `telemetry`; empty without one."""
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    """Everything that came with the call."""

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @classmethod
    def made(cls, peer: Principal, deadline: float | None, metadata: Mapping[str, str | bytes]) -> Call:
        """Return the call of a peer with this metadata."""
        trace = {key: str(metadata[key]) for key in _TRACE if key in metadata}
        return cls(principal=speaker_of(peer, metadata), deadline=deadline, trace=trace, metadata=metadata)


def speaker_of(peer: Principal, metadata: Mapping[str, str | bytes]) -> Principal:
    """Return for whom the peer speaks: itself, or the person whom the gateway has signed in.

    Raises:
        PermissionDenied: somebody else than the gateway claims to speak for a person.
    """
    user = metadata.get(_USER)
    if user is None:
        return peer
    if peer.identity != _GATEWAY:
        raise PermissionDenied(f"{peer.identity} may not speak for somebody else")
    roles = str(metadata.get(_ROLES, "")).split(",")
    known = [role for role in map(role_from, roles) if role is not None]
    return Principal(kind="user", name=str(user), roles=frozenset(known))
