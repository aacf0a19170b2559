"""Activities: what every read and every frame of an object shows of it beside its record; see `Activity`.

It is put together for each reading from memory alone: the locks as their service last told, the open events, and what
the object's own record allows. No query is made for it, and none of it is part of etag or generation.
"""

from __future__ import annotations

from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.activity import LockActivity
from virtyard.inventory.allowed_operations import AllowedOperations
from virtyard.inventory.model import TypedObject
from virtyard.inventory.open_events import OpenEvents

__all__ = ["Activities"]


class Activities:
    """The activity of all objects."""

    def __init__(self, events: OpenEvents, locks: LockActivity | None, allowed: AllowedOperations) -> None:
        """Show what these know.

        Args:
            events: the open events.
            locks: the locks; None without a lock service, where they are never known.
            allowed: the operations that objects allow.
        """
        self._events = events
        self._locks = locks
        self._allowed = allowed

    def of(self, item: TypedObject) -> activity_pb2.Activity:
        """Return what is known of an object as it is read."""
        locked = self._locks.of(item.name) if self._locks is not None else None
        shown = locked if locked is not None else activity_pb2.Activity(locks_unknown=True)
        self._events.show(item.name, shown)
        shown.allowed_operations.extend(self._allowed.of(item))
        return shown
