"""Conditions: whether what a CRITICAL event tells of still holds, looked at again before somebody acknowledges it.

Each condition of the catalogue has one look here. A look reads what the inventory knows, never more: where that is not
enough to tell, the caller is told so, and may force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from virtyard.api.inventory.v1 import event_pb2, virtual_machine_pb2
from virtyard.inventory.activity import LockActivity
from virtyard.inventory.model import Reader
from virtyard.inventory.objects import read_row
from virtyard.inventory.observations import read_observations
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.event_types import Condition, find

__all__ = ["Look", "still_holds"]

Look = Callable[[Reader, LockActivity | None, event_pb2.Event], str]
"""Returns what still holds, in a sentence without its full stop; empty if it is over."""


def still_holds(reader: Reader, activity: LockActivity | None, event: event_pb2.Event) -> str:
    """Return what still holds of what an event tells of; empty if it is over, or nothing can be looked at for its type.

    Args:
        reader: a snapshot of the inventory.
        activity: the locks; None without a lock service.
        event: the event, which is open.

    Raises:
        Unavailable: it cannot be told now.
    """
    kind = find(event.type)
    if kind is None or event.severity != event_pb2.SEVERITY_CRITICAL or not event.open:
        return ""
    return _LOOKS[kind.condition](reader, activity, event)


def _nothing(_: Reader, __: LockActivity | None, ___: event_pb2.Event) -> str:
    return ""


def _locks_held(_: Reader, activity: LockActivity | None, event: event_pb2.Event) -> str:
    if activity is None or not activity.known:
        raise Unavailable(f"whether {event.operation} holds locks cannot be told while the lock service is away")
    held = activity.held_by(event.operation)
    return f"{event.operation} is still open and holds {len(held)} locks, as on {min(held)}" if held else ""


def _guest_unrecorded(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    row = read_row(reader, event.object)
    if row is None or row.deleted:
        return ""
    machine = virtual_machine_pb2.VirtualMachine.FromString(row.body)
    running = machine.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    for server, observation in read_observations(reader):
        if row.uid in observation.observed.guest_uids and not (running and machine.server == server):
            return f"{server} still reports that the guest of {event.object} runs there, which is not recorded"
    return ""


_LOOKS: Mapping[Condition, Look] = MappingProxyType(
    {
        Condition.NONE: _nothing,
        Condition.LOCKS_HELD: _locks_held,
        Condition.GUEST_UNRECORDED: _guest_unrecorded,
    }
)
