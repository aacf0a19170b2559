"""The clock watch: where the machine's clock leaves that of a process, a person is told, and says whether to follow.

A jump of more than a minute is not followed (P33). It is told as an event; acknowledging that event confirms the
machine's clock, and so does a time service that keeps it in step (`runtime.time_service`) once it has stood the jump
for a minute. While the two agree nothing is asked of anybody.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc.aio

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.kernel import event_types
from virtyard.kernel.errors import NotFound, VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.runtime.clock import JUMP, SystemClock
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import errors_named
from virtyard.runtime.time_service import is_synchronised

__all__ = ["ClockWatch", "clock_watched", "clock_watched_here", "clock_watched_later"]

_log = logging.getLogger(__name__)
_TIMEOUT = 10.0
_EVERY = 5.0
_STABLE_SECONDS = 60.0
"""A jump that has stood for so long, while a time service vouches for the machine's clock, needs no person."""


class ClockWatch:
    """Watches the clock of one process, tells the inventory of jumps, and follows those that are confirmed."""

    def __init__(
        self,
        clock: SystemClock,
        subject: str,
        channel: grpc.aio.Channel,
        is_synchronised: Callable[[], bool] = is_synchronised,
    ) -> None:
        """Look at nothing until `run` runs.

        Args:
            clock: the process's clock.
            subject: whose it is, as services/jobs.
            channel: to the inventory.
            is_synchronised: tells whether a time service vouches for the machine's clock.
        """
        self._clock = clock
        self._subject = subject
        self._events: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        self._control: Any = control_service_pb2_grpc.ControlServiceStub(channel)
        self._is_synchronised = is_synchronised
        self._open: str | None = None
        self._known = False
        self._jump = ""
        self._told_offset = 0.0
        self._stands_since = 0.0

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self.look()
            except VirtyardError as error:
                _log.debug("the clock of %s is looked at again: %s", self._subject, error)
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Compare the clocks once; tell of a jump, of its end, and follow what has been confirmed.

        Raises:
            VirtyardError: the inventory could not be told or asked; the next look does it.
        """
        if not self._known:
            # An earlier run of the process may have told of a jump.
            self._open, self._known = await self._find_open(), True
            self._told_offset = self._clock.offset
            if self._open is not None:
                self._jump = ""
        if not self._clock.jumped:
            if self._open is not None:
                await self._tell_agreement(f"agrees with that of {self._subject} again")
            return
        offset = self._clock.offset
        if self._open is None or abs(offset - self._told_offset) > JUMP:
            await self._tell_jump(offset)
        elif confirmed := await self._confirmed(self._open):
            self._clock.follow()
            _log.warning("the clock follows the machine's by %.0f s, as %s confirmed", offset, confirmed)
            how = "" if offset > 0 else ", at half its pace until they meet"
            await self._tell_agreement(f"is followed by that of {self._subject}{how}, as {confirmed} confirmed")

    async def _find_open(self) -> str | None:
        kind = event_types.CLOCK_JUMPED.name
        wanted = f'type = {kind} AND object = "{self._subject}" AND open = true'
        with errors_named():
            answer = await self._events.ListEvents(
                inventory_service_pb2.ListEventsRequest(filter=wanted, page_size=1), timeout=_TIMEOUT
            )
        events: Sequence[event_pb2.Event] = answer.events
        return events[0].name if events else None

    async def _confirmed(self, name: str) -> str:
        """Return who or what confirmed the jump that an event tells of; empty if nobody has."""
        if self._clock.monotonic() - self._stands_since >= _STABLE_SECONDS and self._is_synchronised():
            return "the time service of the machine"
        try:
            with errors_named():
                event = await self._events.GetEvent(inventory_service_pb2.GetEventRequest(name=name), timeout=_TIMEOUT)
        except NotFound:
            self._open = None  # forgotten by its age: it is told again
            return ""
        return str(event.acknowledged_by)

    async def _tell_jump(self, offset: float) -> None:
        far = timedelta(seconds=round(abs(offset)))
        way = "ahead of" if offset > 0 else "behind"
        text = f"the machine's clock has jumped and is {far} {way} that of {self._subject}, which does not follow"
        # What is told may be done though the call seems to fail: told again, it must not be another event.
        self._known = False
        self._jump = self._jump or uuid.uuid4().hex
        await self._raise(event_types.CLOCK_JUMPED, text, self._jump)
        _log.warning("%s", text)
        self._jump = ""
        self._told_offset, self._stands_since = offset, self._clock.monotonic()
        self._open, self._known = await self._find_open(), True

    async def _tell_agreement(self, text: str) -> None:
        await self._raise(event_types.CLOCK_AGREES, f"the machine's clock {text}", uuid.uuid4().hex)
        self._open = None

    async def _raise(self, kind: event_types.EventType, text: str, key: str) -> None:
        request = control_service_pb2.RaiseEventsRequest()
        event = event_types.new_event(kind, self._subject, text)
        request.events.add(key=f"{self._subject}/clock/{key}", event=event)
        with errors_named():
            await self._control.RaiseEvents(request, timeout=_TIMEOUT)


@asynccontextmanager
async def clock_watched(clock: SystemClock, name: str, channel: grpc.aio.Channel) -> AsyncIterator[None]:
    """Watch the clock of a process until the block ends.

    Args:
        clock: the process's clock.
        name: the process, as jobs.
        channel: to the inventory.
    """
    async with TaskScope("clock") as scope:
        _ = scope.start(ClockWatch(clock, f"services/{name}", channel).run(), name="clock", vital=True)
        yield


@asynccontextmanager
async def clock_watched_later(
    clock: SystemClock, name: str, reach: Callable[[], Awaitable[grpc.aio.Channel]]
) -> AsyncIterator[None]:
    """Watch the clock of a process that needs no inventory, once there is one, until the block ends.

    Args:
        clock: the process's clock.
        name: the process, as locks.
        reach: opens a channel to the inventory as soon as somebody knows where that is.
    """

    async def watch() -> None:
        channel = await reach()
        try:
            await ClockWatch(clock, f"services/{name}", channel).run()
        finally:
            await channel.close()

    async with TaskScope("clock") as scope:
        _ = scope.start(watch(), name="clock", vital=True)
        yield


@asynccontextmanager
async def clock_watched_here(clock: SystemClock, name: str, inventory: Sequence[Service]) -> AsyncIterator[None]:
    """Watch the clock of the process that has the inventory until the block ends."""
    async with (
        LocalChannel(inventory, Principal.of("service/inventory")) as channel,
        clock_watched(clock, name, channel),
    ):
        yield
