"""The re-assertion: restored locks are granted to nobody before the scheduler has said what is open and held (P32)."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from virtyard.kernel.errors import WrongState
from virtyard.locks.model import Claim, Grant, LockSet, Release
from virtyard.locks.store import Rehearsal
from virtyard.locks.table import LockTable
from virtyard.runtime.database import Database
from virtyard.runtime.transaction import Transaction

__all__ = ["is_restored", "reassert"]

OWNERS = "operations/"
"""How the names of owners begin that a scheduler speaks for; locks of people are theirs."""


Rehearse = Callable[[Sequence[LockSet | Release]], Awaitable[Rehearsal]]
"""Tells what would come of commands, and changes nothing."""
CarryOut = Callable[[Sequence[LockSet | Release]], Awaitable[None]]
"""Carries out commands in one commit, each by itself."""
Look = Callable[[Callable[[LockTable], list[Claim]]], Awaitable[list[Claim]]]
"""Looks at the table as it is committed."""


def is_restored(connection: sqlite3.Connection) -> bool:
    """Tell whether the database was restored and nothing has been re-asserted since."""
    return connection.execute("SELECT 1 FROM restored").fetchone() is not None


async def reassert(
    rehearse: Rehearse,
    carry_out: CarryOut,
    look: Look,
    database: Database,
    holds: Sequence[LockSet],
    waiting: Collection[str],
) -> list[Grant]:
    """Give back what operations hold that are not open, see that the open ones hold theirs, and begin to grant.

    A release is for ever, so nothing is given back before it is known that every set can be held beside what is left.

    Args:
        rehearse: tells what would come of commands of the lock service.
        carry_out: carries them out.
        look: looks at its table.
        database: its database.
        holds: the sets of open operations that hold them.
        waiting: the owners of those that do not, whose places in the queue are kept.

    Returns:
        What each of the sets is held with.

    Raises:
        WrongState: one of the sets cannot be granted beside the others; nothing is granted to anybody then, and nothing
            was given back.
    """
    claims = _by_owner(await look(lambda table: list(table.claims())))
    expected = {wanted.owner for wanted in holds} | set(waiting)
    strays = [claim for claim in claims.values() if claim.owner.startswith(OWNERS) and claim.owner not in expected]
    missing = [wanted for wanted in holds if not _holds(claims.get(wanted.owner), wanted)]
    releases = [Release(owner=claim.owner, epoch=claim.epoch) for claim in strays]
    commands: list[LockSet | Release] = [*releases, *missing]
    rehearsal = await rehearse(commands)
    reasons = [refusal.message for refusal in rehearsal.refusals if refusal is not None]
    _check(holds, _by_owner(rehearsal.claims), reasons)
    await carry_out(commands)
    claims = _by_owner(await look(lambda table: list(table.claims())))
    _check(holds, claims)
    await database.write(_open)
    return [claims[wanted.owner].grant() for wanted in holds]


def _by_owner(claims: Iterable[Claim]) -> dict[str, Claim]:
    return {claim.owner: claim for claim in claims}


def _check(holds: Sequence[LockSet], claims: Mapping[str, Claim], reasons: Sequence[str] = ()) -> None:
    """Refuse what was said if one of the sets is not held by these claims."""
    refused = [wanted.owner for wanted in holds if not _holds(claims.get(wanted.owner), wanted)]
    if refused:
        text = f"{', '.join(refused)} cannot hold what it held: the locks are of another time than the operations"
        raise WrongState(f"{text} ({'; '.join(reasons)})" if reasons else text)


def _holds(claim: Claim | None, wanted: LockSet) -> bool:
    """Tell whether an owner holds the set of this round; it may have given a part of it back early."""
    return claim is not None and not claim.waiting and claim.round >= wanted.round


def _open(transaction: Transaction) -> None:
    transaction.execute("DELETE FROM restored")
    transaction.transition("locks.reassert")
