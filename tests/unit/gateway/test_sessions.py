"""Sessions: what each secret is good for, for how long, and for whom."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.gateway import sessions as module
from virtyard.gateway.sessions import LINK_LIFETIME, SESSION_LIFETIME, Sessions
from virtyard.kernel.errors import CapacityExhausted, NotFound, PermissionDenied, Unauthenticated
from virtyard.kernel.permissions import Principal, role_from
from virtyard.runtime.durable_file import read_record, write_record

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
    ended, grant = sessions.open_link(sessions.make_link(JO)[0])
    sessions.revoke(grant.id, JO)
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
    _, session = sessions.open_link(first)
    second, _ = sessions.make_link(JO)
    with pytest.raises(CapacityExhausted):
        sessions.open_link(second)
    sessions.revoke(session.id, JO)
    _ = sessions.open_link(second)


def test_people_see_and_take_back_their_own_and_administrators_everything(sessions: Sessions) -> None:
    """What belongs to another is not there for one who is no administrator; no secret is shown."""
    al = Principal(kind="user", name="al", roles=JO.roles)
    chief = Principal(kind="user", name="chief", roles=frozenset({Role.ROLE_ADMINISTRATOR}))
    _, link = sessions.make_link(JO)
    secret, token = sessions.make_api_token(al, "backups", timedelta(days=1))
    assert [grant.id for grant in sessions.grants_for(JO)] == [link.id]
    assert [grant.id for grant in sessions.grants_for(chief)] == [link.id, token.id]
    with pytest.raises(NotFound):
        sessions.revoke(token.id, JO)
    assert sessions.of_bearer(secret) == token
    assert secret not in repr(sessions.grants_for(al))
    assert sessions.revoke(token.id, chief).purpose == "backups"
    with pytest.raises(Unauthenticated):
        sessions.of_bearer(secret)


def test_what_is_taken_back_stays_so_and_is_told_to_what_it_has_open(sessions: Sessions, tmp_path: Path) -> None:
    """Who listens hears of it once; a gateway that starts anew does not know the grant any more, but the others."""
    secret, token = sessions.make_api_token(JO, "", timedelta(days=1))
    kept, other = sessions.make_api_token(JO, "", timedelta(days=2))
    heard: list[str] = []
    with token.ending.telling(lambda: heard.append("cut")), other.ending.telling(lambda: heard.append("never")):
        with token.ending.telling(lambda: heard.append("gone")):
            pass
        sessions.revoke(token.id, JO)
    assert (heard, token.ending.is_over, other.ending.is_over) == (["cut"], True, False)
    again = Sessions(tmp_path / "gateway" / "sessions.json", FakeClock())
    with pytest.raises(Unauthenticated):
        again.of_bearer(secret)
    assert (again.of_bearer(kept).id, again.of_bearer(kept).create_time) == (other.id, other.create_time)


def test_a_file_of_an_older_release_is_read(sessions: Sessions, clock: FakeClock, tmp_path: Path) -> None:
    """It does not say when grants were made; they are good all the same, and have an id."""
    secret, token = sessions.make_api_token(JO, "", timedelta(days=1))
    file = tmp_path / "gateway" / "sessions.json"
    rows = read_record(file) or {}
    write_record(file, {digest: {k: v for k, v in row.items() if k != "create"} for digest, row in rows.items()})
    again = Sessions(file, clock).of_bearer(secret)
    assert (again.id, again.create_time) == (token.id, None)
