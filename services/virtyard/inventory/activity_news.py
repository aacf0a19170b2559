"""Activity news: watchers of objects are shown that a lock or an open event came or went, without a commit of objects.

Such a frame is not durable and is never resumed into; it carries the object's last durable state. What changes hands
within the gathering time is one frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from virtyard.inventory.store import InventoryStore
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.names import wrap
from virtyard.runtime.feed import Feed

__all__ = ["ActivityNews"]


class ActivityNews:
    """Publishes objects whose locks or open events changed, while anybody watches."""

    def __init__(self, store: InventoryStore, feed: Feed, *, gather: float = 0.1) -> None:
        """Publish to the feed what the store has.

        Args:
            store: where the objects are read.
            feed: whose watchers are shown them.
            gather: seconds over which changes are gathered.
        """
        self._store = store
        self._feed = feed
        self._gather = gather
        self._names: set[str] = set()
        self._newer: set[str] = set()
        self._wake = asyncio.Event()

    def changed(self, names: Iterable[str]) -> None:
        """Take note of objects whose locks or open events changed."""
        if self._feed.watchers:
            self._names.update(names)
            self._wake.set()

    def committed(self, names: Collection[str]) -> None:
        """Take note of what was just committed: it is published anyway, and what was read before it is outdated."""
        self._newer.update(names)

    async def publish(self) -> None:
        """Publish what changes, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._gather)
            self._wake.clear()
            names, self._names = self._names, set()
            self._newer.clear()
            try:
                objects = await self._store.find(names)
            except VirtyardError:
                # It is shown with the next change, or read by who asks.
                continue
            for name, message in objects.items():
                if name not in self._newer:
                    self._feed.publish_progress("object", name, wrap(message).SerializeToString())
