"""The greeter: the scheduler's side of the handshake with participants, and what it knows of their ledgers (P18)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.death_records import DeathRecords
from virtyard.jobs.effects import make_round
from virtyard.jobs.model import Operation
from virtyard.jobs.settled import Settled
from virtyard.kernel.job_states import StepState
from virtyard.kernel.names import INVENTORY
from virtyard.runtime.database import Database, Transaction

__all__ = ["Greeter", "KnownLedger", "KnownLedgers", "open_effects"]

_HELLO_TIMEOUT = 5.0
_RESYNC_TIMEOUT = 120.0
_READ = "SELECT name, ledger_id, sequence, hello FROM participant"
_WRITE = """
    INSERT INTO participant (name, ledger_id, sequence, hello) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET
        ledger_id = excluded.ledger_id, sequence = excluded.sequence, hello = excluded.hello
"""
_PHASES = {StepState.STARTED: participant.PHASE_DO, StepState.UNDOING: participant.PHASE_UNDO}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLedger:
    """What is known of one participant's ledger."""

    ledger_id: str = ""
    """Its identity; empty before the first handshake."""
    sequence: int = 0
    """The last position that was heard of."""
    hello: int = 0
    """The number of the last handshake."""


class KnownLedgers:
    """What is known of every ledger; positions become durable with the commit of the results that they came with."""

    def __init__(self, database: Database) -> None:
        """Keep it in this database, which is open."""
        self._database = database
        self._known: dict[str, KnownLedger] = {}
        self._moved: set[str] = set()

    async def recall(self) -> None:
        """Read what an earlier process knew."""
        rows = await self._database.read(lambda sql: sql.execute(_READ).fetchall())
        for name, ledger_id, sequence, hello in rows:
            self._known[name] = KnownLedger(ledger_id=ledger_id, sequence=sequence, hello=hello)

    def of(self, name: str) -> KnownLedger:
        """Return what is known of a participant's ledger."""
        return self._known.get(name, KnownLedger())

    def move(self, name: str, sequence: int) -> None:
        """Note a position, to be written with the next commit of any operation."""
        known = self._known.get(name)
        if known is not None and sequence > known.sequence:
            self._known[name] = replace(known, sequence=sequence)
            self._moved.add(name)

    async def meet(self, name: str, known: KnownLedger) -> None:
        """Make what a handshake has shown durable."""

        def write(transaction: Transaction) -> None:
            transaction.execute(_WRITE, (name, known.ledger_id, known.sequence, known.hello))
            transaction.transition("jobs.hello")

        await self._database.write(write, after=lambda _: self._known.__setitem__(name, known))

    def take_moved(self) -> list[tuple[str, str, int, int]]:
        """Return the rows that have changed since the last time, for `write_moved`."""
        moved, self._moved = self._moved, set()
        found = [(name, self._known[name]) for name in sorted(moved)]
        return [(name, known.ledger_id, known.sequence, known.hello) for name, known in found]

    @staticmethod
    def write_moved(transaction: Transaction, rows: list[tuple[str, str, int, int]]) -> None:
        """Write what `take_moved` gave."""
        if rows:
            transaction.executemany(_WRITE, rows)


class Greeter:
    """Greets participants; a ledger that lacks something is told what is open before anything else is sent."""

    def __init__(
        self,
        ledgers: KnownLedgers,
        settled: Settled,
        read_open: Callable[[], Awaitable[Sequence[Operation]]],
        deaths: DeathRecords,
    ) -> None:
        """Compare with what is known of ledgers, tell what is settled, and what is open as the database has it."""
        self._deaths = deaths
        self._ledgers = ledgers
        self._settled = settled
        self._read_open = read_open

    async def greet(self, name: str, stub: Any) -> int:
        """Greet a participant at the begin of a stream and return the number of the handshake.

        Args:
            name: the name of a server; the inventory is not greeted, as it is never closed.
            stub: its ParticipantService.

        Raises:
            AioRpcError: it does not answer, or is not ready; greet again.
        """
        if name == INVENTORY:
            return 0
        known = self._ledgers.of(name)
        proven = await self._deaths.proof_of(name) is not None
        if proven:
            # Whoever can be greeted is not dead: from here on the proof is worth nothing, whatever becomes of this.
            known = replace(known, hello=known.hello + 1)
            await self._ledgers.meet(name, known)
        without = self._deaths.settled_of(name)
        request = participant.HelloRequest(
            settled=[each.told for each in without.values()],
            settled_below=self._settled.below,
            tokens_below=self._settled.tokens_below,
            ledger_id=known.ledger_id,
            ledger_sequence=known.sequence,
            hello=known.hello,
        )
        answer = await stub.Hello(request, timeout=_HELLO_TIMEOUT)
        sequence = answer.ledger_sequence
        # Durable before anything is sent under it: a ledger that is lost later begins above it.
        await self._ledgers.meet(name, replace(known, hello=answer.hello))
        if answer.overruled:
            _log.warning("%s had done %s after all; it is refreshed", name, ", ".join(answer.overruled))
        await self._deaths.told(name, list(without), proven=proven)
        if answer.closed:
            sequence = await self._resync(name, stub, answer.hello)
        met = KnownLedger(ledger_id=answer.ledger_id, sequence=sequence, hello=answer.hello)
        await self._ledgers.meet(name, met)
        return int(answer.hello)

    def stamp(self, request: participant.ExecuteRequest, hello: int) -> participant.ExecuteRequest:
        """Put what is settled, and the number of the handshake, into a message of effects."""
        request.settled_below, request.tokens_below = self._settled.below, self._settled.tokens_below
        request.hello = hello
        return request

    def note(self, name: str, record: participant.EffectRecord) -> None:
        """Note the position of the ledger that a result came with."""
        if name != INVENTORY:
            self._ledgers.move(name, record.ledger_sequence)

    async def _resync(self, name: str, stub: Any, hello: int) -> int:
        # Taken before the operations are read: of those below it none is missing, also not one that is set aside.
        next_number = self._settled.next_number
        operations = await self._read_open()
        effects = [effect for operation in operations for effect in open_effects(operation, name)]
        _log.warning("the ledger of %s is not the known one; %d effects are looked for by marks", name, len(effects))
        request = participant.ResyncRequest(
            hello=hello,
            next_operation=next_number,
            epochs=[
                participant.OperationEpoch(operation=operation.number, epoch=operation.record.epoch)
                for operation in operations
            ],
            effects=effects,
        )
        answer = await stub.Resync(request, timeout=_RESYNC_TIMEOUT)
        return int(answer.ledger_sequence)


def open_effects(operation: Operation, name: str) -> Iterator[participant.Effect]:
    """Yield the effects of an operation whose intents are durable and which a participant has not answered."""
    record = operation.record
    for reference, ref in operation.shape.steps.items():
        if ref.step.participant != name or reference not in record.steps:
            continue
        phase = _PHASES.get(StepState(record.steps[reference].state))
        if phase is not None:
            yield from make_round(operation, [ref], phase)
