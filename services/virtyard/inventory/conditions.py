"""Conditions: whether what an event tells of still holds, looked at again when somebody acknowledges it.

Each condition of the catalogue has one look here. A look reads what the inventory knows, never more: where that is not
enough to tell, the caller is told so, and may force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from virtyard.api.inventory.v1 import event_pb2, server_pb2, virtual_machine_pb2
from virtyard.inventory.activity import LockActivity
from virtyard.inventory.disconnections import is_disconnected
from virtyard.inventory.heartbeats import late_clusters
from virtyard.inventory.host_clocks import differs
from virtyard.inventory.model import Reader
from virtyard.inventory.objects import read_row
from virtyard.inventory.observations import missed_changes, read_observation, read_observations
from virtyard.inventory.troubles import links_down, troubles_of
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.event_types import Condition, find

__all__ = ["LOOKS", "Look", "still_holds"]

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
    if kind is None or kind.condition is None or not event.open:
        return ""
    return LOOKS[kind.condition](reader, activity, event)


def _nothing(_: Reader, __: LockActivity | None, ___: event_pb2.Event) -> str:
    return ""


def _locks_held(_: Reader, activity: LockActivity | None, event: event_pb2.Event) -> str:
    if activity is None or not activity.known:
        raise Unavailable(
            f"whether {event.operation} holds locks cannot be told while the lock service is away", retry_after=1.0
        )
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


def _guest_down(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    row = read_row(reader, event.object)
    if row is None or row.deleted:
        return ""
    runs = any(row.uid in each.observed.guest_uids for _, each in read_observations(reader))
    return "" if runs else f"no server reports that the guest of {event.object} runs"


def _server_silent(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    known = read_observation(reader, event.object)
    if known is not None and known.state == server_pb2.SERVER_STATE_OFFLINE:
        return f"{event.object} is offline"
    return f"{event.object} was not heard since" if is_disconnected(reader, event.object) else ""


def _server_behind(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    missed = missed_changes(reader, event.object)
    return f"{event.object} has missed {missed} changes" if missed else ""


def _storage_lost(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    servers = troubles_of(reader, event.object)
    return f"{event.object} is not there on {', '.join(servers)}" if servers else ""


def _link_down(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    links = links_down(reader, event.object)
    return f"{', '.join(links)} of {event.object} is down" if links else ""


def _heartbeat_late(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    late = late_clusters(reader, event.object)
    return f"{event.object} renews {len(late)} of its slots late" if late else ""


def _certificate_ending(_: Reader, __: LockActivity | None, event: event_pb2.Event) -> str:
    # Its renewal clears the event, which is open.
    return f"no renewed certificate of {event.object} was found yet"


def _host_clock_differs(reader: Reader, _: LockActivity | None, event: event_pb2.Event) -> str:
    far = differs(reader, event.object)
    return f"the clock of {event.object} differs from that of the control plane still" if far else ""


def _clock_jumped(_: Reader, __: LockActivity | None, event: event_pb2.Event) -> str:
    # The service tells when the clocks agree, which clears the event; till it has seen that this one was acknowledged.
    return f"the clock of {event.object} does not follow that of its machine yet"


def _database_unwritable(_: Reader, __: LockActivity | None, event: event_pb2.Event) -> str:
    # The service tries every second and tells when it could, which clears the event.
    return f"{event.object} has not told yet that it can write its database again"


LOOKS: Mapping[Condition, Look] = MappingProxyType(
    {
        Condition.HAPPENED: _nothing,
        Condition.UNSEEN: _nothing,
        Condition.LOCKS_HELD: _locks_held,
        Condition.GUEST_UNRECORDED: _guest_unrecorded,
        Condition.GUEST_DOWN: _guest_down,
        Condition.SERVER_SILENT: _server_silent,
        Condition.SERVER_BEHIND: _server_behind,
        Condition.STORAGE_LOST: _storage_lost,
        Condition.LINK_DOWN: _link_down,
        Condition.HEARTBEAT_LATE: _heartbeat_late,
        Condition.CERTIFICATE_ENDING: _certificate_ending,
        Condition.HOST_CLOCK_DIFFERS: _host_clock_differs,
        Condition.CLOCK_JUMPED: _clock_jumped,
        Condition.DATABASE_UNWRITABLE: _database_unwritable,
    }
)
"""The look of each condition."""
