"""Values survive the way to messages and back, and bad messages are refused by field."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import MODES, LockMode
from virtyard.locks import wire
from virtyard.locks.model import (
    Blocker,
    Claim,
    ClaimedLock,
    Grant,
    LockSet,
    LockView,
    LockWish,
    QueuePlace,
    Rank,
    Refusal,
    Release,
    Report,
    views,
)

names = st.text(min_size=1, max_size=8)
modes = st.sampled_from(MODES)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of naive values
numbers = st.integers(0, 2**31 - 1)
blockers = st.builds(
    Blocker, object=names, owner=names, mode=modes, waiting=st.booleans(), purpose=st.text(), since=moments, job=names
)
wishes = st.builds(LockWish, object=names, mode=modes, job=st.text())
lock_sets = st.builds(
    LockSet,
    owner=names,
    epoch=numbers,
    locks=st.lists(wishes, max_size=3).map(tuple),
    priority=st.integers(-20, 20),
    purpose=st.text(),
    round=numbers,
)
lock_views = st.builds(
    LockView,
    object=names,
    mode=modes,
    owner=names,
    token=numbers,
    purpose=st.text(),
    job=st.text(),
    requested=moments,
    granted=st.none() | moments,
    position=numbers,
    blockers=st.lists(blockers, max_size=2).map(tuple),
)
granted_locks = st.builds(ClaimedLock, object=names, mode=modes, token=numbers)
reports = st.one_of(
    st.builds(Grant, owner=names, locks=st.lists(granted_locks).map(tuple), round=numbers),
    st.builds(
        QueuePlace, owner=names, position=numbers, blockers=st.lists(blockers, max_size=2).map(tuple), round=numbers
    ),
    st.builds(Refusal, owner=names, reason=names, message=st.text(), round=numbers),
)
releases = st.builds(
    Release, owner=names, epoch=numbers, keep=st.none() | st.dictionaries(names, modes, min_size=1, max_size=3)
) | st.builds(Release, owner=names, epoch=numbers, heir=names)


def test_modes_have_the_numbers_of_the_contract() -> None:
    """The enum of the kernel and that of the protos are one."""
    assert {f"LOCK_MODE_{mode.name}": int(mode) for mode in LockMode} == dict(lock_pb2.LockMode.items())


@given(value=lock_sets)
def test_a_set_survives_the_wire(value: LockSet) -> None:
    """What is asked for arrives as it was asked for."""
    assert wire.lock_set(wire.lock_set_message(value)) == value


@given(value=lock_views)
def test_a_lock_survives_the_wire(value: LockView) -> None:
    """Times to the microsecond, blockers and all."""
    assert wire.lock_view(wire.lock(value)) == value


@given(value=reports)
def test_a_report_survives_the_wire(value: Report) -> None:
    """Each kind of news is told apart."""
    assert wire.report(wire.report_message(value)) == value


@given(value=releases)
def test_a_release_survives_the_wire(value: Release) -> None:
    """To keep something is not to close, and the other way round."""
    assert wire.release(wire.release_message(value)) == value


def test_only_what_is_closed_has_an_heir() -> None:
    """Who keeps something gives nothing on, and is told which field is wrong."""
    kept = wire.release_message(Release(owner="a", epoch=1, keep={"vm": LockMode.S}, heir="b"))
    with pytest.raises(InvalidRequest, match=r"owners\.heir"):
        wire.release(kept)


@given(locks=st.lists(granted_locks, min_size=1, max_size=4).map(tuple), waiting=st.booleans(), when=moments)
def test_the_bodies_of_a_claim_are_its_locks_one_by_one(
    locks: tuple[ClaimedLock, ...], waiting: bool, when: datetime
) -> None:
    """The short cut of the feed says what the plain way says."""
    claim = Claim(
        owner="a",
        epoch=1,
        rank=Rank.of(1, 0),
        priority=0,
        purpose="work",
        round=0,
        requested=when,
        granted=None if waiting else when,
        asked={},
        locks=locks,
    )
    place = QueuePlace(owner="a", position=3, blockers=()) if waiting else None
    bodies = [pb.Lock.FromString(body) for body in wire.bodies(claim, place)]
    assert bodies == [wire.lock(view) for view in views(claim, place)]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.LockSet(), "sets.owner"),
        (pb.LockSet(owner="a", priority=-21), "sets.priority"),
        (pb.LockSet(owner="a", locks=[pb.LockRequest(mode=lock_pb2.LOCK_MODE_X)]), "locks.object"),
    ],
)
def test_a_bad_set_is_refused_by_field(message: pb.LockSet, field: str) -> None:
    """The refusal names what is wrong."""
    with pytest.raises(InvalidRequest) as refusal:
        wire.lock_set(message)
    assert [violation.field for violation in refusal.value.violations] == [field]


def test_a_mode_that_is_none_is_refused() -> None:
    """Proto3 lets any number through; the service does not."""
    message = pb.LockSet.FromString(pb.LockSet(owner="a").SerializeToString() + b"\x12\x07\x0a\x03vm1\x10\x09")
    with pytest.raises(InvalidRequest):
        wire.lock_set(message)


def test_a_release_needs_an_owner() -> None:
    """Nobody is not an owner."""
    with pytest.raises(InvalidRequest):
        wire.release(pb.OwnerRelease(epoch=1))
