"""The audit: what must be true of locks, operations and ledgers together, as pure functions over what was read.

A finding is a suspicion: what was read belongs to several moments. It counts once it was there twice, with the same
tokens (P36); `auditor` sees to that. So a key names what makes a finding the same one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.broken import operation_of_owner
from virtyard.jobs.model import operation_name
from virtyard.kernel.invariants import Invariant
from virtyard.kernel.lock_modes import LockMode, conflicts

__all__ = [
    "Finding",
    "Held",
    "done_twice",
    "held_by_ended",
    "held_in_conflict",
    "key_of",
    "released_late",
    "tokens_out_of_order",
]

_RAN = frozenset({participant.EFFECT_STATE_RUNNING, participant.EFFECT_STATE_DONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lock that is held, as locks.db has it."""

    object: str
    """The object."""
    mode: LockMode
    """How it is held."""
    owner: str
    """Who holds it."""
    token: int
    """The fencing token of the grant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that must not be, as far as one look can tell."""

    invariant: Invariant
    """What it breaks."""
    key: str
    """Is the same at the next look if this is still the same."""
    object: str
    """The object that it is about."""
    message: str
    """The finding, as a person reads it."""


def held_in_conflict(locks: Iterable[Held]) -> Iterator[Finding]:
    """Yield each two locks on one object that exclude each other."""
    holders: dict[str, list[Held]] = defaultdict(list)
    for lock in locks:
        for other in holders[lock.object]:
            if lock.owner != other.owner and conflicts(lock.mode, other.mode):
                tokens = sorted((lock.token, other.token))
                yield Finding(
                    invariant=Invariant.LOCK_EXCLUSION,
                    key=f"{lock.object} {tokens}",
                    object=lock.object,
                    message=(
                        f"{other.owner} holds {other.mode.name} with token {other.token} on it,"
                        f" and {lock.owner} {lock.mode.name} with token {lock.token}"
                    ),
                )
        holders[lock.object].append(lock)


def key_of(lock: Held) -> str:
    """Return what makes a finding on this lock the same one."""
    return f"{lock.object} {lock.owner} {lock.token}"


def tokens_out_of_order(
    locks: Sequence[Held], known: Collection[tuple[str, str, int]], highest: int
) -> Iterator[Finding]:
    """Yield each lock whose token another lock has, or was given though a higher one had been given already.

    Locks of people fence nothing and have no token.

    Args:
        locks: what is held now, all read at one moment.
        known: (object, owner, token) of what was held before.
        highest: a token that was given before anything was that is not known; 0 if there is none.
    """
    given: dict[int, Held] = {}
    for lock in locks:
        if not lock.token:
            continue
        wrong = ""
        if lock.token in given:
            wrong = f"{given[lock.token].owner} has the same one on {given[lock.token].object}"
        elif lock.token <= highest and (lock.object, lock.owner, lock.token) not in known:
            wrong = f"{highest} was given before it"
        given.setdefault(lock.token, lock)
        if wrong:
            yield Finding(
                invariant=Invariant.TOKEN_ORDER,
                key=key_of(lock),
                object=lock.object,
                message=f"{lock.owner} was given token {lock.token} on it, and {wrong}",
            )


def held_by_ended(locks: Iterable[Held], open_operations: Collection[int], due: Collection[str]) -> Iterator[Finding]:
    """Yield each lock of an operation that has ended, or that jobs.db never knew, and whose release is not due.

    Args:
        locks: what is held, read before the operations.
        open_operations: the numbers of the operations that have not ended.
        due: the owners whose release is to be done still.
    """
    for lock in locks:
        number = operation_of_owner(lock.owner)
        if number and number not in open_operations and lock.owner not in due:
            yield Finding(
                invariant=Invariant.ENDED_HOLDS_NOTHING,
                key=key_of(lock),
                object=lock.object,
                message=f"{lock.owner} has ended and holds {lock.mode.name} on it, with token {lock.token}",
            )


def released_late(locks: Iterable[Held], open_operations: Collection[int], due: Collection[str]) -> Iterator[Finding]:
    """Yield each ended operation that holds locks though their release is due; one on its way is no finding twice.

    Args:
        locks: what is held, read before the operations.
        open_operations: the numbers of the operations that have not ended, which may give up a part early.
        due: the owners whose release is to be done still.
    """
    told: set[str] = set()
    for lock in locks:
        is_late = lock.owner in due and operation_of_owner(lock.owner) not in open_operations
        if is_late and lock.owner not in told:
            told.add(lock.owner)
            yield Finding(
                invariant=Invariant.RELEASE_OVERDUE,
                key=key_of(lock),
                object=lock.object,
                message=f"the release of {lock.owner} is due, and it still holds {lock.mode.name} on it",
            )


def done_twice(ledgers: Mapping[str, Iterable[agent_service_pb2.LedgerEntry]]) -> Iterator[Finding]:
    """Yield each step that was done, or undone, more than once: in two attempts, or on two hosts.

    Args:
        ledgers: by the host, what its ledger keeps.
    """
    ran: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
    for host, effects in ledgers.items():
        for effect in effects:
            if effect.state in _RAN:
                ran[effect.step_key, int(effect.phase)].append((host, effect.attempt))
    for (step_key, phase), runs in ran.items():
        if len(runs) > 1:
            number = step_key.partition("/")[0]
            what = "undone" if phase == participant.PHASE_UNDO else "done"
            where = ", ".join(f"{host} in attempt {attempt}" for host, attempt in sorted(runs))
            yield Finding(
                invariant=Invariant.EFFECT_ONCE,
                key=f"{step_key} {phase} {sorted(runs)}",
                object=operation_name(int(number)) if number.isdigit() else runs[0][0],
                message=f"step {step_key} was {what} {len(runs)} times: on {where}",
            )
