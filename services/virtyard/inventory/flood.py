"""The flood: many events of one type and object in a short time, folded into one with a count.

The first few of a time are recorded each. Once there are as many as the rule allows, the next ones are counted in the
latest, until none has come for as long as the rule's time. Nothing of it is kept in memory: the log itself says what
came lately, so a restart forgets nothing. A condition that lasts as long as its operation is folded within that
operation only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from virtyard.api.inventory.v1 import event_pb2
from virtyard.inventory.event_changes import revise
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.kernel import event_types
from virtyard.kernel.event_types import is_of_operation
from virtyard.runtime.database import Database, Transaction

__all__ = ["USUAL_RULE", "FloodRule", "flood_event", "fold", "folded_before", "forget_folds", "keep_rule"]

_KNOWN = "SELECT 1 FROM event_fold WHERE key = ?"
_NOTE = "INSERT INTO event_fold (key, number, time) VALUES (?, ?, ?)"
_FORGET = "DELETE FROM event_fold WHERE time < ?"
_RULE = "SELECT events, time FROM flood"
_SET_RULE = "UPDATE flood SET events = ?, time = ?"
_ANY_OLD = "SELECT 1 FROM event_fold WHERE time < ? LIMIT 1"
_ALIKE = """
    SELECT time, body FROM event INDEXED BY event_alike
    WHERE key IS NOT NULL AND object = ? AND type = ? ORDER BY number DESC LIMIT ?
"""
_ALIKE_OF_OPERATION = """
    SELECT time, body FROM event INDEXED BY event_alike
    WHERE key IS NOT NULL AND object = ? AND type = ? AND operation = ? ORDER BY number DESC LIMIT ?
"""
_MICROSECONDS = 1_000_000
KEYS_KEPT = timedelta(days=7)
"""How long it is known of a folded event that it was counted; whoever raises it again does so within this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodRule:
    """From when on events of one type and object are folded."""

    events: int = 10
    """So many within the time are recorded each."""
    seconds: float = 60.0
    """The time, and how long none must have come for a flood to be over."""


USUAL_RULE = FloodRule()
"""What a site folds, unless its configuration says otherwise."""


async def keep_rule(database: Database, rule: FloodRule) -> None:
    """Store the rule that holds from now on, where every transaction that records an event finds it."""
    row = (rule.events, round(rule.seconds * _MICROSECONDS))

    def store(transaction: Transaction) -> None:
        transaction.execute(_SET_RULE, row)
        transaction.transition("inventory.flood")

    if await database.read(lambda connection: connection.execute(_RULE).fetchone()) != row:
        await database.write(store)


def folded_before(reader: Reader, key: str) -> bool:
    """Return whether the event of this key was folded into another one."""
    return reader.execute(_KNOWN, (key,)).fetchone() is not None


def fold(
    transaction: FeedWriter, key: str, event: event_pb2.Event, now: datetime
) -> tuple[event_pb2.Event, bool] | None:
    """Count an event in the one that it belongs to, if it is part of a flood.

    Args:
        transaction: the transaction.
        key: the event's key.
        event: the event, not recorded.
        now: when it came.

    Returns:
        The event that it was counted in, and whether the flood begins with it; None if it is to be recorded.
    """
    if event.type == event_types.FLOOD_FOLDED.name:
        return None
    most, time = transaction.execute(_RULE).fetchone()
    alike = _alike(transaction, event, most)
    if not alike:
        return None
    latest = event_pb2.Event.FromString(alike[0][1])
    moment = round(now.timestamp() * _MICROSECONDS)
    last = latest.last_time.ToMicroseconds() if latest.HasField("last_time") else alike[0][0]
    going_on = latest.count > 1 and moment - last < time
    begins = not going_on and len(alike) == most and moment - alike[-1][0] < time
    if latest.HasField("acknowledge_time") or not (going_on or begins):
        return None
    latest.count = max(latest.count, 1) + 1
    if not latest.HasField("first_time"):
        latest.first_time.CopyFrom(latest.create_time)
    latest.last_time.FromDatetime(now.astimezone(UTC))
    # It has come again since it was cleared.
    for field in ("cleared", "clear_time", "cleared_by"):
        latest.ClearField(field)
    transaction.execute(_NOTE, (key, int(latest.name.rpartition("/")[2]), moment))
    revise(transaction, latest)
    return latest, begins


def flood_event(folded: event_pb2.Event) -> event_pb2.Event:
    """Return the event that tells of the beginning of a flood, without its name and time."""
    text = f"{folded.type} comes so often for {folded.object} that it is counted in {folded.name} from now on"
    return event_types.new_event(event_types.FLOOD_FOLDED, folded.object, text)


async def forget_folds(database: Database, now: datetime) -> None:
    """Forget the keys that nobody raises again."""
    before = (round((now - KEYS_KEPT).timestamp() * _MICROSECONDS),)

    def forget(transaction: Transaction) -> None:
        transaction.execute(_FORGET, before)
        transaction.transition("inventory.folds")

    if await database.read(lambda connection: connection.execute(_ANY_OLD, before).fetchone()) is not None:
        await database.write(forget)


def _alike(reader: Reader, event: event_pb2.Event, most: int) -> list[tuple[int, bytes]]:
    """Return (time, body) of the latest events of the same type and object, the latest first."""
    if is_of_operation(event.type):
        parameters = (event.object, event.type, event.operation, most)
        return reader.execute(_ALIKE_OF_OPERATION, parameters).fetchall()
    return reader.execute(_ALIKE, (event.object, event.type, most)).fetchall()
