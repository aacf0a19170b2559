"""Definitions: the triggers, schedules, filters and webhooks that the inventory has, as the scheduler follows them.

Read whole when the following begins, then again one by one as the event that tells of a change passes by: so whatever
event comes after a change meets the changed definition, with no second stream whose order would have to be compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import (
    event_pb2,
    filter_pb2,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    schedule_pb2,
    trigger_pb2,
    webhook_pb2,
)
from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.names import collection_of, kinds
from virtyard.runtime.status import errors_named

__all__ = ["Definitions", "concerns"]

M = TypeVar("M", bound=Message)
_log = logging.getLogger(__name__)

_TIMEOUT = 10.0
_PAGE = 1000
COLLECTIONS = ("filters", "schedules", "triggers", "webhooks")
"""The kinds of object that are definitions."""


class Definitions:
    """What the inventory defines and the scheduler acts upon."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Know nothing until `load`."""
        self._stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        self._known: dict[str, Any] = {}
        self._listeners: list[Callable[[], None]] = []
        self._loaded = asyncio.Event()
        self._gone: list[str] = []
        self._filters: Sequence[filter_pb2.Filter] = ()
        self._webhooks: Sequence[webhook_pb2.Webhook] = ()
        self._one_at_a_time = asyncio.Lock()

    def listen(self, changed: Callable[[], None]) -> None:
        """Have somebody told whenever something is defined, changed or gone."""
        self._listeners.append(changed)

    async def loaded(self) -> None:
        """Wait until everything was read once."""
        await self._loaded.wait()

    @property
    def are_loaded(self) -> bool:
        """Whether everything was read once."""
        return self._loaded.is_set()

    def triggers(self) -> list[trigger_pb2.Trigger]:
        """Return the triggers, in the order of their names."""
        return list(self._of(trigger_pb2.Trigger))

    def filters(self) -> Sequence[filter_pb2.Filter]:
        """Return the filters, in the order of their names; asked for with every operation."""
        return self._filters

    def schedules(self) -> list[schedule_pb2.Schedule]:
        """Return the schedules, in the order of their names."""
        return list(self._of(schedule_pb2.Schedule))

    def webhooks(self) -> Sequence[webhook_pb2.Webhook]:
        """Return the webhooks, in the order of their names; asked for with the end of every operation."""
        return self._webhooks

    def find(self, name: str, message: type[M]) -> M | None:
        """Return a definition; None if it is not known."""
        found = self._known.get(name)
        return found if isinstance(found, message) else None

    def uids(self) -> frozenset[str]:
        """Return the uids of all there are."""
        return frozenset(item.uid for item in self._known.values())

    def take_gone(self) -> list[str]:
        """Return the uids of what is gone since the last time."""
        gone, self._gone = self._gone, []
        return gone

    async def load(self) -> None:
        """Read everything.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        async with self._one_at_a_time:
            found: dict[str, Any] = {}
            for collection in COLLECTIONS:
                async for item in self._list(collection):
                    found[item.name] = item
            self._replace(found)
            self._loaded.set()

    async def refresh(self, name: str) -> None:
        """Read one definition again, of which an event tells; other objects are left alone.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        if collection_of(name) not in COLLECTIONS:
            return
        short = kinds()[collection_of(name)].message.DESCRIPTOR.name
        request = getattr(inventory_service_pb2, f"Get{short}Request")(name=name)
        # One at a time: an answer that comes late must not take the place of a newer one.
        async with self._one_at_a_time:
            known = dict(self._known)
            known.pop(name, None)
            try:
                with errors_named():
                    known[name] = await getattr(self._stub, f"Get{short}")(request, timeout=_TIMEOUT)
            except NotFound:
                pass
            self._replace(known)

    async def get(self, name: str) -> Any:
        """Return a definition as the inventory has it now.

        Raises:
            NotFound: there is none of this name.
            Unavailable: the inventory cannot be reached.
        """
        short = kinds()[collection_of(name)].message.DESCRIPTOR.name
        with errors_named():
            return await getattr(self._stub, f"Get{short}")(
                getattr(inventory_service_pb2, f"Get{short}Request")(name=name), timeout=_TIMEOUT
            )

    def _of(self, message: type[M]) -> Iterator[M]:
        return (self._known[name] for name in sorted(self._known) if isinstance(self._known[name], message))

    def _replace(self, found: dict[str, Any]) -> None:
        kept = {item.uid for item in found.values()}
        self._gone += [item.uid for item in self._known.values() if item.uid not in kept]
        self._known = found
        self._filters = tuple(self._of(filter_pb2.Filter))
        self._webhooks = tuple(self._of(webhook_pb2.Webhook))
        for changed in self._listeners:
            changed()

    async def _list(self, collection: str) -> Any:
        plural = kinds()[collection].message.DESCRIPTOR.name + "s"
        token = ""
        while True:
            request = getattr(inventory_service_pb2, f"List{plural}Request")(page_size=_PAGE, page_token=token)
            with errors_named():
                answer = await getattr(self._stub, f"List{plural}")(request, timeout=_TIMEOUT)
            for item in getattr(answer, collection):
                yield item
            token = answer.next_page_token
            if not token:
                return


def concerns(definition: trigger_pb2.Trigger | webhook_pb2.Webhook, event: event_pb2.Event) -> bool:
    """Tell whether a definition is for an event: one later than itself, not about itself, that its filter lets pass."""
    if event.object == definition.name:
        return False
    if event.create_time.ToNanoseconds() < definition.create_time.ToNanoseconds():
        return False
    try:
        return compile_filter(definition.event_filter, event_pb2.Event.DESCRIPTOR)(event)
    except InvalidRequest as error:
        # It was written under a release that had another field.
        _log.warning("%s: %s", definition.name, error)
        return False
