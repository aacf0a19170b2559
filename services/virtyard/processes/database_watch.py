"""The database watch: a service that cannot write its database tells a person, once, and again when it can.

A commit that fails begins an episode if the disk then takes no file either; the episode ends once the disk has room and
the database takes a row. Each is one event, kept here until the inventory has stored it: that of the inventory itself
can be stored only when it is over, so its message says since and until when. Health shows it meanwhile, by the name
`database/jobs` and its like.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import grpc.aio

from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.runtime.database import Database
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.server import Server
from virtyard.runtime.status import errors_named
from virtyard.runtime.threads import Threads
from virtyard.runtime.writable import why_unwritable

__all__ = ["DatabaseWatch", "database_watched", "inventory_near"]

_log = logging.getLogger(__name__)
_TIMEOUT = 10.0
_EVERY = 1.0

Show = Callable[[bool], Awaitable[None]]
"""Shows whether the database can be written."""
Reach = Callable[[], Awaitable[grpc.aio.Channel]]
"""Opens a channel to the inventory, once it is known where that is."""


class DatabaseWatch:
    """Watches the database of one service, and tells the inventory when it cannot be written, and when it can."""

    def __init__(self, database: Database, clock: Clock, show: Show) -> None:
        """Look at nothing until `run` runs.

        Args:
            database: is looked at; its file is named after its service.
            clock: gives since and until when.
            show: is told when an episode begins and ends.
        """
        self._database = database
        self._subject = f"services/{database.path.stem}"
        self._clock = clock
        self._show = show
        self._failed = database.failed_commits
        self._since: datetime | None = None
        self._why = ""
        self._untold = control_service_pb2.RaiseEventsRequest()
        self._news = asyncio.Event()

    @property
    def why(self) -> str:
        """Return why the database cannot be written; empty if it can."""
        return self._why

    async def run(self, reach: Reach) -> None:
        """Look every second and tell what is found, until cancelled."""
        await self._show(True)
        threads = Threads("database-watch", 1)
        try:
            async with TaskScope("database-watch") as scope:
                _ = scope.start(self._tell_all(reach, threads), name="tell")
                while True:
                    await self.look(threads)
                    await asyncio.sleep(_EVERY)
        finally:
            threads.close()

    async def look(self, threads: Threads) -> None:
        """Try the disk where a commit has failed since the last look, or could not be done then."""
        failed = self._database.failed_commits
        if self._since is None and failed == self._failed:
            return
        why = await why_unwritable(self._database, threads)
        # What fails from here on is looked at anew.
        self._failed = failed if self._since is None else self._database.failed_commits
        if why and self._since is None:
            self._since, self._why = self._clock.now(), why
            await self._show(False)
            self._add(event_types.DATABASE_UNWRITABLE, f"{self._place} cannot be written: {why}")
        elif not why and self._since is not None:
            span = f"it could not from {_shown(self._since)} until {_shown(self._clock.now())}: {self._why}"
            self._since, self._why = None, ""
            self._add(event_types.DATABASE_WRITABLE, f"{self._place} can be written again; {span}")
            await self._show(True)

    @property
    def _place(self) -> str:
        return f"{self._database.path}, the database of {self._subject},"

    def _add(self, kind: event_types.EventType, text: str) -> None:
        _log.warning("%s", text)
        event = event_types.new_event(kind, self._subject, text)
        self._untold.events.add(key=f"{self._subject}/database/{uuid.uuid4().hex}", event=event)
        self._news.set()

    async def _tell_all(self, reach: Reach, threads: Threads) -> None:
        """Tell the inventory what there is to tell, each once, for as long as it takes."""
        channel = await reach()
        try:
            await self._again(partial(self._take_up, channel, threads))
            while True:
                await self._news.wait()
                self._news.clear()
                await self._again(partial(self._tell, channel))
        finally:
            await channel.close()

    async def _again(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Do it until the inventory has taken it."""
        while True:
            try:
                return await ask()
            except VirtyardError as error:
                _log.debug("%s tells of its database again: %s", self._subject, error)
            await asyncio.sleep(_EVERY)

    async def _take_up(self, channel: grpc.aio.Channel, threads: Threads) -> None:
        """End what an earlier run of the process has told, if it is over."""
        kind = event_types.DATABASE_UNWRITABLE.name
        wanted = inventory_service_pb2.ListEventsRequest(
            filter=f'type = {kind} AND object = "{self._subject}" AND open = true', page_size=1
        )
        stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        with errors_named():
            events = (await stub.ListEvents(wanted, timeout=_TIMEOUT)).events
        if not events or self._since is not None or self._untold.events:
            return
        if why := await why_unwritable(self._database, threads):
            self._since, self._why = events[0].create_time.ToDatetime(self._clock.now().tzinfo), why
            await self._show(False)
        else:
            self._add(event_types.DATABASE_WRITABLE, f"{self._place} can be written, as its service is started again")

    async def _tell(self, channel: grpc.aio.Channel) -> None:
        request = control_service_pb2.RaiseEventsRequest(events=self._untold.events)
        stub: Any = control_service_pb2_grpc.ControlServiceStub(channel)
        if request.events:
            with errors_named():
                await stub.RaiseEvents(request, timeout=_TIMEOUT)
            del self._untold.events[: len(request.events)]


@asynccontextmanager
async def database_watched(database: Database, clock: Clock, server: Server, reach: Reach) -> AsyncIterator[None]:
    """Watch the database of a service until the block ends.

    Args:
        database: of the service.
        clock: the process's clock.
        server: whose health shows it.
        reach: opens a channel to the inventory, which is closed here.
    """
    watch = DatabaseWatch(database, clock, partial(server.show_health, f"database/{database.path.stem}"))
    async with TaskScope("database-watch") as scope:
        _ = scope.start(watch.run(reach), name="database-watch")
        yield


def inventory_near(inventory: Sequence[Service], service: str) -> Reach:
    """Return what reaches an inventory of the same process, for a service that calls by its own name."""

    async def reach() -> grpc.aio.Channel:
        return LocalChannel(inventory, Principal.of(f"service/{service}"))

    return reach


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
