"""The handshake of an agent: it opens closed, and carries nothing out before a scheduler knows its ledger to be whole.

A ledger that is another one than the scheduler knew, or an older one, may have forgotten what was begun here. Such an
agent stays closed until it was told what is open and has looked for that by its marks (P18, R14).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import Superseded, Unavailable
from virtyard.runtime.database import Transaction
from virtyard.runtime.floor import FLOOR_BATCH, Floors

__all__ = ["Gate", "Greeting", "forget_settled", "greet", "is_whole", "life_of", "seal", "sealed_below"]

_FORGET = (
    """
    DELETE FROM ledger WHERE (step_key, phase, attempt) IN
    (SELECT step_key, phase, attempt FROM ledger WHERE operation < :settled_below AND state <> 2 LIMIT :batch)
    """,
    """
    DELETE FROM epoch WHERE operation IN
    (SELECT operation FROM epoch WHERE operation < :settled_below ORDER BY operation LIMIT :batch)
    """,
    """
    DELETE FROM token WHERE (object, mode) IN
    (SELECT object, mode FROM token WHERE token < :tokens_below LIMIT :batch)
    """,
)
_GREET = "UPDATE floor SET hello = max(hello, ?) + 1 RETURNING hello"
_SEAL = "UPDATE floor SET sealed_below = max(sealed_below, ?), life = lower(hex(randomblob(4))) RETURNING life"
_LIFE = "SELECT life FROM floor"
_SEALED = "SELECT sealed_below FROM floor"
_UNSEAL = """
    INSERT INTO epoch (operation, epoch) VALUES (?, ?)
    ON CONFLICT (operation) DO UPDATE SET epoch = max(epoch, excluded.epoch)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a handshake came to."""

    hello: int
    """Its number."""
    position: int
    """The position of the ledger."""
    overruled: tuple[str, ...] = ()
    """The step keys that the ledger had as done, and that were settled otherwise on a proof of death."""


class Gate:
    """Whether the agent carries effects out, and of which handshake; memory only, so that every start is closed."""

    def __init__(self) -> None:
        """Begin closed."""
        self.hello = 0
        self.is_open = False

    def greeted(self, hello: int) -> None:
        """Close: a new scheduler, or the same one anew, has greeted."""
        self.hello, self.is_open = hello, False

    def open(self, hello: int) -> None:
        """Open for the messages of this handshake.

        Raises:
            Superseded: there was a later one.
        """
        self.check(hello)
        self.is_open = True

    def admit(self, hello: int) -> None:
        """Refuse a message of effects that must not be looked at.

        Raises:
            Superseded: it was sent under an earlier handshake.
            Unavailable: the agent is closed.
        """
        self.check(hello)
        if not self.is_open:
            raise Unavailable("this agent is closed until its ledger is known to be whole", retry_after=1.0)

    def check(self, hello: int) -> None:
        """Refuse what belongs to another handshake than the last one.

        Raises:
            Superseded: it does.
        """
        if hello != self.hello or not hello:
            raise Superseded(f"handshake {hello} is not the last one, which is {self.hello}: greet first")


def is_whole(request: participant.HelloRequest, ledger_id: str, position: int) -> bool:
    """Return whether a ledger has all that the scheduler knows of; one that it never met owes it nothing."""
    return not request.ledger_id or (request.ledger_id == ledger_id and request.ledger_sequence <= position)


def greet(transaction: Transaction, known: int) -> int:
    """Number a handshake: above every one before it, and above the one that the scheduler knows."""
    transaction.transition("agent.hello")
    return int(transaction.execute(_GREET, (known,)).fetchone()[0])


def seal(transaction: Transaction, next_operation: int, epochs: Sequence[participant.OperationEpoch]) -> str:
    """Refuse from now on every operation below a number but those that are open, whose epochs are given.

    Returns:
        The life of the ledger that begins with this.
    """
    (life,) = transaction.execute(_SEAL, (next_operation,)).fetchone()
    open_now = {each.operation for each in epochs}
    known = [row[0] for row in transaction.execute("SELECT operation FROM epoch").fetchall()]
    ended = [(number,) for number in known if number < next_operation and number not in open_now]
    transaction.executemany("DELETE FROM epoch WHERE operation = ?", ended)
    transaction.executemany(_UNSEAL, [(each.operation, each.epoch) for each in epochs])
    transaction.transition("agent.resync")
    return str(life)


def life_of(connection: sqlite3.Connection) -> str:
    """Return which life of the ledger it is; empty for the first."""
    return str(connection.execute(_LIFE).fetchone()[0])


def sealed_below(connection: sqlite3.Connection) -> int:
    """Return the number below which an operation without an epoch is refused; 0 if the ledger was never wanting."""
    return int(connection.execute(_SEALED).fetchone()[0])


def forget_settled(transaction: Transaction, floors: Floors) -> bool:
    """Delete at most a batch of entries, epochs and tokens below the floors; what is under way stays (P18).

    Returns:
        Whether there may be more.
    """
    values = {"settled_below": floors.settled_below, "tokens_below": floors.tokens_below, "batch": FLOOR_BATCH}
    return FLOOR_BATCH in [transaction.execute(statement, values).rowcount for statement in _FORGET]
