"""Dead servers: the machines that ran on servers which are proven dead are recorded as stopped (P17).

Nothing is guessed before the proof; from then on a machine is recorded as stopped once no operation works on it, with
the event that a crash has, and its restart policy sees to the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.model import EndedGuest, TypedObject
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.names import collection_of

__all__ = ["DeadServers"]

_PAUSE = 1.0
_log = logging.getLogger(__name__)


class DeadServers:
    """Records machines as stopped whose servers are proven dead."""

    def __init__(self, store: InventoryStore, activity: Callable[[str], activity_pb2.Activity | None] | None) -> None:
        """Know of no death; `recall` reads those that are stored.

        Args:
            store: where machines are recorded.
            activity: who works on an object, None while that is not known; without it nothing is concluded.
        """
        self._store = store
        self._activity = activity
        self._dead: dict[str, server_pb2.ProvenDeath] = {}
        self._news = asyncio.Event()

    async def recall(self) -> None:
        """Read which servers are proven dead."""
        for server, observation in (await self._store.observations()).items():
            self._note(server, observation.observed)

    def notice(self, objects: Mapping[str, TypedObject | None]) -> None:
        """Take note of the proofs that effects have written, and of machines that they left on dead servers."""
        for name, message in objects.items():
            if message is None:
                continue
            kind = collection_of(name)
            if kind == "servers":
                self._note(name, message.observed)
            elif kind == "virtualMachines" and message.server in self._dead:
                self._news.set()

    def _note(self, server: str, observed: server_pb2.ServerObservation) -> None:
        if observed.HasField("death"):
            self._dead[server] = observed.death
            self._news.set()

    async def run(self) -> None:
        """Look at the machines of dead servers, until cancelled; while there are none of them nothing is done."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                is_done = await self._look()
            except VirtyardError as error:
                _log.warning("machines of dead servers could not be recorded as stopped: %s", error)
                is_done = False
            if not is_done:
                self._news.set()
            await asyncio.sleep(_PAUSE)

    async def _look(self) -> bool:
        """Record what can be recorded, and return whether no machine is left on any dead server."""
        left = 0
        observations = await self._store.observations()
        for server, death in list(self._dead.items()):
            known = observations.get(server)
            if known is None or known.observed.death != death:
                del self._dead[server]
                continue
            reason = f"{server} is proven dead ({death.reason})"
            crashed = agent_service_pb2.GUEST_END_CRASHED
            guests = await self._store.recorded_guests(server)
            ended = [
                EndedGuest(guest=guest, end=crashed, reason=reason) for guest in guests if self._is_idle(guest.name)
            ]
            if ended:
                await self._store.record_ended(server, ended)
            left += len(guests)
        return not left

    def _is_idle(self, machine: str) -> bool:
        activity = self._activity(machine) if self._activity is not None else None
        return activity is not None and not activity.current_operations
