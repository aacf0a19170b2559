"""Sessions: what each secret is good for, for how long, and for whom."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.gateway import sessions as module
from virtyard.gateway.sessions import LINK_LIFETIME, SESSION_LIFETIME, Sessions
from virtyard.kernel.errors import CapacityExhausted, PermissionDenied, Unauthenticated
from virtyard.kernel.permissions import Principal, role_from

JO = Principal(kind="user", name="jo", roles=frozenset({role_from("operator") or 0}))


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def sessions(tmp_path: Path, clock: FakeClock) -> Sessions:
    """Nobody is signed in."""
    return Sessions(tmp_path / "gateway" / "sessions.json", clock)


def test_a_link_is_void_after_an_hour(sessions: Sessions, clock: FakeClock) -> None:
    """It opens until then, and not from then on."""
    early, late = sessions.make_link(JO)[0], sessions.make_link(JO)[0]
    clock.advance(LINK_LIFETIME.total_seconds() - 1)
    assert sessions.open_link(early)[1].principal == JO
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        sessions.open_link(late)


def test_a_session_ends_after_its_time(sessions: Sessions, clock: FakeClock) -> None:
    """And before that when it is ended."""
    kept, _ = sessions.open_link(sessions.make_link(JO)[0])
    ended, _ = sessions.open_link(sessions.make_link(JO)[0])
    sessions.end(ended)
    assert sessions.of_cookie(kept).principal == JO
    with pytest.raises(Unauthenticated):
        sessions.of_cookie(ended)
    clock.advance(SESSION_LIFETIME.total_seconds())
    with pytest.raises(Unauthenticated):
        sessions.of_cookie(kept)


def test_a_restart_signs_nobody_out(sessions: Sessions, clock: FakeClock, tmp_path: Path) -> None:
    """Sessions, API tokens and unopened links are good after it, as the same people; an opened link is not."""
    opened, waiting = sessions.make_link(JO)[0], sessions.make_link(JO)[0]
    session, _ = sessions.open_link(opened)
    api_token, _ = sessions.make_api_token(JO, "backups", timedelta(days=1))
    again = Sessions(tmp_path / "gateway" / "sessions.json", clock)
    assert again.of_cookie(session).principal == JO
    assert (again.of_bearer(api_token).principal, again.of_bearer(api_token).purpose) == (JO, "backups")
    assert again.open_link(waiting)[1].principal == JO
    with pytest.raises(Unauthenticated):
        again.open_link(opened)


@pytest.mark.parametrize("identity", ["service/jobs", "agent/s1"])
def test_only_people_are_signed_in(sessions: Sessions, identity: str) -> None:
    """A service or an agent with a certificate makes no link for itself."""
    with pytest.raises(PermissionDenied):
        sessions.make_link(Principal.of(identity))


def test_links_do_not_pile_up(sessions: Sessions, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many may wait at once; those that have become void make room."""
    monkeypatch.setattr(module, "MOST_GRANTS", 3)
    for _ in range(3):
        sessions.make_link(JO)
    with pytest.raises(CapacityExhausted):
        sessions.make_link(JO)
    sessions.make_api_token(JO, "", timedelta(days=1))
    clock.advance(LINK_LIFETIME.total_seconds())
    sessions.make_link(JO)


def test_a_link_is_not_lost_to_a_full_house(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many are signed in it is refused, and lets its bearer in once there is room."""
    monkeypatch.setattr(module, "MOST_GRANTS", 1)
    first, _ = sessions.make_link(JO)
    session, _ = sessions.open_link(first)
    second, _ = sessions.make_link(JO)
    with pytest.raises(CapacityExhausted):
        sessions.open_link(second)
    sessions.end(session)
    _ = sessions.open_link(second)
