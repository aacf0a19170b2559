"""What is due in other services because of commits here: releases and events, done at least once, then forgotten (P5).

It is off the critical path of operations: whoever waits for one is told before its locks are released.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.jobs.inventory_port import InventoryPort
from virtyard.jobs.store import RELEASE, Due, JobStore
from virtyard.kernel.errors import InvalidRequest, StopError, VirtyardError
from virtyard.locks.proxy import LocksProxy

_PAUSE = 0.5
_log = logging.getLogger(__name__)


class DueWork:
    """Sees to what is due."""

    def __init__(self, store: JobStore, locks: LocksProxy, inventory: InventoryPort) -> None:
        """Work with these.

        Args:
            store: where what is due is durable.
            locks: where locks are released.
            inventory: where events are raised.
        """
        self._store = store
        self._locks = locks
        self._inventory = inventory
        self._items: list[Due] = []
        self._open: set[str] = set()
        self._wake = asyncio.Event()

    @property
    def pending(self) -> int:
        """Return how many items are not done yet."""
        return len(self._open)

    def add(self, items: Iterable[Due]) -> None:
        """Take what has just become durable."""
        before = len(self._items)
        self._items += items
        self._open.update(item.key for item in self._items[before:])
        self._wake.set()

    async def recall(self) -> None:
        """Take what an earlier process left."""
        self.add(await self._store.due())

    async def run(self) -> None:
        """Do what is due for ever; what cannot be done now is tried again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            items, self._items = self._items, []
            done = await asyncio.gather(*map(self._do, _merged(items)))
            left = [item for outcome in done for item in outcome]
            kept = {item.key for item in left}
            self._open.difference_update(item.key for item in items if item.key not in kept)
            self._store.forget(item.key for item in items if item.key not in kept)
            if left:
                _ = asyncio.get_running_loop().call_later(_PAUSE, self.add, left)

    async def _do(self, items: Sequence[Due]) -> Sequence[Due]:
        """Do items of one kind together, and return those that must be tried again."""
        try:
            if items[0].kind == RELEASE:
                await self._locks.release([lock_service_pb2.OwnerRelease.FromString(item.body) for item in items])
            else:
                await self._raise_events(items)
        except (StopError, InvalidRequest) as error:
            # A later release of the same owner may have overtaken an early one, which then names what is not held.
            _log.warning("%s is not ours to do: %s", items[0].key, error)
        except VirtyardError as error:
            _log.info("%s is due and cannot be done now: %s", items[0].key, error)
            return items
        return ()

    async def _raise_events(self, items: Sequence[Due]) -> None:
        """Raise the events of all items; one that is refused keeps none of the others back."""
        request = control_service_pb2.RaiseEventsRequest()
        for item in items:
            request.MergeFromString(item.body)
        try:
            await self._inventory.raise_events(request)
        except InvalidRequest as error:
            if len(items) == 1:
                # A defect of ours, as an event of no known type: asking again would be refused again.
                _log.error("%s is refused and given up: %s", items[0].key, error)
                return
            for item in items:
                await self._raise_events([item])


def _merged(items: Sequence[Due]) -> list[Sequence[Due]]:
    """Return what is done together: all events, and each release by itself, which the proxy sends in one call."""
    releases: list[Sequence[Due]] = [[item] for item in items if item.kind == RELEASE]
    events = [item for item in items if item.kind != RELEASE]
    return [*releases, events] if events else releases
