"""Guests: what agents report of them, held against what jobs recorded; a contradiction is an event (P27).

The record is never changed by a report. A machine counts as stopped by itself when two reports in a row lack its guest,
while its record stays as it was and no operation works on it: the second look was then begun after the record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.events import raise_event
from virtyard.inventory.model import FeedWriter, Reader, RecordedGuest, TypedObject
from virtyard.inventory.store import InventoryStore
from virtyard.kernel import event_types
from virtyard.kernel.names import collection_of

__all__ = ["GuestReports", "read_recorded", "tell_stopped"]

_PLACED = """
    SELECT object.name, object.uid, object.generation, object.body FROM relation
    JOIN object ON object.name = relation.source
    WHERE relation.target = ? AND relation.kind = 'virtualMachines' AND relation.field = 'server'
        AND object.deleted = 0
"""


def read_recorded(reader: Reader, server: str) -> list[RecordedGuest]:
    """Return the machines that are recorded as running on a server."""
    found = []
    for name, uid, generation, body in reader.execute(_PLACED, (server,)):
        machine = virtual_machine_pb2.VirtualMachine.FromString(body)
        if machine.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING:
            found.append(RecordedGuest(name=name, uid=uid, generation=generation))
    return found


def tell_stopped(transaction: FeedWriter, server: str, lacking: Collection[RecordedGuest], now: datetime) -> None:
    """Raise an event for each of these machines whose record is still the same, once for each start."""
    for guest in read_recorded(transaction, server):
        if guest in lacking:
            event = event_types.new_event(
                event_types.MACHINE_STOPPED_UNEXPECTEDLY,
                guest.name,
                f"{guest.name} does not run on {server} any more, and no operation stopped it",
            )
            raise_event(transaction, f"{guest.uid}/{guest.generation}/stopped", event, now)


class GuestReports:
    """Compares reports with the records; reads them only where something may have changed."""

    def __init__(self, store: InventoryStore, activity: Callable[[str], activity_pb2.Activity | None] | None) -> None:
        """Begin with nothing reported.

        Args:
            store: where machines are recorded.
            activity: who works on an object, None while that is not known; without it nothing is compared.
        """
        self._store = store
        self._activity = activity
        self._running: dict[str, frozenset[str]] = {}
        self._look_again: set[str] = set()
        self._suspects: dict[str, frozenset[RecordedGuest]] = {}

    def notice(self, objects: Mapping[str, TypedObject | None]) -> None:
        """Take note of machines that effects placed: the next report of their servers is compared."""
        for name, message in objects.items():
            if collection_of(name) == "virtualMachines" and message is not None and message.server:
                self._look_again.add(message.server)
            elif collection_of(name) == "servers" and message is None:
                self._running.pop(name, None)
                self._suspects.pop(name, None)
                self._look_again.discard(name)

    async def report(self, server: str, running: Sequence[str]) -> None:
        """Compare the guests that run on a server, by their uids, with the machines that are recorded there.

        Raises:
            Unavailable: the records cannot be read, or the event cannot be stored.
        """
        now = frozenset(running)
        suspects = self._suspects.get(server, frozenset())
        settled = server not in self._look_again and not suspects and self._running.get(server) == now
        if self._activity is None or settled:
            return
        self._look_again.discard(server)
        lacking = frozenset(guest for guest in await self._store.recorded_guests(server) if guest.uid not in now)
        idle = frozenset(guest for guest in lacking if self._is_idle(guest.name))
        if idle & suspects:
            await self._store.tell_stopped(server, idle & suspects)
        self._suspects[server] = idle - suspects
        if lacking != idle:
            self._look_again.add(server)
        self._running[server] = now

    def _is_idle(self, machine: str) -> bool:
        """Return whether it is known that no operation works on a machine."""
        assert self._activity is not None
        activity = self._activity(machine)
        return activity is not None and not activity.current_operations
