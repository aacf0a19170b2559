"""The ledger: what became of every effect, and the highest epochs and tokens that came with them (P1, P2, P8, P14).

A `Ledger` lives for one transaction. What it records is visible to it at once and is written by `flush`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory.model import Reader
from virtyard.runtime.database import Transaction
from virtyard.runtime.floor import FLOOR_BATCH, Floors

__all__ = ["Entry", "Ledger", "forget_settled"]

_ATTEMPTS = """
    SELECT attempt, payload_hash, record, prior, sequence FROM ledger
    WHERE step_key = ? AND phase = ? ORDER BY attempt DESC
"""
_RECORD = """
    INSERT INTO ledger (operation, step_key, phase, attempt, payload_hash, state, record, prior)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_EPOCH = "SELECT epoch FROM epoch WHERE operation = ?"
_RAISE_EPOCH = """
    INSERT INTO epoch (operation, epoch) VALUES (?, ?) ON CONFLICT (operation) DO UPDATE SET epoch = excluded.epoch
"""
_TOKENS = "SELECT mode, token FROM token WHERE object = ?"
_RAISE_MARK = """
    INSERT INTO token (object, mode, token) VALUES (?, ?, ?)
    ON CONFLICT (object, mode) DO UPDATE SET token = max(token, excluded.token)
"""
_FORGET = (
    """
    DELETE FROM ledger WHERE sequence IN
    (SELECT sequence FROM ledger WHERE operation < :settled_below ORDER BY sequence LIMIT :batch)
    """,
    """
    DELETE FROM epoch WHERE operation IN
    (SELECT operation FROM epoch WHERE operation < :settled_below ORDER BY operation LIMIT :batch)
    """,
    """
    DELETE FROM token WHERE (object, mode) IN
    (SELECT object, mode FROM token WHERE token < :tokens_below LIMIT :batch)
    """,
    """
    DELETE FROM object WHERE name IN
    (SELECT name FROM object WHERE deleted = 1 AND writer < :settled_below LIMIT :batch)
    """,
)


@dataclass(slots=True, kw_only=True)
class Entry:
    """What the ledger holds of one attempt."""

    operation: int
    """Number of the operation that it belongs to."""
    step_key: str
    """The step."""
    phase: int
    """Whether it was done or undone, a `Phase`."""
    attempt: int
    """Which try of the step it was, from 1."""
    payload_hash: bytes
    """Stands for what was to be carried out; empty for a tombstone."""
    record: participant.EffectRecord
    """What came of it."""
    prior: bytes = field(default=b"")
    """What puts back the state from before: a serialised `WriteObjects`."""


class Ledger:
    """The ledger within one transaction."""

    def __init__(self, reader: Reader) -> None:
        """Begin with nothing read."""
        self._reader = reader
        self._attempts: dict[tuple[str, int], list[Entry]] = {}
        self._epochs: dict[int, int] = {}
        self._tokens: dict[str, dict[int, int]] = {}
        self._new: list[Entry] = []

    def attempts(self, step_key: str, phase: int) -> list[Entry]:
        """Return what is recorded of a step and phase, the newest attempt first."""
        known = self._attempts.get((step_key, phase))
        if known is None:
            known = self._attempts[step_key, phase] = list(self._read_attempts(step_key, phase))
        return known

    def find(self, step_key: str, phase: int, attempt: int) -> Entry | None:
        """Return what is recorded under this key; None if nothing is."""
        return next((entry for entry in self.attempts(step_key, phase) if entry.attempt == attempt), None)

    def add(self, entry: Entry) -> None:
        """Record an outcome; its record may still be filled in until `flush`."""
        self.attempts(entry.step_key, entry.phase).insert(0, entry)
        self._new.append(entry)

    def flush(self) -> None:
        """Write what was recorded, and number it."""
        for entry in self._new:
            written = self._reader.execute(
                _RECORD,
                (
                    entry.operation,
                    entry.step_key,
                    entry.phase,
                    entry.attempt,
                    entry.payload_hash,
                    entry.record.state,
                    entry.record.SerializeToString(),
                    entry.prior,
                ),
            )
            entry.record.ledger_sequence = written.lastrowid or 0
        self._new.clear()

    def epoch(self, operation: int) -> int:
        """Return the highest epoch seen of an operation; 0 if none."""
        known = self._epochs.get(operation)
        if known is None:
            found = self._reader.execute(_EPOCH, (operation,)).fetchone()
            known = self._epochs[operation] = found[0] if found is not None else 0
        return known

    def raise_epoch(self, operation: int, epoch: int) -> None:
        """Remember the epoch if it is the highest one seen."""
        if epoch > self.epoch(operation):
            self._reader.execute(_RAISE_EPOCH, (operation, epoch))
            self._epochs[operation] = epoch

    def tokens(self, locks: Iterable[lock_pb2.LockToken]) -> Mapping[tuple[str, int], int]:
        """Return the highest token seen per (object, mode), for the objects of these locks."""
        return {(lock.object, mode): token for lock in locks for mode, token in self._seen(lock.object).items()}

    def raise_token(self, lock: lock_pb2.LockToken) -> None:
        """Remember the token if it is the highest one seen."""
        seen = self._seen(lock.object)
        if lock.fencing_token > seen.get(lock.mode, 0):
            self._reader.execute(_RAISE_MARK, (lock.object, lock.mode, lock.fencing_token))
            seen[lock.mode] = lock.fencing_token

    def _seen(self, name: str) -> dict[int, int]:
        known = self._tokens.get(name)
        if known is None:
            known = self._tokens[name] = dict(self._reader.execute(_TOKENS, (name,)).fetchall())
        return known

    def _read_attempts(self, step_key: str, phase: int) -> Iterator[Entry]:
        for attempt, payload_hash, body, prior, sequence in self._reader.execute(_ATTEMPTS, (step_key, phase)):
            record = participant.EffectRecord.FromString(body)
            record.ledger_sequence = sequence
            yield Entry(
                operation=0,
                step_key=step_key,
                phase=phase,
                attempt=attempt,
                payload_hash=payload_hash,
                record=record,
                prior=prior,
            )


def forget_settled(transaction: Transaction, floors: Floors) -> bool:
    """Delete at most a batch of entries, epochs, tokens and tombstones of objects below the floors (P18).

    Returns:
        Whether there may be more.
    """
    values = {"settled_below": floors.settled_below, "tokens_below": floors.tokens_below, "batch": FLOOR_BATCH}
    return FLOOR_BATCH in [transaction.execute(statement, values).rowcount for statement in _FORGET]
