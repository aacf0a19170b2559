"""Who may call what: one function over the role that a method's `permission` option names.

Roles of people include one another: viewer < operator < administrator. A service of the control plane may also read
what a viewer may; an agent may only what is made for agents. A method without a role is refused to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel.errors import PermissionDenied, Unauthenticated

__all__ = ["Principal", "permit", "role_from", "role_name"]

_VIEWER = frozenset({Role.ROLE_VIEWER})
_OPERATOR = _VIEWER | {Role.ROLE_OPERATOR}

_COVERED: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        Role.ROLE_VIEWER: _VIEWER,
        Role.ROLE_OPERATOR: _OPERATOR,
        Role.ROLE_ADMINISTRATOR: _OPERATOR | {Role.ROLE_ADMINISTRATOR},
        Role.ROLE_SERVICE: _VIEWER | {Role.ROLE_SERVICE},
        Role.ROLE_AGENT: frozenset({Role.ROLE_AGENT}),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls."""

    kind: str
    """`user`, `service` or `agent`; empty for nobody."""
    name: str
    """The name within its kind: `admin`, `jobs`, `s1`."""
    roles: frozenset[int] = frozenset()
    """Values of `Role`."""

    @property
    def identity(self) -> str:
        """Return the identity as certificates and audit entries show it: `service/jobs`."""
        return f"{self.kind}/{self.name}"

    @classmethod
    def of(cls, identity: str, roles: frozenset[int] = frozenset()) -> Principal:
        """Return the principal of an identity; a service's and an agent's role is its kind."""
        kind, _, name = identity.partition("/")
        if kind == "service":
            roles = frozenset({Role.ROLE_SERVICE})
        elif kind == "agent":
            roles = frozenset({Role.ROLE_AGENT})
        return cls(kind=kind, name=name, roles=roles)


def permit(principal: Principal, needed: int, method: str) -> None:
    """Refuse the call unless one of the principal's roles covers the role that the method needs.

    Args:
        principal: who calls.
        needed: the `Role` of the method's `permission` option; ROLE_UNSPECIFIED is refused.
        method: the full name of the method, for the message.

    Raises:
        Unauthenticated: the caller has no identity.
        PermissionDenied: no role of the caller suffices.
    """
    for role in principal.roles:
        if needed in _COVERED.get(role, ()):
            return
    if not principal.kind:
        raise Unauthenticated(f"{method} needs a certificate of this domain")
    raise PermissionDenied(
        f"{method} needs the role {role_name(needed)}; {principal.identity} has"
        f" {', '.join(sorted(role_name(role) for role in principal.roles)) or 'none'}",
        metadata={"method": method, "role": role_name(needed), "principal": principal.identity},
    )


def role_name(role: int) -> str:
    """Return a role as people write it: `operator`."""
    known = Role.DESCRIPTOR.values_by_number.get(role)
    return known.name.removeprefix("ROLE_").lower() if known else str(role)


def role_from(name: str) -> int | None:
    """Return the role that people write so, None if there is none."""
    known = Role.DESCRIPTOR.values_by_name.get(f"ROLE_{name.upper()}")
    return known.number if known is not None and known.number else None
