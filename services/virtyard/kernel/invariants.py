"""The invariants of a site: what is never true, whatever fails; a value each, as metrics and alarms name them.

Whoever meets a broken one refuses by an error that says which, so that it is counted where it was met and nowhere else.
"""

from __future__ import annotations

from enum import Enum

from virtyard.kernel.errors import DefectError, InternalError, VirtyardError

__all__ = ["Invariant", "broken", "invariant_of"]

_KEY = "invariant"


class Invariant(Enum):
    """What must hold at every moment; the value is the label of `virtyard_safety_violations_total`."""

    LOCK_EXCLUSION = "lock_exclusion"
    """No two owners hold one object in conflicting modes; met by the unique index of locks.db."""
    TOKEN_ORDER = "token_order"  # noqa: S105 - no secret
    """Fencing tokens only rise; met by the auditor, who compares what is held over time."""
    ENDED_HOLDS_NOTHING = "ended_holds_nothing"
    """No ended operation holds a lock unless its release is due; met by the auditor."""
    RELEASE_OVERDUE = "release_overdue"
    """No release stays due for more than 5 s while the lock service answers; met by the auditor."""
    EFFECT_ONCE = "effect_once"
    """No effect is done twice, no key stands for two; met by a ledger that has another payload, and by the auditor."""
    LOCK_COVERAGE = "lock_coverage"
    """No effect writes an object that no exclusive lock of its operation covers; met by the participants."""
    STATE_TABLE = "state_table"
    """No job or step changes its state in a way that the table does not have; met by the scheduler."""
    FEED_ORDER = "feed_order"
    """A feed shows every commit, in order and without a gap; met by the feed."""


def broken(
    invariant: Invariant, message: str, *, resource: str = "", kind: type[DefectError] = InternalError
) -> DefectError:
    """Return the error of whoever meets a broken invariant, of the kind that its caller is to be told."""
    return kind(message, resource=resource, metadata={_KEY: invariant.value})


def invariant_of(error: BaseException) -> Invariant | None:
    """Return the invariant that an error tells of; None if it tells of none."""
    value = error.metadata.get(_KEY, "") if isinstance(error, VirtyardError) else ""
    return next((invariant for invariant in Invariant if invariant.value == value), None)
