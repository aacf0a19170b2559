"""Restarts: whether a machine whose guest has ended is to be started again, and when, as its policy has it.

An event says that a restart is due; the built-in trigger `restart-policy` submits the start, once for it. A machine
that ends again and again is given longer and longer pauses, and is left alone after a few restarts within an hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.inventory.events import microseconds, raise_event
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.inventory.objects import read_row
from virtyard.kernel import event_types

__all__ = ["MOST_RESTARTS", "next_restart", "plan_restart", "raise_due_restarts"]

MOST_RESTARTS = 5
"""How often a machine is started again within an hour."""
_HOUR = timedelta(hours=1)
_FIRST_PAUSE = timedelta(seconds=10)
"""How long the second restart within an hour waits, each further one twice as long; the first does not wait."""

_RECENT = "SELECT count(*) FROM event WHERE object = ? AND +type = 'MACHINE_RESTART_DUE' AND +time > ?"
_PUT = "INSERT OR REPLACE INTO restart (machine, uid, run, ended, told, due) VALUES (?, ?, ?, ?, ?, ?)"
_STARTED = "SELECT 1 FROM event WHERE object = ? AND +type = 'MACHINE_STARTED' AND +number > ?"
_NEXT = "SELECT min(due) FROM restart"
_DUE = "SELECT machine, uid, run, ended, told FROM restart WHERE due <= ? ORDER BY due LIMIT 100"
_DONE = "DELETE FROM restart WHERE machine = ?"

_Policy = virtual_machine_pb2.RestartPolicy
_COVERED: dict[int, frozenset[int]] = {
    virtual_machine_pb2.RESTART_POLICY_ON_CRASH: frozenset({agent_service_pb2.GUEST_END_CRASHED}),
    virtual_machine_pb2.RESTART_POLICY_ALWAYS: frozenset(
        {
            agent_service_pb2.GUEST_END_CRASHED,
            agent_service_pb2.GUEST_END_BY_GUEST,
            agent_service_pb2.GUEST_END_UNKNOWN,
        }
    ),
}
"""The ends after which a machine of each policy is started again."""


def plan_restart(
    transaction: FeedWriter,
    machine: virtual_machine_pb2.VirtualMachine,
    run: str,
    end: agent_service_pb2.GuestEnd.ValueType,
    now: datetime,
) -> None:
    """Have a machine started again whose run has just ended: at once, after a pause, or not any more.

    Args:
        transaction: the transaction that records the end.
        machine: the machine as it is stored now.
        run: the run that ended.
        end: how it ended.
        now: the time.
    """
    if end not in _COVERED.get(machine.restart_policy, ()):
        return
    since = microseconds(now - _HOUR)
    (restarts,) = transaction.execute(_RECENT, (machine.name, since)).fetchone()
    if restarts >= MOST_RESTARTS:
        text = (
            f"{machine.name} is not started again: it was {restarts} times within the hour, "
            f"and its restart policy is {_word(machine.restart_policy)}"
        )
        event = event_types.new_event(event_types.MACHINE_RESTART_GIVEN_UP, machine.name, text)
        raise_event(transaction, f"{machine.uid}/given up/{run}", event, now)
    elif restarts:
        due = microseconds(now + _FIRST_PAUSE * 2 ** (restarts - 1))
        told = transaction.next_sequence - 1
        transaction.execute(_PUT, (machine.name, machine.uid, run, end, told, due))
    else:
        _tell_due(transaction, machine, run, now)


def next_restart(reader: Reader) -> int | None:
    """Return when the next restart is due, in microseconds since 1970; None if none waits."""
    (due,) = reader.execute(_NEXT).fetchone()
    return int(due) if due is not None else None


def raise_due_restarts(transaction: FeedWriter, now: datetime) -> None:
    """Tell of the restarts whose pause is over, unless the machine is gone, was started, or has another policy now."""
    for name, uid, run, end, told in transaction.execute(_DUE, (microseconds(now),)).fetchall():
        transaction.execute(_DONE, (name,))
        row = read_row(transaction, name)
        if row is None or row.deleted or row.uid != uid:
            continue
        machine = virtual_machine_pb2.VirtualMachine.FromString(row.body)
        started = transaction.execute(_STARTED, (name, told)).fetchone() is not None
        if not started and end in _COVERED.get(machine.restart_policy, ()):
            _tell_due(transaction, machine, run, now)


def _tell_due(transaction: FeedWriter, machine: virtual_machine_pb2.VirtualMachine, run: str, now: datetime) -> None:
    text = f"{machine.name} is to be started again: its restart policy is {_word(machine.restart_policy)}"
    event = event_types.new_event(event_types.MACHINE_RESTART_DUE, machine.name, text)
    raise_event(transaction, f"{machine.uid}/restart/{run}", event, now)


def _word(policy: _Policy.ValueType) -> str:
    return _Policy.Name(policy).removeprefix("RESTART_POLICY_")
