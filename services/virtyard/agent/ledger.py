"""The ledger of a host: every effect that it accepted, what came of it, and the highest epochs and tokens seen.

Nothing is begun before its row is durable (A1), nothing is told before its result is (A2), and a key that was refused
once is refused for ever. The same call answers a repeated effect from here, so nothing is ever done twice (P1, P8).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from google.rpc import status_pb2

from virtyard.agent import handshake, proven
from virtyard.agent.model import Decision, Key, Verdict, key_of
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.clock import Clock
from virtyard.kernel.effects import (
    check_attempt,
    check_coverage,
    check_epoch,
    check_payload,
    check_settled,
    check_tokens,
    operation_number,
    payload_hash,
)
from virtyard.kernel.errors import InvalidRequest, KeyRefused, VirtyardError
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.floor import FloorKeeper, Floors
from virtyard.runtime.metrics import Metrics

T = TypeVar("T")
Describe = Callable[[VirtyardError], status_pb2.Status]
"""Turns an error into the status that a record keeps."""

_RUNNING = participant.EFFECT_STATE_RUNNING
_FIND = "SELECT state, record, payload_hash, effect FROM ledger WHERE step_key = ? AND phase = ? AND attempt = ?"
_LATEST = "SELECT attempt, state FROM ledger WHERE step_key = ? AND phase = ? ORDER BY attempt DESC LIMIT 1"
_INSERT = """
    INSERT INTO ledger
    (step_key, phase, attempt, operation, payload_hash, effect, state, record, accepted, accept_time)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FINISH = "UPDATE ledger SET state = ?, record = ? WHERE step_key = ? AND phase = ? AND attempt = ? AND state = ?"
_UNDER_WAY = "SELECT effect FROM ledger WHERE state = 2 ORDER BY accepted"
_RAISE_EPOCH = """
    INSERT INTO epoch (operation, epoch) VALUES (?, ?)
    ON CONFLICT (operation) DO UPDATE SET epoch = max(epoch, excluded.epoch)
"""
_RAISE_MARK = """
    INSERT INTO token (object, mode, token) VALUES (?, ?, ?)
    ON CONFLICT (object, mode) DO UPDATE SET token = max(token, excluded.token)
"""
_DO_RECORD = """
    SELECT record FROM ledger WHERE step_key = ? AND phase = 1 AND state = 3 ORDER BY attempt DESC LIMIT 1
"""


def _count_start(transaction: Transaction) -> int:
    transaction.transition("agent.start")
    (count,) = transaction.execute("UPDATE start SET count = count + 1 RETURNING count").fetchone()
    return int(count)


class Ledger:
    """The ledger in its database."""

    def __init__(self, database: Database, clock: Clock, describe: Describe) -> None:
        """Use `open`."""
        self._database = database
        self._clock = clock
        self._describe = describe
        self._sealed_below = 0
        self._life = ""
        self.floor = FloorKeeper(database, handshake.forget_settled, "agent.floor")
        """Below which operation every key is refused, and nothing is remembered."""
        self.position = 0
        self.start = 0
        """How often this ledger was opened, this time included."""

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        describe: Describe,
        *,
        transition_hook: Callable[[str], None] | None = None,
        commit_hook: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Ledger:
        """Open ledger.db; the arguments are those of `Database.open`.

        Raises:
            WrongState: another agent has it open.
            Unavailable: it cannot be opened, or this start cannot be counted; there may be no room.
        """
        database = await Database.open(
            path,
            "virtyard.agent.migrations",
            None,
            clock,
            transition_hook=transition_hook,
            commit_hook=commit_hook,
            shrinks=True,
        )
        ledger = cls(database, clock, describe)
        try:
            await ledger._recall()
        except BaseException:
            # Its threads would outlive the error, and keep a process that cannot start from ending.
            await database.close()
            raise
        return ledger

    @property
    def id(self) -> str:
        """Return the identity of the ledger, made with it."""
        return self._database.identity

    @property
    def life(self) -> str:
        """Return the identity with the life of the ledger: positions of one life only can be compared (P27)."""
        return f"{self.id}-{self._life}" if self._life else self.id

    @property
    def commits(self) -> int:
        """Return how many commits the database has made since it was opened."""
        return self._database.commits

    def measure(self, metrics: Metrics) -> None:
        """Count the commits of the database."""
        metrics.watch_database(self._database)

    def on_doubt(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after a commit whose outcome is unknown: effects may be accepted that nobody began."""
        self._database.on_reopen(callback)

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()

    async def _recall(self) -> None:
        """Read what is kept in memory, and count this start."""
        (self.position,) = await self._database.read(lambda sql: sql.execute("SELECT value FROM position").fetchone())
        await self.floor.open()
        self._sealed_below = await self._database.read(handshake.sealed_below)
        self._life = await self._database.read(handshake.life_of)
        self.start = await self._database.write(_count_start)

    async def accept(
        self, effects: Sequence[participant.Effect], after: Callable[[list[Decision]], None]
    ) -> list[Decision]:
        """Decide on effects that came together, in one commit with their high-water marks (A1).

        Args:
            effects: what came, in order.
            after: is handed the decisions between the commit and any later one.
        """
        now = self._clock.now()
        return await self._database.write(lambda sql: self._accept(sql, effects, now), after=after)

    async def finish(
        self, key: Key, record: participant.EffectRecord, after: Callable[[participant.EffectRecord], None]
    ) -> None:
        """Record how an effect ended, and give the record its position (A2); `after` is handed what is recorded.

        Raises:
            Unavailable: the commit failed; call it again.
        """

        def finish(sql: Transaction) -> participant.EffectRecord:
            record.ledger_sequence = self._advance(sql)
            updated = sql.execute(_FINISH, (record.state, record.SerializeToString(), *key, _RUNNING))
            sql.transition("agent.A2", [key.step_key])
            if updated.rowcount == 1:
                return record
            _, kept, _, _ = sql.execute(_FIND, key).fetchone()  # a commit that seemed to fail was durable
            return participant.EffectRecord.FromString(kept)

        await self._database.write(finish, after=after)

    async def settle(
        self, request: participant.SettleRequest, after: Callable[[participant.EffectRecord | None], None]
    ) -> participant.EffectRecord | None:
        """Return what came of an effect, None while it is under way; one that never came is refused for ever (P1).

        Raises:
            StaleEpoch: another scheduler has adopted the operation.
            InvalidRequest: the key is malformed.
        """
        operation = operation_number(request.step_key)
        if request.phase not in {participant.PHASE_DO, participant.PHASE_UNDO}:
            raise InvalidRequest.of("phase", "allowed are PHASE_DO and PHASE_UNDO")
        if request.attempt < 1:
            raise InvalidRequest.of("attempt", f"{request.attempt} is not allowed; attempts count from 1")
        now = self._clock.now()
        return await self._database.write(lambda sql: self._settle(sql, request, operation, now), after=after)

    async def greet(self, request: participant.HelloRequest) -> handshake.Greeting:
        """Number a handshake, durably, and forget what is below the floors that came with it.

        What was settled while this host was proven dead becomes the result of its effects in the same commit (P17).

        Raises:
            Unavailable: a commit failed; greet again.
        """
        floors = Floors(settled_below=request.settled_below, tokens_below=request.tokens_below)
        await self.floor.raise_to(floors)
        now = self._clock.now()

        def greet(sql: Transaction) -> handshake.Greeting:
            overruled = proven.take_over(sql, request.settled, lambda: self._advance(sql), now)
            hello = handshake.greet(sql, request.hello)
            return handshake.Greeting(hello=hello, position=self.position, overruled=overruled)

        return await self._database.write(greet)

    def check_open(self, step_key: str) -> None:
        """Refuse the key of an operation that ended and is forgotten (P18).

        Raises:
            KeyRefused: the operation is forgotten.
        """
        check_settled(operation_number(step_key), self.floor.settled_below, step_key)

    async def seal(self, request: participant.ResyncRequest) -> None:
        """Refuse every operation below the next one that is not open: what was done for it may be forgotten here.

        Raises:
            Unavailable: the commit failed; ask again.
        """
        self._sealed_below = max(self._sealed_below, request.next_operation)
        self._life = await self._database.write(lambda sql: handshake.seal(sql, request.next_operation, request.epochs))

    async def recorded(self, request: participant.SettleRequest) -> participant.EffectRecord | None:
        """Return how an effect ended, if the ledger has it; nothing is refused or written."""
        key = Key(request.step_key, int(request.phase), request.attempt)
        row = await self._database.read(lambda sql: sql.execute(_FIND, key).fetchone())
        return None if row is None or row[0] == _RUNNING else participant.EffectRecord.FromString(row[1])

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on one snapshot of the ledger."""
        return await self._database.read(function)

    async def under_way(self) -> list[participant.Effect]:
        """Return the effects without a result, in the order in which they were accepted."""
        rows = await self._database.read(lambda sql: sql.execute(_UNDER_WAY).fetchall())
        return [participant.Effect.FromString(row[0]) for row in rows]

    async def done_record(self, step_key: str) -> participant.EffectRecord | None:
        """Return what doing a step came to, if it was done."""
        row = await self._database.read(lambda sql: sql.execute(_DO_RECORD, (step_key,)).fetchone())
        return None if row is None else participant.EffectRecord.FromString(row[0])

    def _accept(self, sql: Transaction, effects: Sequence[participant.Effect], now: datetime) -> list[Decision]:
        decisions: list[Decision] = []
        refused: dict[tuple[str, int], VirtyardError] = {}
        for effect in effects:
            try:
                decisions.append(self._decide(sql, effect, refused, now))
            except VirtyardError as error:
                refused[effect.step_key, effect.phase] = error
                record = participant.EffectRecord(
                    step_key=effect.step_key, state=participant.EFFECT_STATE_FAILED, error=self._describe(error)
                )
                decisions.append(Decision(effect=effect, verdict=Verdict.ANSWER, record=record))
        begun = [decision.effect.step_key for decision in decisions if decision.verdict is Verdict.BEGIN]
        # Without a beginning there may be epochs that rose, and tombstones.
        sql.transition("agent.A1" if begun else "agent.heard", begun)
        return decisions

    def _decide(
        self,
        sql: Transaction,
        effect: participant.Effect,
        refused: dict[tuple[str, int], VirtyardError],
        now: datetime,
    ) -> Decision:
        """Check an effect against everything seen; a refusal raises and leaves no trace."""
        operation = operation_number(effect.step_key)
        digest = payload_hash(effect)
        check_settled(operation, self.floor.settled_below, effect.step_key)
        seen = _epoch(sql.connection, operation)
        check_settled(operation, 0 if seen else self._sealed_below, effect.step_key)
        check_epoch(effect.epoch, seen, effect.step_key)
        known = sql.execute(_FIND, key_of(effect)).fetchone()
        if known is not None:
            return self._recorded(sql, effect, operation, known)
        latest = sql.execute(_LATEST, (effect.step_key, effect.phase)).fetchone() or (0, 0)
        check_attempt(effect.attempt, latest[0], latest[1] == _RUNNING, effect.step_key)
        check_coverage(effect.target, effect.locks)
        check_tokens(effect.locks, _tokens(sql.connection, effect.locks))
        broken = _broken_predecessor(sql, effect, refused)
        sql.execute(_RAISE_EPOCH, (operation, effect.epoch))
        if broken is not None:
            record = self._refuse_for_ever(sql, key_of(effect), operation, now, broken)
            return Decision(effect=effect, verdict=Verdict.ANSWER, record=record)
        sql.executemany(_RAISE_MARK, [(lock.object, lock.mode, lock.fencing_token) for lock in effect.locks])
        row = (operation, digest, effect.SerializeToString(), _RUNNING, b"", self._advance(sql), now.timestamp())
        sql.execute(_INSERT, (*key_of(effect), *row))
        return Decision(effect=effect, verdict=Verdict.BEGIN)

    def _recorded(
        self, sql: Transaction, effect: participant.Effect, operation: int, known: tuple[int, bytes, bytes, bytes]
    ) -> Decision:
        """Return what the ledger has under the effect's key."""
        state, body, digest, _ = known
        if digest:
            check_payload(effect, digest)
        sql.execute(_RAISE_EPOCH, (operation, effect.epoch))
        if state == _RUNNING:
            return Decision(effect=effect, verdict=Verdict.ATTACH)
        record = participant.EffectRecord.FromString(body)
        if state == participant.EFFECT_STATE_NOT_BEGUN and not record.HasField("error"):
            record.error.CopyFrom(self._describe(KeyRefused(f"{effect.step_key} was settled as never begun")))
        return Decision(effect=effect, verdict=Verdict.ANSWER, record=record)

    def _settle(
        self, sql: Transaction, request: participant.SettleRequest, operation: int, now: datetime
    ) -> participant.EffectRecord | None:
        if operation < self.floor.settled_below:
            return participant.EffectRecord(step_key=request.step_key, state=participant.EFFECT_STATE_NOT_BEGUN)
        check_epoch(request.epoch, _epoch(sql.connection, operation), request.step_key)
        sql.execute(_RAISE_EPOCH, (operation, request.epoch))
        sql.transition("agent.settled", [request.step_key])
        key = Key(request.step_key, int(request.phase), request.attempt)
        known = sql.execute(_FIND, key).fetchone()
        if known is None:
            return self._refuse_for_ever(sql, key, operation, now, None)
        return None if known[0] == _RUNNING else participant.EffectRecord.FromString(known[1])

    def _refuse_for_ever(
        self, sql: Transaction, key: Key, operation: int, now: datetime, why: VirtyardError | None
    ) -> participant.EffectRecord:
        """Write a tombstone: the key was never begun and never will be."""
        record = participant.EffectRecord(
            step_key=key.step_key,
            state=participant.EFFECT_STATE_NOT_BEGUN,
            error=self._describe(why) if why else None,
            ledger_sequence=self._advance(sql),
        )
        row = (operation, b"", b"", record.state, record.SerializeToString(), record.ledger_sequence, now.timestamp())
        sql.execute(_INSERT, (*key, *row))
        return record

    def _advance(self, sql: Transaction) -> int:
        (value,) = sql.execute("UPDATE position SET value = value + 1 RETURNING value").fetchone()
        self.position = max(self.position, int(value))
        return int(value)


def _broken_predecessor(
    sql: Transaction, effect: participant.Effect, refused: dict[tuple[str, int], VirtyardError]
) -> KeyRefused | None:
    """Return why the effect must not begin: the one before it in its round was not done.

    Raises:
        VirtyardError: the one before it was refused and left no trace; so is this one.
        InvalidRequest: the ledger does not know the one before it.
    """
    if not effect.after:
        return None
    if (effect.after, effect.phase) in refused:
        raise refused[effect.after, effect.phase]
    latest = sql.execute(_LATEST, (effect.after, effect.phase)).fetchone()
    if latest is None:
        raise InvalidRequest.of("after", f"{effect.after} is unknown; allowed is an effect of the same round")
    if latest[1] in {participant.EFFECT_STATE_DONE, _RUNNING}:
        return None
    return KeyRefused(f"{effect.step_key} was never begun: {effect.after} before it was not done")


def _epoch(sql: sqlite3.Connection, operation: int) -> int:
    row = sql.execute("SELECT epoch FROM epoch WHERE operation = ?", (operation,)).fetchone()
    return int(row[0]) if row else 0


def _tokens(sql: sqlite3.Connection, locks: Sequence[lock_pb2.LockToken]) -> dict[tuple[str, int], int]:
    return {
        (lock.object, mode): token
        for lock in locks
        for mode, token in sql.execute("SELECT mode, token FROM token WHERE object = ?", (lock.object,))
    }
