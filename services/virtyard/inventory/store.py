"""The store of the inventory: its use cases, each one transaction, whatever database is behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.model import EndedGuest, Page, Query, Reading, RecordedGuest, RoundOutcome, TypedObject
from virtyard.inventory.observations import Observation

__all__ = ["InventoryStore"]


class InventoryStore(Protocol):
    """What the services of the inventory ask of their database; every answer is durable (P28)."""

    async def execute(self, effects: Sequence[participant.Effect]) -> RoundOutcome:
        """Carry out a round of effects in one commit.

        Raises:
            Unavailable: the outcome is unknown; the same effects may be sent again.
        """
        ...

    async def settle(self, request: participant.SettleRequest) -> participant.EffectRecord:
        """Return what came of an effect, or refuse its key for ever.

        Raises:
            StaleEpoch: another scheduler has adopted the operation.
            InvalidRequest: the key is malformed.
        """
        ...

    async def view(self, selections: Sequence[participant.Selection]) -> Reading:
        """Return what the selections lead to, projections included, all of one moment.

        Raises:
            InvalidRequest: a selection is malformed.
        """
        ...

    async def ledger(self, operations: Collection[int], after: int) -> agent_service_pb2.ListLedgerResponse:
        """Return a page of what the ledger has of operations, by their numbers; see `ledger_pages.list_ledger`."""
        ...

    async def get(self, name: str) -> TypedObject:
        """Return one object or event.

        Raises:
            NotFound: there is none of this name.
        """
        ...

    async def find(self, names: Collection[str]) -> Mapping[str, TypedObject]:
        """Return the objects of these names that exist, all of one moment."""
        ...

    async def list(self, query: Query) -> Page:
        """Return one page.

        Raises:
            InvalidRequest: the filter, the order or the page token is wrong.
        """
        ...

    async def count_events(self, text: str, within: str = "") -> Mapping[tuple[str, int], int]:
        """Return how many events a filter matches, of an object and what belongs to it if one is given.

        They are counted by (type, severity).

        Raises:
            InvalidRequest: the filter cannot be read.
        """
        ...

    def export_events(self, text: str, within: str = "") -> AsyncIterator[event_pb2.Event]:
        """Yield the live and archived events that a filter matches, the newest first; see `event_export`.

        Raises:
            InvalidRequest: the filter cannot be read.
        """
        ...

    async def take_certificate(self, identity: str, end: datetime) -> None:
        """Tell of a certificate whose end is near, or that it was renewed."""
        ...

    async def triage(self, name: str, *, within: bool) -> inventory_service_pb2.GetTriageEventResponse:
        """Return the worst open event of an object, or also of what belongs to it."""
        ...

    async def raise_events(self, events: Sequence[control_service_pb2.KeyedEvent]) -> None:
        """Store the events that are not there yet.

        Raises:
            InvalidRequest: an event lacks its key, type or severity, or is not as the catalogue has it.
        """
        ...

    async def observe(
        self, server: str, *, state: int, observed: server_pb2.ServerObservation | None
    ) -> Observation | None:
        """Store what was observed of a server; return what is known now, None if there is no such server."""
        ...

    async def disconnected(self) -> Collection[str]:
        """Return the servers that were told to be disconnected, and were not heard since."""
        ...

    async def tell_disconnected(self, server: str) -> None:
        """Raise the event that the contact to a server was lost, unless it was told or there is no such server."""
        ...

    async def differing_clocks(self) -> Collection[str]:
        """Return the servers whose clocks were told to differ, and not to agree since."""
        ...

    async def tell_host_clock(self, server: str, ahead: timedelta | None) -> None:
        """Raise the event that a host's clock differs, or with None that it agrees, if there is such a server."""
        ...

    async def tell_behind(self, server: str) -> None:
        """Raise an event if a server that has just reported misses changes, once for each return and each change."""
        ...

    async def recorded_guests(self, server: str) -> Sequence[RecordedGuest]:
        """Return the machines that are recorded as running on a server."""
        ...

    async def needed_guests(self, server: str, uids: Collection[str]) -> Collection[str]:
        """Return which ended guests of a server, by uid, are kept: their machines exist, and do not run elsewhere."""
        ...

    async def tell_stopped(self, server: str, lacking: Collection[RecordedGuest]) -> None:
        """Raise an event for each machine whose guest a server lacks, unless its record has changed meanwhile."""
        ...

    async def record_ended(self, server: str, ended: Sequence[EndedGuest]) -> None:
        """Record machines as stopped whose runs have ended on a server, unless their records have changed meanwhile."""
        ...

    async def raise_due_restarts(self) -> int | None:
        """Tell of the restarts whose pause is over; return when the next one is, in microseconds since 1970."""
        ...

    async def all_of(self, collection: str) -> Sequence[TypedObject]:
        """Return every object of a kind."""
        ...

    async def observations(self) -> Mapping[str, Observation]:
        """Return what is known of every server."""
        ...
