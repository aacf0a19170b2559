"""Contacts: the stream that each agent keeps open, by whose end a server is known at once to be disconnected.

An agent that stops because it was told to says goodbye first, and one whose place was taken by a later stream of the
same server has been heard since. A stream that this process ends says nothing of the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator

from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.inventory.presence import Presence
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.scope import TaskScope

__all__ = ["Contacts"]

_log = logging.getLogger(__name__)


class _Contact:
    """One stream of one agent."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.said_goodbye = False

    async def read(self, requests: AsyncIterator[host_service_pb2.KeepContactRequest]) -> None:
        """Read the stream to its end or to the goodbye."""
        try:
            async for request in requests:
                if request.goodbye:
                    self.said_goodbye = True
                    return
        except Exception as error:  # noqa: BLE001 - however it ends, it has ended
            _log.debug("the stream of an agent broke: %s", error)
        finally:
            self.over.set()


class Contacts:
    """The streams that are open."""

    def __init__(self, presence: Presence, scope: TaskScope) -> None:
        """Tell `presence` of those that are lost; the scope owns the tasks that read them."""
        self._presence = presence
        self._scope = scope
        self._open: set[_Contact] = set()
        self._closing = False

    def end(self) -> None:
        """End every stream, as this process stops; agents look for its successor."""
        self._closing = True
        for contact in self._open:
            contact.over.set()

    async def keep(
        self, server: str, requests: AsyncIterator[host_service_pb2.KeepContactRequest]
    ) -> AsyncGenerator[host_service_pb2.KeepContactResponse, None]:
        """Answer once that there is contact, and go on until the stream ends."""
        if self._closing:
            return
        contact = _Contact()
        self._open.add(contact)
        self._presence.hold(server, contact)
        reader = self._scope.start(contact.read(requests), name=f"contact {server}")
        try:
            yield host_service_pb2.KeepContactResponse()
            await contact.over.wait()
        finally:
            reader.cancel()
            self._open.discard(contact)
            if contact.said_goodbye or self._closing:
                self._presence.release(server, contact)
            else:
                _ = self._scope.start(self._lose(server, contact), name=f"lost {server}")

    async def _lose(self, server: str, contact: object) -> None:
        try:
            await self._presence.lose(server, contact)
        except VirtyardError as error:
            _log.warning("that %s was disconnected could not be told: %s", server, error)
