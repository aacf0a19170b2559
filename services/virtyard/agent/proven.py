"""What was settled while this host was proven dead: it becomes the result of the effects in the ledger (P17).

It comes with the handshake, before anything that an earlier agent left is taken up and before anything is sent. So a
key that others have settled is never acted on again, whatever had become of it here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from virtyard.agent.model import Key
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.effects import operation_number
from virtyard.runtime.database import Transaction

__all__ = ["key_of_settled", "take_over"]

_DONE = participant.EFFECT_STATE_DONE
_STATE = "SELECT state FROM ledger WHERE step_key = ? AND phase = ? AND attempt = ?"
_PUT = """
    INSERT INTO ledger
    (step_key, phase, attempt, operation, payload_hash, effect, state, record, accepted, accept_time)
    VALUES (?, ?, ?, ?, x'', x'', ?, ?, ?, ?)
    ON CONFLICT (step_key, phase, attempt) DO UPDATE SET state = excluded.state, record = excluded.record
"""


def key_of_settled(settled: participant.SettledEffect) -> Key:
    """Return the key of an effect that was settled."""
    return Key(settled.record.step_key, int(settled.phase), settled.attempt)


def take_over(
    transaction: Transaction,
    settled: Sequence[participant.SettledEffect],
    advance: Callable[[], int],
    now: datetime,
) -> tuple[str, ...]:
    """Write what effects came to by the word of others; return the step keys that were done here all the same.

    Args:
        transaction: the transaction of the handshake.
        settled: what was settled.
        advance: moves the position of the ledger on by one, and returns it.
        now: the time at which it was heard of.
    """
    overruled = []
    for each in settled:
        key, state = key_of_settled(each), each.record.state
        known = transaction.execute(_STATE, key).fetchone()
        if known is not None and known[0] == _DONE and state != _DONE:
            overruled.append(each.record.step_key)
        record = participant.EffectRecord()
        record.CopyFrom(each.record)
        record.ledger_sequence = advance()
        row = (operation_number(key.step_key), state, record.SerializeToString(), record.ledger_sequence)
        transaction.execute(_PUT, (*key, *row, now.timestamp()))
    if settled:
        transaction.transition("agent.proven", [each.record.step_key for each in settled])
    return tuple(overruled)
