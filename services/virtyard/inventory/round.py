"""A round: the effects that came together, carried out and recorded in one transaction.

What the ledger has is answered from it. What is stale is refused and leaves nothing behind; what fails is recorded as
failed, with nothing of it kept; what was to follow it is refused for ever (P1, P2, P8, P14).

A refusal that says *this message is stale* can never become an acceptance, since epochs, tokens, attempts and
generations only rise; so it needs no trace. That the read set of a plan has changed is what came of an attempt: members
may leave again as they came, so it is recorded, and the attempt is over however often it is sent again (P4).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import event_pb2, write_objects_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory.capacity import check_memory, check_space
from virtyard.inventory.events import tell
from virtyard.inventory.ledger import Entry, Ledger
from virtyard.inventory.life import Origin, tell_life
from virtyard.inventory.model import FeedWriter, Reader, RoundOutcome, Row, TypedObject
from virtyard.inventory.objects import read_rows
from virtyard.inventory.projections import present
from virtyard.inventory.selections import check_expected, check_requirement
from virtyard.inventory.writes import Writes
from virtyard.kernel.effects import (
    check_attempt,
    check_coverage,
    check_epoch,
    check_payload,
    check_settled,
    check_tokens,
    operation_number,
    payload,
    payload_hash,
)
from virtyard.kernel.errors import (
    InternalError,
    InvalidRequest,
    KeyRefused,
    Unsupported,
    VirtyardError,
)
from virtyard.kernel.names import wrap
from virtyard.runtime.status import to_status

__all__ = ["Round", "StepHook", "settle"]

StepHook: TypeAlias = Callable[[str, str], None]
"""Is told the key of a step, and whether it has acted; raises a VirtyardError where it is to fail."""

_log = logging.getLogger(__name__)
_SEQUENCE = "SELECT sequence FROM feed"


class Round:
    """Carries out effects within one transaction."""

    def __init__(
        self, transaction: FeedWriter, now: datetime, step_hook: StepHook | None = None, *, settled_below: int = 0
    ) -> None:
        """Begin a round.

        Args:
            transaction: the transaction of the whole round.
            now: the time that changed objects will show.
            step_hook: is told each step before it is done, `acted` after that, and `undo`; it may let it fail.
            settled_below: the number of the operation below which every key is refused.
        """
        self._step_hook = step_hook
        self._settled_below = settled_below
        self._transaction = transaction
        self._now = Timestamp()
        self._now.FromDatetime(now)
        self._ledger = Ledger(transaction)
        self._refused: dict[tuple[str, int], VirtyardError] = {}
        self._written: list[tuple[participant.EffectRecord, list[str]]] = []
        self._touched: dict[str, None] = {}
        self._rows: dict[str, Row | None] = {}
        self._held: dict[str, tuple[int, int]] = {}
        self._events: list[event_pb2.Event] = []

    def run(self, effects: Sequence[participant.Effect]) -> RoundOutcome:
        """Carry out the effects in their order and record what came of each."""
        records = [self._one(effect) for effect in effects]
        objects = self._show()
        tell(self._transaction, self._events)
        self._ledger.flush()
        return RoundOutcome(records=records, objects=objects)

    def _one(self, effect: participant.Effect) -> participant.EffectRecord:
        try:
            operation = operation_number(effect.step_key)
            digest = payload_hash(effect)
            check_settled(operation, self._settled_below, effect.step_key)
            check_epoch(effect.epoch, self._ledger.epoch(operation), effect.step_key)
            known = self._recorded(effect)
            if known is not None:
                self._ledger.raise_epoch(operation, effect.epoch)
                return known
            self._check_attempt(effect)
            check_coverage(effect.target, effect.locks)
            self._check_tokens(effect)
            broken = self._broken_predecessor(effect)
            if broken is None and not effect.HasField("require"):
                check_expected(self._transaction, effect.expected, operation)
            if self._step_hook is not None:
                self._step_hook(effect.step_key, "" if effect.phase == participant.PHASE_DO else "undo")
        except VirtyardError as error:
            self._refused[effect.step_key, effect.phase] = error
            return self._failed(effect, error)
        self._ledger.raise_epoch(operation, effect.epoch)
        if broken is not None:
            record = _not_begun(effect.step_key)
            record.error.CopyFrom(to_status(broken))
            self._ledger.add(_tombstone(operation, effect.step_key, effect.phase, effect.attempt, record))
            return record
        self._raise_tokens(effect)
        entry = Entry(
            operation=operation,
            step_key=effect.step_key,
            phase=effect.phase,
            attempt=effect.attempt,
            payload_hash=digest,
            record=participant.EffectRecord(),
        )
        self._ledger.add(self._carry_out(effect, entry))
        return entry.record

    def _recorded(self, effect: participant.Effect) -> participant.EffectRecord | None:
        """Return what the ledger has under the effect's key.

        Raises:
            PayloadMismatch: it has it for another payload.
        """
        entry = self._ledger.find(effect.step_key, effect.phase, effect.attempt)
        if entry is None:
            return None
        if entry.payload_hash:
            check_payload(effect, entry.payload_hash)
        elif not entry.record.HasField("error"):
            entry.record.error.CopyFrom(
                to_status(KeyRefused(f"{effect.step_key} was settled as never begun", resource=effect.target))
            )
        return entry.record

    def _check_attempt(self, effect: participant.Effect) -> None:
        attempts = self._ledger.attempts(effect.step_key, effect.phase)
        check_attempt(effect.attempt, attempts[0].attempt if attempts else 0, False, effect.step_key)

    def _check_tokens(self, effect: participant.Effect) -> None:
        """Refuse overtaken locks; those that this round saw last on their objects need no second look."""
        unseen = [lock for lock in effect.locks if self._held.get(lock.object) != (lock.mode, lock.fencing_token)]
        if unseen:
            check_tokens(unseen, self._ledger.tokens(unseen))

    def _raise_tokens(self, effect: participant.Effect) -> None:
        for lock in effect.locks:
            held = (lock.mode, lock.fencing_token)
            if self._held.get(lock.object) != held:
                self._ledger.raise_token(lock)
                self._held[lock.object] = held

    def _broken_predecessor(self, effect: participant.Effect) -> KeyRefused | None:
        """Return why the effect must not begin: the one before it was not done.

        Raises:
            VirtyardError: the one before it was refused, and left no trace; so is this one.
            InvalidRequest: the ledger does not know the one before it.
        """
        if not effect.after:
            return None
        refused = self._refused.get((effect.after, effect.phase))
        if refused is not None:
            raise refused
        attempts = self._ledger.attempts(effect.after, effect.phase)
        if not attempts:
            raise InvalidRequest.of("after", f"{effect.after} is unknown; allowed is an effect of the same round")
        if attempts[0].record.state == participant.EFFECT_STATE_DONE:
            return None
        return KeyRefused(f"{effect.step_key} was never begun: {effect.after} before it was not done")

    def _carry_out(self, effect: participant.Effect, entry: Entry) -> Entry:
        """Do what the effect says, all or nothing, and fill in its entry."""
        execute = self._transaction.execute
        execute("SAVEPOINT effect")
        try:
            if effect.HasField("require"):
                check_requirement(self._transaction, effect.require, entry.operation)
                check_expected(self._transaction, effect.expected, entry.operation)
            self._apply(effect, entry)
        except VirtyardError as error:
            failure = error
        except sqlite3.OperationalError:
            # The database cannot go on: nobody is answered from this transaction.
            raise
        except Exception as error:  # noqa: BLE001 - a defect in one effect must not stop those beside it
            _log.exception("effect %s could not be carried out", effect.step_key)
            failure = InternalError(f"{effect.step_key} could not be carried out: {type(error).__name__}: {error}")
        else:
            execute("RELEASE effect")
            return entry
        execute("ROLLBACK TO effect")
        execute("RELEASE effect")
        entry.record.CopyFrom(self._failed(effect, failure))
        entry.prior = b""
        return entry

    def _apply(self, effect: participant.Effect, entry: Entry) -> None:
        carried = payload(effect)
        reverting = carried.Is(write_objects_pb2.RevertWrites.DESCRIPTOR)
        asked = write_objects_pb2.WriteObjects()
        if reverting:
            if effect.phase != participant.PHASE_UNDO:
                raise InvalidRequest.of("do", "RevertWrites is an undo only")
            asked.MergeFromString(self._prior_of(effect.step_key))
        elif not carried.Unpack(asked):
            raise Unsupported(f"the inventory cannot carry out {carried.TypeName()}", resource=effect.target)
        writes = Writes(
            self._transaction,
            operation=entry.operation,
            now=self._now,
            reverting=reverting,
            principal=effect.principal,
        )
        writes.stage(asked.writes)
        changed = writes.store()
        if not reverting:
            check_space(self._transaction, writes.filled)
            check_memory(self._transaction, asked.memory_reservations)
            entry.prior = writes.inverse.SerializeToString()
        if self._step_hook is not None and effect.phase == participant.PHASE_DO:
            self._step_hook(effect.step_key, "acted")
        entry.record.step_key = effect.step_key
        entry.record.state = participant.EFFECT_STATE_DONE
        entry.record.changed = changed
        self._touched.update(writes.touched)
        self._rows.update(writes.rows)
        self._written.append((entry.record, writes.names))
        origin = Origin.of(effect.step_key, undone=effect.phase == participant.PHASE_UNDO)
        for event in writes.events:
            event.job = origin.job
        self._events += writes.events
        if writes.changes:
            self._events += tell_life(self._transaction, writes.changes, origin, self._now)

    def _prior_of(self, step_key: str) -> bytes:
        """Return what puts back what the step did; nothing if it did nothing."""
        for entry in self._ledger.attempts(step_key, participant.PHASE_DO):
            if entry.record.state == participant.EFFECT_STATE_DONE:
                return entry.prior
        return b""

    def _show(self) -> dict[str, TypedObject | None]:
        """Publish every touched object once, as it is after the whole round, and fill in the results."""
        wanted = dict(self._touched)
        for _, names in self._written:
            wanted.update(dict.fromkeys(names))
        unread = [name for name in wanted if name not in self._rows]
        rows = {**self._rows, **(read_rows(self._transaction, unread) if unread else {})}
        shown = present(
            self._transaction, [row for row in map(rows.get, wanted) if row is not None and not row.deleted]
        )
        objects: dict[str, TypedObject] = {message.name: message for message in shown}
        wrapped = {name: wrap(message) for name, message in objects.items()}
        sequence = 0
        for name in self._touched:
            if name in wrapped:
                sequence = self._transaction.append("object", name, wrapped[name].SerializeToString())
            elif name in self._rows:
                sequence = self._transaction.append("object", name, b"", removed=True)
        if self._written and not sequence:
            (sequence,) = self._transaction.execute(_SEQUENCE).fetchone()
        for record, names in self._written:
            found = [wrapped[name] for name in names if name in wrapped]
            record.result.Pack(write_objects_pb2.WriteObjectsResult(objects=found, sequence=sequence))
        return {name: objects.get(name) for name in self._touched if name in objects or name in self._rows}

    def _failed(self, effect: participant.Effect, error: VirtyardError) -> participant.EffectRecord:
        return participant.EffectRecord(
            step_key=effect.step_key, state=participant.EFFECT_STATE_FAILED, error=to_status(error)
        )


def settle(
    transaction: Reader, request: participant.SettleRequest, *, settled_below: int = 0
) -> participant.EffectRecord:
    """Return what came of an effect; if it never began, refuse its key for ever (P1), as those below the floor are.

    Raises:
        StaleEpoch: another scheduler has adopted the operation.
        InvalidRequest: the key is malformed.
    """
    operation = operation_number(request.step_key)
    if request.phase not in (participant.PHASE_DO, participant.PHASE_UNDO):
        raise InvalidRequest.of("phase", "allowed are PHASE_DO and PHASE_UNDO")
    if request.attempt < 1:
        raise InvalidRequest.of("attempt", f"{request.attempt} is not allowed; attempts count from 1")
    if operation < settled_below:
        return _not_begun(request.step_key)
    ledger = Ledger(transaction)
    check_epoch(request.epoch, ledger.epoch(operation), request.step_key)
    ledger.raise_epoch(operation, request.epoch)
    entry = ledger.find(request.step_key, request.phase, request.attempt)
    if entry is None:
        record = _not_begun(request.step_key)
        entry = _tombstone(operation, request.step_key, request.phase, request.attempt, record)
        ledger.add(entry)
        ledger.flush()
    return entry.record


def _not_begun(step_key: str) -> participant.EffectRecord:
    return participant.EffectRecord(step_key=step_key, state=participant.EFFECT_STATE_NOT_BEGUN)


def _tombstone(operation: int, step_key: str, phase: int, attempt: int, record: participant.EffectRecord) -> Entry:
    return Entry(operation=operation, step_key=step_key, phase=phase, attempt=attempt, payload_hash=b"", record=record)
