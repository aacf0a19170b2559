"""The place in the inventory's events: what was dealt with is known behind every gap, and nothing else is."""

from __future__ import annotations

from virtyard.jobs.event_place import EventPlace
from virtyard.runtime.resume_point import ResumePoint


def token(sequence: int, life: str = "1.aa", inside: str = "") -> str:
    """Return a token of the inventory's feed, inside a snapshot if a key is given."""
    snapshot = ("event", inside) if inside else None
    return ResumePoint(service="inventory", incarnation=life, sequence=sequence, snapshot=snapshot).token()


def behind_gap(stood: str, now: str) -> EventPlace:
    """Return a place that has been told of a gap."""
    place = EventPlace(stood)
    place.note_gap(now)
    place.token = now
    return place


def test_without_a_gap_only_what_is_told_again_is_known() -> None:
    """The first telling of an event is never passed by, whatever its number."""
    place = EventPlace(token(10))
    assert not place.is_known(5, revised=False)
    assert not place.is_known(11, revised=False)
    assert place.is_known(11, revised=True)
    assert place.kept(token(11)) == token(11)


def test_behind_a_gap_what_has_a_number_up_to_the_place_is_known() -> None:
    """Also by a process that has just started, and in another life of the same database."""
    for life in ("1.aa", "7.aa"):
        place = behind_gap(token(10), token(1000, life))
        assert place.is_known(10, revised=False)
        assert place.is_known(10, revised=True)
        assert not place.is_known(11, revised=False)
        assert not place.is_known(11, revised=True), "nothing told it before it was acknowledged"
        assert place.is_known(1001, revised=True), "it was told behind the snapshot"


def test_what_the_snapshot_told_is_known_when_it_is_told_again() -> None:
    """An event that is acknowledged while the snapshot is told comes behind it as well."""
    place = behind_gap(token(10), token(1000))
    place.take(11)
    assert place.is_known(11, revised=True)
    assert not place.is_known(12, revised=True)


def test_a_gap_inside_a_snapshot_forgets_nothing() -> None:
    """What was told of the first snapshot is known in the second; what was not is new."""
    place = behind_gap(token(10), token(1000, inside="0"))
    place.take(11)
    place.note_gap(token(2000, inside="0"))
    assert place.is_known(11, revised=False)
    assert not place.is_known(12, revised=True)
    assert not place.is_known(1500, revised=True)


def test_a_process_that_ends_inside_a_snapshot_leaves_where_the_gap_began() -> None:
    """The next one knows what is older, and that what comes later may not have been told."""
    place = behind_gap(token(10), token(1000, inside="0"))
    kept = place.kept(token(1000, inside="20"))
    after = EventPlace(kept)
    assert after.token == token(1000, inside="20")
    assert after.is_known(10, revised=True)
    assert not after.is_known(15, revised=True)
    assert after.is_known(1001, revised=True)
    assert after.kept(token(1000)) == token(1000)


def test_of_another_database_nothing_is_known() -> None:
    """Its numbers begin anew."""
    place = behind_gap(token(10), token(1000, "1.bb"))
    assert not place.is_known(5, revised=False)


def test_a_feed_that_was_put_back_by_hand_has_only_its_own_numbers_known() -> None:
    """The place is above its end, and the numbers between are given again."""
    place = behind_gap(token(100), token(50))
    assert place.is_known(50, revised=False)
    assert not place.is_known(51, revised=False)
