"""Expectations: which storage and links each server is to have, so that its agent knows what to watch.

Kept in memory as the last commit left it, as every report is answered with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from virtyard.api.inventory.v1 import network_pb2, repository_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.inventory.model import TypedObject
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.names import collection_of

__all__ = ["Expectations"]

_COLLECTIONS = ("repositories", "networks")


class Expectations:
    """What servers are to have."""

    def __init__(self) -> None:
        """Expect nothing; see `of`."""
        self._objects: dict[str, TypedObject] = {}

    @classmethod
    async def of(cls, store: InventoryStore) -> Expectations:
        """Return what is recorded."""
        expectations = cls()
        for collection in _COLLECTIONS:
            expectations.notice({each.name: each for each in await store.all_of(collection)})
        return expectations

    def notice(self, objects: Mapping[str, TypedObject | None]) -> None:
        """Take note of what effects made, changed or removed."""
        for name, message in objects.items():
            if collection_of(name) not in _COLLECTIONS:
                continue
            if message is None:
                self._objects.pop(name, None)
            else:
                self._objects[name] = message

    def tell(self, server: str, answer: host_service_pb2.ReportHostResponse) -> None:
        """Put what a server is to have into the answer to its report; what is being removed is left out."""
        for name, message in sorted(self._objects.items()):
            if server not in message.servers:
                continue
            if isinstance(message, repository_pb2.Repository):
                # One that all servers have lost shows another state, and is watched all the more.
                if message.state != repository_pb2.REPOSITORY_STATE_DELETING:
                    answer.repositories.add(repository=name, uid=message.uid, path=message.path)
            elif message.state == network_pb2.NETWORK_STATE_READY:
                answer.networks.add(uid=message.uid, bridge=message.bridge, uplink=message.uplink)
