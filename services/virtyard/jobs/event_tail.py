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
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.run_states import RunStates
from virtyard.kernel.errors import RetryError
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
        self._token = ""
        self._unkept = 0
        self._highest = 0
        self._told_before_gap = 0

    async def follow(self) -> None:
        """Follow until cancelled, from the last event that was dealt with whenever the stream breaks."""
        pause = _FIRST_PAUSE
        self._token = self._states.token
        while True:
            try:
                with peer_cancels_named(), errors_named():
                    await self._definitions.load()
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
        options = watch_pb2.WatchOptions(resume_token=self._token, skip_snapshot=not self._token)
        frames: AsyncIterable[inventory_service_pb2.WatchEventsResponse] = stub.WatchEvents(
            inventory_service_pb2.WatchEventsRequest(options=options, show_belongs_to=True), wait_for_ready=True
        )
        return frames

    async def _deal_with(self, frame: inventory_service_pb2.WatchEventsResponse) -> None:
        if frame.kind == watch_pb2.FRAME_KIND_GAP:
            self._told_before_gap = self._highest
            await self._definitions.load()
        if frame.HasField("event") and not self._is_known(frame):
            self._highest = max(self._highest, _number(frame.name))
            await self._definitions.refresh(frame.event.object)
            for uid in self._definitions.take_gone():
                await self._states.forget(uid)
            await self._take(frame.event, frame.belongs_to, frame.resume_token)
            self._unkept += 1
        if frame.resume_token:
            first = not self._token
            if first:
                # What was defined between the reading and the begin of the stream is told by no event of it.
                await self._definitions.load()
            self._token = frame.resume_token
            if first or self._unkept >= _KEEP_EVERY:
                await self._states.save_token(self._token)
                self._unkept = 0

    def _is_known(self, frame: inventory_service_pb2.WatchEventsResponse) -> bool:
        """Return whether an event was told before, and comes again for what has become of it.

        Behind a gap it may not have been told yet; what was dealt with before that has a lower number.
        """
        behind_gap = frame.kind == watch_pb2.FRAME_KIND_SNAPSHOT
        return frame.revised and (not behind_gap or _number(frame.name) <= self._told_before_gap)


def _number(name: str) -> int:
    return int(name.rpartition("/")[2])
