"""Guests: what agents report of them, held against what jobs recorded (P27).

A machine whose recorded run has ended, by the word of the agent that it is placed on, is recorded as stopped; see
`ended_guests`. What an agent cannot tell is never guessed: a machine whose guest two reports in a row do not know at
all keeps its record, and an event says so; the second look was then begun after the record.

While an operation works on a machine nothing is concluded: what it does to its guest is its own business, and what it
leaves behind is looked at afterwards. That is to spare people contradictions, not what keeps a record right: a run is
told from every other one, and a record that a job has written since is another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.events import raise_event
from virtyard.inventory.model import EndedGuest, FeedWriter, Reader, RecordedGuest, TypedObject
from virtyard.inventory.store import InventoryStore
from virtyard.kernel import event_types
from virtyard.kernel.names import collection_of

__all__ = ["GuestReports", "read_needed", "read_recorded", "tell_stopped"]

_PLACED = """
    SELECT object.name, object.uid, object.generation, object.body FROM relation
    JOIN object ON object.name = relation.source
    WHERE relation.target = ? AND relation.kind = 'virtualMachines' AND relation.field = 'server'
        AND object.deleted = 0
"""
_BY_UID = """
    SELECT uid, body FROM object
    WHERE kind = 'virtualMachines' AND deleted = 0 AND uid IN (SELECT value FROM json_each(?))
"""
_RUNNING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
_STARTING = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING


def read_recorded(reader: Reader, server: str) -> list[RecordedGuest]:
    """Return the machines that are recorded as running on a server, or as being started there."""
    found = []
    for name, uid, generation, body in reader.execute(_PLACED, (server,)):
        machine = virtual_machine_pb2.VirtualMachine.FromString(body)
        if machine.state in (_RUNNING, _STARTING):
            run, starting = machine.placement.run, machine.state == _STARTING
            found.append(RecordedGuest(name=name, uid=uid, generation=generation, run=run, starting=starting))
    return found


def read_needed(reader: Reader, server: str, uids: Collection[str]) -> set[str]:
    """Return those of these machines, by uid, whose ended guests on a server are kept: they do not run elsewhere."""
    rows = reader.execute(_BY_UID, (json.dumps(sorted(uids)),))
    return {uid for uid, body in rows if virtual_machine_pb2.VirtualMachine.FromString(body).server in ("", server)}


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
        self._reported: dict[str, frozenset[tuple[str, bool, str]]] = {}
        self._look_again: set[str] = set()
        self._suspects: dict[str, frozenset[RecordedGuest]] = {}
        self._ended: dict[str, Mapping[str, str]] = {}
        self._spent: dict[str, Mapping[str, str]] = {}

    def spent(self, server: str) -> Mapping[str, str]:
        """Return the runs, by uid, that the last report of a server showed as ended and that no machine needs."""
        return self._spent.get(server, {})

    def notice(self, objects: Mapping[str, TypedObject | None]) -> None:
        """Take note of machines that effects placed or removed: the next report of their servers is compared."""
        for name, message in objects.items():
            if collection_of(name) == "virtualMachines":
                # Where a guest has ended, its machine may be gone now, or be placed elsewhere.
                self._look_again.update(self._ended)
                if message is not None and message.server:
                    self._look_again.add(message.server)
            elif collection_of(name) == "servers" and message is None:
                self._reported.pop(name, None)
                for known in (self._suspects, self._ended, self._spent):
                    known.pop(name, None)
                self._look_again.discard(name)

    async def report(self, server: str, guests: Sequence[agent_service_pb2.Guest]) -> bool:
        """Compare the guests of a server with the machines that are recorded there.

        Returns:
            Whether the next report is wanted soon, as something could not be concluded yet.

        Raises:
            Unavailable: the records cannot be read, or what follows cannot be stored.
        """
        now = frozenset((guest.uid, guest.running, guest.run) for guest in guests)
        suspects = self._suspects.get(server, frozenset())
        settled = server not in self._look_again and not suspects and self._reported.get(server) == now
        if self._activity is None or settled:
            return False
        self._look_again.discard(server)
        seen = {guest.uid: guest for guest in guests}
        ended: list[EndedGuest] = []
        lacking: set[RecordedGuest] = set()
        for recorded in await self._store.recorded_guests(server):
            guest = seen.get(recorded.uid)
            if guest is not None and guest.running:
                continue
            if recorded.starting or not self._is_idle(recorded.name) or _is_being_ended(guest):
                self._look_again.add(server)
            elif guest is not None and recorded.run and guest.run == recorded.run:
                ended.append(EndedGuest(guest=recorded, end=guest.end, reason=guest.end_reason))
            else:
                lacking.add(recorded)
        if ended:
            await self._store.record_ended(server, ended)
        if lacking & suspects:
            await self._store.tell_stopped(server, lacking & suspects)
        self._suspects[server] = frozenset(lacking - suspects)
        await self._look_for_spent(server, guests)
        self._reported[server] = now
        return server in self._look_again or bool(self._suspects[server])

    async def _look_for_spent(self, server: str, guests: Sequence[agent_service_pb2.Guest]) -> None:
        """Find the guests that have ended and whose machines are gone or run elsewhere."""
        ended = [guest for guest in guests if not guest.running and not _is_being_ended(guest)]
        left = {guest.uid: guest.run for guest in ended if guest.run}
        needed = await self._store.needed_guests(server, left) if left else frozenset()
        self._spent[server] = {uid: run for uid, run in left.items() if uid not in needed}
        if left:
            self._ended[server] = left
        else:
            self._ended.pop(server, None)

    def _is_idle(self, machine: str) -> bool:
        """Return whether it is known that no operation works on a machine."""
        assert self._activity is not None
        activity = self._activity(machine)
        return activity is not None and not activity.current_operations


def _is_being_ended(guest: agent_service_pb2.Guest | None) -> bool:
    return guest is not None and guest.end == agent_service_pb2.GUEST_END_BY_ACTION
