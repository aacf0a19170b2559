"""What a participant refuses: stale schedulers, overtaken locks, old attempts, other payloads, uncovered targets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtyard.api.actions.v1 import kill_guest_pb2
from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.effects import (
    check_attempt,
    check_coverage,
    check_epoch,
    check_payload,
    check_tokens,
    operation_number,
    payload,
    payload_hash,
)
from virtyard.kernel.errors import InternalError, InvalidRequest, PayloadMismatch, StaleEpoch, StaleToken, Superseded
from virtyard.kernel.lock_modes import MODES, LockMode, conflicts
from virtyard.kernel.plan import pack


def token(name: str, mode: int, number: int = 1) -> lock_pb2.LockToken:
    """Return a lock as an effect carries it."""
    found = lock_pb2.LockToken(object=name, fencing_token=number)
    found.mode = mode  # type: ignore[assignment]  # numbers that are no mode are tried too
    return found


def effect(uid: str = "u", phase: participant.Phase.ValueType = participant.PHASE_DO) -> participant.Effect:
    """Return an effect that kills a guest."""
    return participant.Effect(
        step_key="12/3/1",
        target="virtualMachines/web",
        phase=phase,
        do=pack(kill_guest_pb2.KillGuest(uid=uid)),
        undo=pack(write_objects_pb2.RevertWrites()),
    )


def test_operation_number_is_the_first_of_the_step_key() -> None:
    """It orders ledgers, so it is read as a number."""
    assert operation_number("12/3/1") == 12


@pytest.mark.parametrize("key", ["", "12", "12/3", "12/3/1/4", "a/3/1", "12/3/", "-1/3/1", "12/3/1 "])
def test_other_step_keys_are_refused(key: str) -> None:
    """A key that is not three numbers is refused by its field."""
    with pytest.raises(InvalidRequest) as caught:
        operation_number(key)
    assert caught.value.violations[0].field == "step_key"


def test_payload_is_that_of_the_phase() -> None:
    """Doing and undoing carry different messages."""
    assert payload(effect()).TypeName() == "virtyard.api.actions.v1.KillGuest"
    assert payload(effect(phase=participant.PHASE_UNDO)).TypeName() == "virtyard.api.inventory.v1.RevertWrites"


@pytest.mark.parametrize(
    "wrong",
    [
        participant.Effect(step_key="1/1/1"),
        participant.Effect(step_key="1/1/1", phase=participant.PHASE_DO),
        participant.Effect(step_key="1/1/1", phase=participant.PHASE_UNDO, do=pack(kill_guest_pb2.KillGuest())),
    ],
)
def test_effect_without_a_payload_for_its_phase_is_refused(wrong: participant.Effect) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidRequest) as caught:
        payload(wrong)
    assert caught.value.violations[0].field == "phase"


def test_same_payload_has_the_same_hash_whatever_surrounds_it() -> None:
    """Epoch, attempt and locks change between tries; what is asked for does not."""
    again = effect()
    again.epoch, again.attempt = 9, 2
    check_payload(again, payload_hash(effect()))


@pytest.mark.parametrize("other", [effect("v"), effect(phase=participant.PHASE_UNDO)])
def test_other_payload_under_the_key_is_refused(other: participant.Effect) -> None:
    """A key means one thing for ever (P8)."""
    with pytest.raises(PayloadMismatch):
        check_payload(other, payload_hash(effect()))


def test_lower_epoch_is_refused() -> None:
    """A scheduler that was overtaken is told both epochs (P14)."""
    check_epoch(3, 3, "1/1/1")
    check_epoch(4, 3, "1/1/1")
    with pytest.raises(StaleEpoch) as caught:
        check_epoch(2, 3, "1/1/1")
    assert caught.value.metadata == {"epoch": "2", "seen": "3"}


@pytest.mark.parametrize(
    ("attempt", "seen", "running", "error"),
    [
        (1, 0, False, None),
        (1, 1, True, None),
        (1, 1, False, None),
        (2, 1, False, None),
        (2, 1, True, Superseded),
        (1, 2, False, Superseded),
        (0, 0, False, InvalidRequest),
    ],
)
def test_attempts_follow_each_other(attempt: int, seen: int, running: bool, error: type[Exception] | None) -> None:
    """The same attempt is repeated freely, an old one never, a new one only when the last has ended (P8)."""
    if error is None:
        check_attempt(attempt, seen, running, "1/1/1")
    else:
        with pytest.raises(error):
            check_attempt(attempt, seen, running, "1/1/1")


@pytest.mark.parametrize("seen", MODES)
@pytest.mark.parametrize("mode", MODES)
def test_overtaken_lock_is_refused_only_in_a_conflicting_mode(mode: LockMode, seen: LockMode) -> None:
    """A later grant in a mode that goes with it is a concurrent holder, not a successor (P2)."""
    locks = [token("serverPools/p", mode, 5)]
    check_tokens(locks, {("serverPools/p", seen): 5, ("serverPools/q", LockMode.X): 9})
    if conflicts(mode, seen):
        with pytest.raises(StaleToken) as caught:
            check_tokens(locks, {("serverPools/p", seen): 6})
        assert caught.value.resource == "serverPools/p"
        assert caught.value.metadata == {"token": "5", "seen": "6"}
    else:
        check_tokens(locks, {("serverPools/p", seen): 6})


@given(st.lists(st.tuples(st.sampled_from(MODES), st.sampled_from("abc")), min_size=1, max_size=12))
def test_effects_in_the_order_of_their_grants_are_never_refused(grants: list[tuple[LockMode, str]]) -> None:
    """Whoever acts before the next grant is made is not stale, whatever the modes."""
    seen: dict[tuple[str, int], int] = {}
    for number, (mode, name) in enumerate(grants, 1):
        lock = token(name, mode, number)
        check_tokens([lock], seen)
        seen[name, mode] = number


@given(st.permutations(range(1, 6)), st.sampled_from([LockMode.IS, LockMode.IX]))
def test_concurrent_holders_may_act_in_any_order(order: list[int], mode: LockMode) -> None:
    """The trap of P2: the highest token alone would refuse a quarter of them."""
    seen: dict[tuple[str, int], int] = {}
    for number in order:
        check_tokens([token("serverPools/p", mode, number)], seen)
        seen["serverPools/p", mode] = max(number, seen.get(("serverPools/p", mode), 0))


@pytest.mark.parametrize("mode", [0, 6, 99])
def test_lock_without_a_mode_is_refused(mode: int) -> None:
    """By both checks that read modes."""
    with pytest.raises(InvalidRequest):
        check_tokens([token("servers/a", mode)], {})
    with pytest.raises(InvalidRequest):
        check_coverage("servers/a", [token("servers/a", mode)])


@pytest.mark.parametrize(
    ("target", "locked"),
    [
        ("servers/a", "servers/a"),
        ("servers/a", "serverPools/p"),
        ("vnics/n", "virtualMachines/m"),
        ("vnics/n", "serverPools/p"),
        ("virtualDisks/d", "repositories/r"),
    ],
)
def test_exclusive_lock_on_the_target_or_above_covers_it(target: str, locked: str) -> None:
    """Only X covers a write; the target must be named."""
    check_coverage(target, [token("servers/other", LockMode.X), token(locked, LockMode.X)])
    for mode in (LockMode.IS, LockMode.IX, LockMode.S, LockMode.SIX):
        with pytest.raises(InternalError):
            check_coverage(target, [token(locked, mode)])
    with pytest.raises(InvalidRequest):
        check_coverage("", [token(locked, LockMode.X)])


@pytest.mark.parametrize(
    ("target", "locked"),
    [("servers/a", "servers/b"), ("virtualDisks/d", "virtualMachines/m"), ("repositories/r", "serverPools/p")],
)
def test_exclusive_lock_elsewhere_covers_nothing(target: str, locked: str) -> None:
    """A sibling, or an object of a kind that is not above it in the lock tree."""
    with pytest.raises(InternalError) as caught:
        check_coverage(target, [token(locked, LockMode.X)])
    assert caught.value.resource == target
