"""The rules by which a participant refuses an effect that is stale, superseded or not covered by locks.

Pure: the participant hands in what its ledger has seen. Nothing may change on a refusal (P1, P2, P8, P14).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from google.protobuf.any_pb2 import Any

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import (
    InvalidRequest,
    KeyRefused,
    PayloadMismatch,
    StaleEpoch,
    StaleToken,
    Superseded,
)
from virtyard.kernel.invariants import Invariant, broken
from virtyard.kernel.lock_modes import MODES, LockMode, conflicts, covers_write


def operation_number(step_key: str) -> int:
    """Return the operation's number, 12 of the step key `12/3/1`.

    Raises:
        InvalidRequest: the key is not of that form.
    """
    parts = step_key.split("/")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise InvalidRequest.of(
            "step_key", f"{step_key!r} is not a step key; allowed is operation/job/step, all numbers"
        )
    return int(parts[0])


def payload(effect: participant.Effect) -> Any:
    """Return what the effect carries for its phase.

    Raises:
        InvalidRequest: the phase is not set, or there is nothing for it.
    """
    if effect.phase == participant.PHASE_DO and effect.HasField("do"):
        return effect.do
    if effect.phase == participant.PHASE_UNDO and effect.HasField("undo"):
        return effect.undo
    raise InvalidRequest.of("phase", "allowed is PHASE_DO with do, or PHASE_UNDO with undo")


def payload_hash(effect: participant.Effect) -> bytes:
    """Return 32 bytes that stand for what the effect carries for its phase."""
    carried = payload(effect)
    return hashlib.sha256(carried.type_url.encode() + b"\0" + carried.value).digest()


def check_payload(effect: participant.Effect, recorded_hash: bytes) -> None:
    """Refuse another payload under a key that the ledger has.

    Raises:
        PayloadMismatch: it is another one.
    """
    if payload_hash(effect) != recorded_hash:
        message = f"the ledger has another payload under {effect.step_key}"
        raise broken(Invariant.EFFECT_ONCE, message, resource=effect.target, kind=PayloadMismatch)


def check_epoch(effect_epoch: int, seen_epoch: int, step_key: str) -> None:
    """Refuse a scheduler that has been overtaken (P14).

    Raises:
        StaleEpoch: a higher epoch of the operation has been seen.
    """
    if effect_epoch < seen_epoch:
        raise StaleEpoch(
            f"{step_key} came with epoch {effect_epoch}, but epoch {seen_epoch} has been seen",
            metadata={"epoch": str(effect_epoch), "seen": str(seen_epoch)},
        )


def check_settled(operation: int, settled_below: int, step_key: str) -> None:
    """Refuse the key of an operation that ended and is forgotten: a late duplicate would run as new (P18).

    Args:
        operation: the operation's number.
        settled_below: the lowest number of an operation that is not forgotten.
        step_key: the step, for the message.

    Raises:
        KeyRefused: the operation is forgotten.
    """
    if operation < settled_below:
        raise KeyRefused(
            f"{step_key} is refused for ever: every operation below {settled_below} has ended and is forgotten",
            metadata={"settled_below": str(settled_below)},
        )


def check_attempt(attempt: int, seen_attempt: int, running: bool, step_key: str) -> None:
    """Refuse an old attempt, and a new one while an old one runs (P8).

    Args:
        attempt: the attempt that came, from 1.
        seen_attempt: the highest one in the ledger for the same step and phase; 0 if none.
        running: whether that one is still under way.
        step_key: the step, for the message.

    Raises:
        InvalidRequest: the attempt is below 1.
        Superseded: it is stale, or comes too early.
    """
    if attempt < 1:
        raise InvalidRequest.of("attempt", f"{attempt} is not allowed; attempts count from 1")
    if attempt < seen_attempt:
        raise Superseded(f"attempt {attempt} of {step_key} is superseded by attempt {seen_attempt}")
    if attempt > seen_attempt and running:
        raise Superseded(f"attempt {seen_attempt} of {step_key} is still under way, so attempt {attempt} is refused")


def check_tokens(locks: Iterable[lock_pb2.LockToken], seen: Mapping[tuple[str, int], int]) -> None:
    """Refuse locks that were overtaken by a grant in a conflicting mode (P2).

    Args:
        locks: the effect's locks.
        seen: the highest token seen per (object, mode).

    Raises:
        StaleToken: a conflicting mode has been seen with a higher token.
        InvalidRequest: a lock has no mode.
    """
    for lock in locks:
        held = _mode(lock)
        for mode in LockMode:
            token = seen.get((lock.object, mode), 0)
            if token > lock.fencing_token and conflicts(held, mode):
                raise StaleToken(
                    f"token {lock.fencing_token} for {lock.object} was overtaken by token {token} ({mode.name})",
                    resource=lock.object,
                    metadata={"token": str(lock.fencing_token), "seen": str(token)},
                )


def check_coverage(target: str, locks: Iterable[lock_pb2.LockToken]) -> None:
    """Refuse a writing effect whose target no exclusive lock covers (P2).

    Raises:
        InvalidRequest: there is no target, or a lock has no mode.
        InternalError: neither the target nor an ancestor of it is locked exclusively.
    """
    if not target:
        raise InvalidRequest.of("target", "the name of the object that the effect writes is required")
    if not covers_write(target, [(lock.object, _mode(lock)) for lock in locks]):
        raise broken(Invariant.LOCK_COVERAGE, f"no exclusive lock covers {target}", resource=target)


def _mode(lock: lock_pb2.LockToken) -> LockMode:
    mode = int(lock.mode)
    if mode not in MODES:
        raise InvalidRequest.of(
            "locks", f"mode {mode} for {lock.object} is not allowed; it must be IS, IX, S, SIX or X"
        )
    return LockMode(mode)
