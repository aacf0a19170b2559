"""The event tail: the inventory's events, each looked at once, in their order, from where the last process stopped.

Where it stands is durable with whatever came of an event, and every few hundred events beside; an event that is looked
at again does nothing twice. What becomes of an event later, as an acknowledgement, is no event and fires nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import Any

import grpc.aio

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs.definitions import COLLECTIONS, Definitions
from virtyard.jobs.event_place import EventPlace
from virtyard.jobs.run_states import RunStates
from virtyard.kernel.errors import RetryError
from virtyard.kernel.names import collection_of
from virtyard.runtime.status import errors_named, peer_cancels_named

__all__ = ["EventTail"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_KEEP_EVERY = 500
"""After how many events of no consequence the place is made durable."""
_log = logging.getLogger(__name__)


class EventTail:
    """Follows the inventory's events."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        definitions: Definitions,
        states: RunStates,
        take: Callable[[event_pb2.Event, Sequence[str], str], Awaitable[None]],
    ) -> None:
        """Follow nothing until `follow` runs.

        Args:
            channel: a channel to the inventory.
            definitions: is told to read again what an event says has changed.
            states: where the place in the feed is durable.
            take: does what an event calls for, given what its object belongs to, and the token behind it.
        """
        self._channel = channel
        self._definitions = definitions
        self._states = states
        self._take = take
        self._place = EventPlace()
        self._unkept = 0

    async def follow(self) -> None:
        """Follow until cancelled, from the last event that was dealt with whenever the stream breaks."""
        pause = _FIRST_PAUSE
        self._place = EventPlace(self._states.token)
        while True:
            try:
                with peer_cancels_named(), errors_named():
                    await self._load()
                    async for frame in self._frames():
                        await self._deal_with(frame)
                        pause = _FIRST_PAUSE
            except (RetryError, OSError) as error:
                _log.debug("the inventory's events cannot be followed: %s", error)
            except Exception:  # noqa: BLE001 - one event's trouble must not end what follows the others; it is logged
                _log.exception("the inventory's events are followed again from the last one that was dealt with")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _frames(self) -> AsyncIterable[inventory_service_pb2.WatchEventsResponse]:
        """Begin behind the token; the first time ever with what is recorded from now on."""
        stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(self._channel)
        token = self._place.token
        options = watch_pb2.WatchOptions(resume_token=token, skip_snapshot=not token)
        frames: AsyncIterable[inventory_service_pb2.WatchEventsResponse] = stub.WatchEvents(
            inventory_service_pb2.WatchEventsRequest(options=options, show_belongs_to=True), wait_for_ready=True
        )
        return frames

    async def _deal_with(self, frame: inventory_service_pb2.WatchEventsResponse) -> None:
        place = self._place
        if frame.kind == watch_pb2.FRAME_KIND_GAP:
            place.note_gap(frame.resume_token)
            await self._load()
        kept = place.kept(frame.resume_token)
        number = int(frame.name.rpartition("/")[2] or 0)
        if frame.HasField("event") and not place.is_known(number, revised=frame.revised):
            await self._definitions.refresh(frame.event.object)
            await self._states.forget(self._definitions.take_gone())
            await self._take(frame.event, frame.belongs_to, kept)
            place.take(number)
            self._unkept += 1
            if collection_of(frame.event.object) in COLLECTIONS:
                # What came before a change is not looked at again with what it made of a definition.
                self._unkept = _KEEP_EVERY
        if frame.resume_token:
            first = not place.token
            if first:
                # What was defined between the reading and the begin of the stream is told by no event of it.
                await self._load()
            place.token = frame.resume_token
            if first or self._unkept >= _KEEP_EVERY:
                if self._states.token != kept:
                    await self._states.save_token(kept)
                self._unkept = 0

    async def _load(self) -> None:
        """Read all definitions, and forget what those did that are gone: no event need have told of that."""
        had = self._states.uids()
        await self._definitions.load()
        await self._states.forget(had - self._definitions.uids())
