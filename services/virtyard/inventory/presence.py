"""Presence: which servers report, judged on this service's own monotonic clock (P33), kept in memory.

A report that says nothing new costs no commit; a server that falls silent, or reports again, is a commit and an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virtyard.api.inventory.v1 import server_pb2
from virtyard.inventory.model import TypedObject
from virtyard.inventory.observations import has_other_ledger, order_of, same_facts
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.clock import Clock
from virtyard.kernel.names import collection_of

__all__ = ["Presence"]

_ONLINE = server_pb2.SERVER_STATE_ONLINE
_OFFLINE = server_pb2.SERVER_STATE_OFFLINE
_UNKNOWN = -1


@dataclass(slots=True, kw_only=True)
class _Seen:
    """One server as this process knows it."""

    heard: float
    """When it was last heard, monotonic."""
    state: int
    """The state that was last stored, or is being stored; -1 if that failed."""
    observed: server_pb2.ServerObservation
    """The report that was last stored."""
    stored: float
    """When that was, monotonic."""
    order: tuple[int, int, int]
    """The order of the last look that was heard of, stored or not."""
    former: set[str] = field(default_factory=set)
    """The ledgers that the agent had before; what still comes of them is late."""
    disconnected: bool = False
    """Whether it was told that its contact is lost, and nothing was heard since."""


class Presence:
    """Takes reports and notices silence."""

    def __init__(self, store: InventoryStore, clock: Clock, *, interval: float, silence: float, refresh: float) -> None:
        """Begin with no server; `open` reads those that are stored.

        Args:
            store: where what is observed is kept.
            clock: the service's clock.
            interval: seconds between the reports of an agent.
            silence: seconds without a report after which a server is offline.
            refresh: seconds after which a report is stored though it says nothing new.
        """
        self.interval = interval
        self._store = store
        self._clock = clock
        self._silence = silence
        self._refresh = refresh
        self._servers: dict[str, _Seen] = {}
        self._contacts: dict[str, object] = {}
        """The stream by which each server keeps contact, the latest one."""
        self._unsure: set[str] = set()
        """Servers that may have missed changes, to be looked at when they report: put off, silent, or just read."""

    def states(self) -> list[int]:
        """Return the state of each server as it was last stored; -1 where that failed."""
        return [seen.state for seen in self._servers.values()]

    async def open(self) -> None:
        """Read the servers that are stored; each has the whole time of silence before it from now on."""
        for server, observation in (await self._store.observations()).items():
            self._remember(server, observation.state, observation.observed)
            self._unsure.add(server)
        for server in await self._store.disconnected():
            if server in self._servers:
                self._servers[server].disconnected = True

    def notice(self, objects: Mapping[str, TypedObject | None]) -> None:
        """Take note of servers that effects made or removed."""
        for name, message in objects.items():
            if collection_of(name) != "servers":
                continue
            if message is None:
                self._servers.pop(name, None)
                self._unsure.discard(name)
                continue
            if message.desired_revision > message.applied_revision:
                self._unsure.add(name)
            if name not in self._servers:
                self._remember(name, message.state, message.observed)

    async def report(self, server: str, observed: server_pb2.ServerObservation) -> bool:
        """Take a report and return whether the server is in the inventory.

        Raises:
            Unavailable: it could not be stored.
        """
        known = await self._take(server, observed)
        if known and server in self._unsure:
            self._unsure.discard(server)
            try:
                await self._store.tell_behind(server)
            except BaseException:
                self._unsure.add(server)
                raise
        return known

    async def _take(self, server: str, observed: server_pb2.ServerObservation) -> bool:
        now = self._clock.monotonic()
        seen = self._servers.get(server)
        if seen is not None:
            seen.heard = now
            outdated = _is_outdated(seen, observed)
            if outdated:
                observed = seen.observed
            else:
                _note(seen, observed)
            nothing_new = now - seen.stored < self._refresh and same_facts(observed, seen.observed)
            if seen.state == _ONLINE and not seen.disconnected and (outdated or nothing_new):
                return True
        return await self._store_state(server, _ONLINE, observed)

    def is_latest(self, server: str, observed: server_pb2.ServerObservation) -> bool:
        """Return whether nothing newer was heard of a server than this report; one that came late says what was."""
        seen = self._servers.get(server)
        return seen is None or not _is_outdated(seen, observed)

    def hold(self, server: str, contact: object) -> None:
        """Take note of the stream by which a server keeps contact from now on."""
        self._contacts[server] = contact

    def release(self, server: str, contact: object) -> None:
        """Forget a stream whose end says nothing of the server."""
        if self._contacts.get(server) is contact:
            del self._contacts[server]

    async def lose(self, server: str, contact: object) -> None:
        """Tell that a server was disconnected, as its stream ended; not if it has another one by now.

        Raises:
            Unavailable: it could not be stored; it is told with the server's silence.
        """
        if self._contacts.get(server) is contact:
            await self._tell_disconnected(server)
            self.release(server, contact)

    async def _tell_disconnected(self, server: str) -> None:
        seen = self._servers.get(server)
        if seen is None or seen.disconnected or seen.state in (_OFFLINE, 0):
            return
        # Set before the commit, so that a report which comes meanwhile is stored after it and ends it.
        seen.disconnected = True
        try:
            await self._store.tell_disconnected(server)
        except BaseException:
            seen.disconnected = False
            raise

    async def sweep(self) -> list[str]:
        """Declare the servers offline that have been silent too long, and return their names."""
        limit = self._clock.monotonic() - self._silence
        silent = [name for name, seen in self._servers.items() if seen.heard <= limit and seen.state != _OFFLINE]
        fallen = []
        for name in silent:
            seen = self._servers.get(name)
            # A report, or the removal of the server, may have come while another one was being stored.
            if seen is not None and seen.heard <= limit and seen.state not in (_OFFLINE, 0):
                if name in self._contacts:
                    # A host that hangs, or is cut off, ends no stream: it is seen to be disconnected by its silence.
                    await self._tell_disconnected(name)
                    if seen.heard > limit or name not in self._servers:
                        continue
                await self._store_state(name, _OFFLINE, None)
                self._unsure.add(name)
                fallen.append(name)
        return fallen

    async def _store_state(self, server: str, state: int, observed: server_pb2.ServerObservation | None) -> bool:
        seen = self._servers.get(server)
        disconnected = seen is not None and seen.disconnected
        if seen is not None:
            # Set before the commit, so that what comes meanwhile is stored after it and not left out.
            seen.state = state
            seen.disconnected = disconnected and observed is None
        try:
            observation = await self._store.observe(server, state=state, observed=observed)
        except BaseException:
            if seen is not None:
                seen.state = _UNKNOWN
                seen.disconnected = disconnected
            raise
        if observation is None:
            self._servers.pop(server, None)
            return False
        if seen is None:
            self._remember(server, state, observation.observed)
        else:
            if not _is_outdated(seen, observation.observed):
                _note(seen, observation.observed)
            seen.observed, seen.stored = observation.observed, self._clock.monotonic()
        return True

    def _remember(self, server: str, state: int, observed: server_pb2.ServerObservation) -> None:
        now = self._clock.monotonic()
        order = order_of(observed)
        self._servers[server] = _Seen(heard=now, state=state, observed=observed, stored=now, order=order)


def _is_outdated(seen: _Seen, observed: server_pb2.ServerObservation) -> bool:
    """Return whether a look is older than the last one that was heard of."""
    if observed.ledger_id in seen.former:
        return True
    return not has_other_ledger(observed, seen.observed) and order_of(observed) < seen.order


def _note(seen: _Seen, observed: server_pb2.ServerObservation) -> None:
    """Take note of a look that is not outdated."""
    if has_other_ledger(observed, seen.observed):
        seen.former.add(seen.observed.ledger_id)
    seen.order = order_of(observed)
