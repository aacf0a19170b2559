"""Guests that have ended: their machines are recorded as stopped, with the event that says how that came.

It is the status of a machine that a report changes, never its configuration: the generation stays, so that no effect of
an operation is refused for it, and the etag changes (P19). The run that ended is part of the event's key, so a crash is
told once however often it is reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.inventory.events import raise_event
from virtyard.inventory.guests import read_recorded
from virtyard.inventory.model import EndedGuest, FeedWriter, etag_of
from virtyard.inventory.objects import links_of, read_row, write_links, write_row
from virtyard.inventory.projections import shown_by
from virtyard.inventory.publishing import publish
from virtyard.inventory.restarts import plan_restart
from virtyard.kernel import event_types

__all__ = ["record_ended"]

_TYPES = {
    agent_service_pb2.GUEST_END_CRASHED: event_types.MACHINE_CRASHED,
    agent_service_pb2.GUEST_END_BY_GUEST: event_types.MACHINE_STOPPED_BY_GUEST,
}
_OF_A_REPORT = 1
"""The revision of a record that a report has changed; the next job's write raises the generation, and it is 0 again."""


def record_ended(transaction: FeedWriter, server: str, ended: Iterable[EndedGuest], now: datetime) -> list[str]:
    """Record the machines as stopped whose record is still the same, and return the names of all that changed.

    Args:
        transaction: the transaction.
        server: the server that reported.
        ended: its guests that have ended.
        now: the time of the events.
    """
    recorded = set(read_recorded(transaction, server))
    changed: dict[str, None] = {}
    for each in ended:
        if each.guest in recorded:
            changed.update(dict.fromkeys(_stop(transaction, server, each, now)))
    publish(transaction, changed)
    return list(changed)


def _stop(transaction: FeedWriter, server: str, ended: EndedGuest, now: datetime) -> list[str]:
    guest = ended.guest
    row = read_row(transaction, guest.name)
    assert row is not None, "it was just read"
    machine = virtual_machine_pb2.VirtualMachine.FromString(row.body)
    before, log = links_of(machine), machine.placement.serial_log_path
    machine.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    machine.ClearField("server")
    machine.ClearField("placement")
    machine.etag = etag_of(machine.uid, machine.generation, _OF_A_REPORT)
    write_row(transaction, machine, row.writer)
    moved = write_links(transaction, guest.name, before, links_of(machine))
    kind = _TYPES.get(ended.end, event_types.MACHINE_STOPPED_UNEXPECTEDLY)
    console = f"; its console's log is {log} there" if log else ""
    text = f"{guest.name} does not run on {server} any more: {ended.reason or 'nothing tells why'}{console}"
    raise_event(transaction, f"{guest.uid}/ended/{guest.run}", event_types.new_event(kind, guest.name, text), now)
    plan_restart(transaction, machine, guest.run, ended.end, now)
    shown = [link.target for field, old, _ in moved for link in (old,) if link and shown_by("virtualMachines", field)]
    return [guest.name, *shown]
