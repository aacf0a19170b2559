"""What is durable in jobs.db of proofs of death: which one counts, and what a server is told when it returns (P17).

A proof counts while there was no handshake with its server since it was asked for. What was settled on it is told to
the server with the next handshake, and kept until the server has it in its ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.model import Operation
from virtyard.runtime.database import Database, Transaction

__all__ = ["DeathRecords", "Settlement"]

_READ_PROOF = "SELECT operation, hello FROM proof WHERE server = ? AND hello >= 0"
_READ_SETTLED = "SELECT server, step_key, phase, attempt, record FROM settled_without ORDER BY server, step_key"
_PUT_PROOF = """
    INSERT INTO proof (server, operation, hello) VALUES (?, ?, ?)
    ON CONFLICT (server) DO UPDATE SET operation = excluded.operation, hello = excluded.hello
    WHERE excluded.operation > proof.operation
"""
_PUT_SETTLED = """
    INSERT INTO settled_without (server, step_key, phase, attempt, record) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET record = excluded.record
"""
_TOLD = "DELETE FROM settled_without WHERE server = ? AND step_key = ? AND phase = ? AND attempt = ?"
_END = "UPDATE proof SET hello = -1 WHERE server = ?"

Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One effect that was settled without its participant."""

    key: Key
    """Step key, phase and attempt."""
    record: participant.EffectRecord
    """What it came to."""

    @property
    def told(self) -> participant.SettledEffect:
        """Return it as its participant is told."""
        _, phase, attempt = self.key
        return participant.SettledEffect(phase=participant.Phase.ValueType(phase), attempt=attempt, record=self.record)


class DeathRecords:
    """Reads and writes them; what servers are to be told is kept in memory as the last commit left it."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database, which is open; know nothing until `recall`."""
        self._database = database
        self._settled: dict[str, dict[Key, Settlement]] = {}

    async def recall(self) -> None:
        """Read what an earlier process had to tell."""
        rows = await self._database.read(lambda sql: sql.execute(_READ_SETTLED).fetchall())
        for server, step_key, phase, attempt, body in rows:
            record = participant.EffectRecord.FromString(body)
            key = (step_key, phase, attempt)
            self._settled.setdefault(server, {})[key] = Settlement(key=key, record=record)

    async def proof_of(self, server: str) -> tuple[int, int] | None:
        """Return the operation that was last asked to record a proof, and the handshake before it; None if none was."""
        return await self._database.read(lambda sql: sql.execute(_READ_PROOF, (server,)).fetchone())

    @staticmethod
    def asking(server: str, hello: int) -> Callable[[Transaction, Operation], None]:
        """Return what notes, in the first commit of an operation, that it is to record a proof.

        A request that is repeated later revives nothing: its operation is not above the one that is noted.
        """

        def note(transaction: Transaction, operation: Operation) -> None:
            transaction.execute(_PUT_PROOF, (server, operation.number, hello))

        return note

    async def settle(self, server: str, settled: Sequence[Settlement]) -> None:
        """Make durable that a server is to be told of these, before anybody acts on them."""

        def write(transaction: Transaction) -> None:
            rows = [(server, *each.key, each.record.SerializeToString()) for each in settled]
            transaction.executemany(_PUT_SETTLED, rows)
            transaction.transition("jobs.proven")

        def keep(_: None) -> None:
            self._settled.setdefault(server, {}).update({each.key: each for each in settled})

        await self._database.write(write, after=keep)

    def settled_of(self, server: str) -> Mapping[Key, Settlement]:
        """Return what a server is to be told."""
        return dict(self._settled.get(server, {}))

    async def told(self, server: str, keys: Sequence[Key], *, proven: bool) -> None:
        """Forget what a server has in its ledger now, and end for ever the proof that its return has ended."""
        if not keys and not proven:
            return

        def write(transaction: Transaction) -> None:
            transaction.executemany(_TOLD, [(server, *key) for key in keys])
            transaction.execute(_END, (server,))
            transaction.transition("jobs.told")

        def keep(_: None) -> None:
            for key in keys:
                self._settled.get(server, {}).pop(key, None)

        await self._database.write(write, after=keep)
