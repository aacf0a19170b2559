"""Permissions: every role against every role that a method may need."""

from __future__ import annotations

import pytest

from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel.errors import PermissionDenied, Unauthenticated
from virtyard.kernel.permissions import Principal, permit, role_from, role_name

VIEWER, OPERATOR, ADMINISTRATOR = Role.ROLE_VIEWER, Role.ROLE_OPERATOR, Role.ROLE_ADMINISTRATOR
SERVICE, AGENT = Role.ROLE_SERVICE, Role.ROLE_AGENT
ALLOWED = {
    VIEWER: {VIEWER},
    OPERATOR: {VIEWER, OPERATOR},
    ADMINISTRATOR: {VIEWER, OPERATOR, ADMINISTRATOR},
    SERVICE: {VIEWER, SERVICE},
    AGENT: {AGENT},
}


@pytest.mark.parametrize("held", ALLOWED, ids=role_name)
@pytest.mark.parametrize("needed", Role.values(), ids=role_name)
def test_role_covers_what_the_table_says(held: int, needed: int) -> None:
    """A caller with one role is let in exactly where the table says so; ROLE_UNSPECIFIED lets nobody in."""
    ann = Principal(kind="user", name="ann", roles=frozenset({held}))
    if needed in ALLOWED[Role.ValueType(held)]:
        permit(ann, needed, "/s/m")
    else:
        with pytest.raises(PermissionDenied, match="user/ann"):
            permit(ann, needed, "/s/m")


def test_caller_without_an_identity_is_unauthenticated() -> None:
    """Nobody is told to show a certificate, not that a role is missing."""
    with pytest.raises(Unauthenticated):
        permit(Principal(kind="", name=""), VIEWER, "/s/m")


def test_kind_of_an_identity_gives_services_and_agents_their_role() -> None:
    """A service and an agent have the role of their kind, whatever else is claimed; a person what was granted."""
    assert Principal.of("service/jobs", frozenset({ADMINISTRATOR})).roles == {SERVICE}
    assert Principal.of("agent/s1").roles == {AGENT}
    assert Principal.of("user/ann").roles == frozenset()
    assert Principal.of("user/ann", frozenset({OPERATOR})).identity == "user/ann"


def test_roles_have_names() -> None:
    """A role is written as people write it, both ways; what is no role is none."""
    assert [role_from(role_name(role)) for role in ALLOWED] == list(ALLOWED)
    assert role_from("unspecified") is None
    assert role_from("king") is None
    assert role_name(99) == "99"
