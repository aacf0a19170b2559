"""What a reader concludes from reads of a slot."""

from __future__ import annotations

from virtyard.agent.drivers.heartbeat.contract import MemberState
from virtyard.agent.drivers.heartbeat.sight import Sight

T, W = 10.0, 60.0


def beat(counter: int, server: str = "servers/a") -> dict[str, object]:
    """The content of a slot."""
    return {"server": server, "counter": counter}


def state(sight: Sight) -> MemberState | None:
    """How the member looks now."""
    return sight.state


def test_a_member_lives_once_two_reads_differ() -> None:
    """One read tells nothing of life; a second, different one does."""
    sight = Sight(T, W)
    assert state(sight) is None
    sight.look(beat(1), 0)
    assert state(sight) is MemberState.JOINING
    sight.look(beat(1), 10)
    assert state(sight) is MemberState.JOINING
    sight.look(beat(2), 20)
    assert state(sight) is MemberState.LIVE


def test_a_silent_member_fails_and_then_is_dead() -> None:
    """It fails after 8T of seen silence and is dead after 8T + W."""
    sight = Sight(T, W)
    sight.look(beat(1), 0)
    sight.look(beat(2), 20)
    states = {}
    for now in range(30, 200, 10):
        sight.look(beat(2), now)
        states[now - 20] = state(sight)
    assert states[70] is MemberState.LIVE
    assert states[80] is MemberState.FAIL
    assert states[130] is MemberState.FAIL
    assert states[140] is MemberState.DEAD


def test_a_reader_that_was_stopped_has_seen_no_silence() -> None:
    """An hour between two reads counts as 2T: the reader, not the member, was away."""
    sight = Sight(T, W)
    sight.look(beat(1), 0)
    sight.look(beat(2), 20)
    sight.look(beat(2), 3620)
    assert state(sight) is MemberState.LIVE


def test_a_beat_revives() -> None:
    """A member that is heard again lives."""
    sight = Sight(T, W)
    for now in range(0, 200, 10):
        sight.look(beat(1), now)
    assert state(sight) is MemberState.DEAD
    sight.look(beat(2), 200)
    assert state(sight) is MemberState.LIVE


def test_another_server_in_the_slot_begins_anew() -> None:
    """A slot that changes hands is joining, and a cleared one is free."""
    sight = Sight(T, W)
    sight.look(beat(1), 0)
    sight.look(beat(2), 10)
    sight.look(beat(3, "servers/b"), 20)
    assert (sight.server, state(sight)) == ("servers/b", MemberState.JOINING)
    sight.look(None, 30)
    assert (sight.server, state(sight)) == ("", None)
