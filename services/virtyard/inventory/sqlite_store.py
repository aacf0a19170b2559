"""The store of the inventory in SQLite: each use case is one function in the database's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.acknowledging import triage
from virtyard.inventory.blocking_events import read_blocking
from virtyard.inventory.certificates import take_certificate
from virtyard.inventory.disconnections import read_disconnected, tell_disconnected
from virtyard.inventory.ended_guests import record_ended
from virtyard.inventory.event_changes import read_event
from virtyard.inventory.event_export import read_exported
from virtyard.inventory.event_log import count_events, read_events
from virtyard.inventory.events import check_events, microseconds, raise_events
from virtyard.inventory.guests import read_needed, read_recorded, tell_stopped
from virtyard.inventory.host_clocks import read_differing, tell_host_clock
from virtyard.inventory.ledger_pages import list_ledger
from virtyard.inventory.listing import EVENTS, parse_place, read_objects
from virtyard.inventory.model import EndedGuest, Page, Query, Reading, RecordedGuest, RoundOutcome, TypedObject
from virtyard.inventory.objects import read_row, read_rows, row_of
from virtyard.inventory.observations import Observation, missed_changes, observe, read_observations, tell_behind
from virtyard.inventory.projections import present
from virtyard.inventory.restarts import next_restart, raise_due_restarts
from virtyard.inventory.round import Round, StepHook, settle
from virtyard.inventory.selections import resolve
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import NotFound
from virtyard.kernel.names import collection_of, wrap
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.floor import FloorKeeper

__all__ = ["SqliteStore", "snapshot"]

_SITE = "SELECT id FROM site"
_SEQUENCE = "SELECT sequence FROM feed"
_OBJECTS_AFTER = """
    SELECT name, uid, generation, writer, deleted, body FROM object
    WHERE deleted = 0 AND name > ? ORDER BY name LIMIT ?
"""
_ALL_OF = "SELECT name, uid, generation, writer, deleted, body FROM object WHERE kind = ? AND deleted = 0 ORDER BY name"
_SNAPSHOT_PAGE = 512

OnEffects: TypeAlias = Callable[[Mapping[str, TypedObject | None]], None]
OnCommit: TypeAlias = Callable[[Collection[str]], None]


class SqliteStore:
    """Keeps the inventory in one database file."""

    def __init__(
        self, database: Database, clock: Clock, step_hook: StepHook | None = None, floor: FloorKeeper | None = None
    ) -> None:
        """Use an open database.

        Args:
            database: has the inventory's migrations.
            clock: gives the times that objects show.
            step_hook: lets steps fail; see `Round`.
            floor: says below which operation keys are refused; none are if None.
        """
        self._step_hook = step_hook
        self._floor = floor
        self._database = database
        self._clock = clock
        self._on_effects: list[OnEffects] = []
        self._on_commit: list[OnCommit] = []

    def on_effects(self, callback: OnEffects) -> None:
        """Have `callback` told after each round, before its news, which objects it changed; None where one is gone."""
        self._on_effects.append(callback)

    def on_commit(self, callback: OnCommit) -> None:
        """Have `callback` told after each commit, before its news, the names of the objects that it changed."""
        self._on_commit.append(callback)

    async def execute(self, effects: Sequence[participant.Effect]) -> RoundOutcome:
        """See `InventoryStore.execute`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> RoundOutcome:
            transaction.transition("inventory.I", [effect.step_key for effect in effects])
            return Round(transaction, now, self._step_hook, settled_below=self._settled_below).run(effects)

        return await self._database.write(run, after=self._after_round)

    def _after_round(self, outcome: RoundOutcome) -> None:
        for on_effects in self._on_effects:
            on_effects(outcome.objects)
        for on_commit in self._on_commit:
            on_commit(outcome.objects)

    def _after_report(self, names: Collection[str]) -> None:
        for on_commit in self._on_commit:
            on_commit(names)

    async def settle(self, request: participant.SettleRequest) -> participant.EffectRecord:
        """See `InventoryStore.settle`."""

        def run(transaction: Transaction) -> participant.EffectRecord:
            transaction.transition("inventory.settled", [request.step_key])
            return settle(transaction, request, settled_below=self._settled_below)

        return await self._database.write(run)

    @property
    def _settled_below(self) -> int:
        return self._floor.settled_below if self._floor is not None else 0

    async def view(self, selections: Sequence[participant.Selection]) -> Reading:
        """See `InventoryStore.view`."""

        def run(connection: sqlite3.Connection) -> Reading:
            rows = read_rows(connection, resolve(connection, selections))
            objects = present(connection, (row for row in rows.values() if not row.deleted))
            (sequence,) = connection.execute(_SEQUENCE).fetchone()
            (owner_id,) = connection.execute(_SITE).fetchone()
            return Reading(
                objects=[wrap(message) for message in objects],
                sequence=sequence,
                owner_id=owner_id,
                blocking=read_blocking(connection, rows),
            )

        return await self._database.read(run)

    async def ledger(self, operations: Collection[int], after: int) -> agent_service_pb2.ListLedgerResponse:
        """See `InventoryStore.ledger`."""
        return await self._database.read(lambda connection: list_ledger(connection, operations, after))

    async def get(self, name: str) -> TypedObject:
        """See `InventoryStore.get`."""

        def run(connection: sqlite3.Connection) -> TypedObject:
            row = read_row(connection, name)
            if row is None or row.deleted:
                raise NotFound(f"{name} does not exist", resource=name)
            return present(connection, [row])[0]

        return await self._database.read(_event_reader(name) if collection_of(name) == EVENTS else run)

    async def find(self, names: Collection[str]) -> Mapping[str, TypedObject]:
        """See `InventoryStore.find`."""

        def run(connection: sqlite3.Connection) -> Mapping[str, TypedObject]:
            rows = read_rows(connection, names).values()
            return {one.name: one for one in present(connection, (row for row in rows if not row.deleted))}

        return await self._database.read(run)

    async def list(self, query: Query) -> Page:
        """See `InventoryStore.list`."""
        place = parse_place(query)
        read = read_events if query.collection == EVENTS else read_objects
        return await self._database.read(lambda connection: read(connection, query, place))

    async def count_events(self, text: str, within: str = "") -> Mapping[tuple[str, int], int]:
        """See `InventoryStore.count_events`."""
        counted: dict[tuple[str, int], int] = {}
        until: int | None = None
        while until != 0:
            count = partial(count_events, text=text, until=until, counted=counted, within=within)
            counted, until = await self._database.read(count)
        return counted

    async def export_events(self, text: str, within: str = "") -> AsyncIterator[event_pb2.Event]:
        """See `InventoryStore.export_events`."""
        before: int | None = None
        while before != 0:
            read = partial(read_exported, text=text, within=within, before=before)
            events, before = await self._database.read(read)
            for event in events:
                yield event

    async def take_certificate(self, identity: str, end: datetime) -> None:
        """See `InventoryStore.take_certificate`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> None:
            transaction.transition("inventory.certificate")
            take_certificate(transaction, identity, end, now)

        await self._database.write(run)

    async def triage(self, name: str, *, within: bool) -> inventory_service_pb2.GetTriageEventResponse:
        """See `InventoryStore.triage`."""
        return await self._database.read(lambda connection: triage(connection, name, within=within))

    async def raise_events(self, events: Sequence[control_service_pb2.KeyedEvent]) -> None:
        """See `InventoryStore.raise_events`."""
        check_events(events)
        now = self._clock.now()

        def run(transaction: Transaction) -> None:
            transaction.transition("inventory.events")
            raise_events(transaction, events, now)

        await self._database.write(run)

    async def observe(
        self, server: str, *, state: int, observed: server_pb2.ServerObservation | None
    ) -> Observation | None:
        """See `InventoryStore.observe`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> Observation | None:
            transaction.transition("inventory.observed")
            return observe(transaction, server, state=state, observed=observed, now=now)

        return await self._database.write(run, after=lambda _: self._after_report([server]))

    async def disconnected(self) -> Collection[str]:
        """See `InventoryStore.disconnected`."""
        return await self._database.read(read_disconnected)

    async def tell_disconnected(self, server: str) -> None:
        """See `InventoryStore.tell_disconnected`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> None:
            transaction.transition("inventory.disconnected")
            tell_disconnected(transaction, server, now)

        await self._database.write(run)

    async def differing_clocks(self) -> Collection[str]:
        """See `InventoryStore.differing_clocks`."""
        return await self._database.read(read_differing)

    async def tell_host_clock(self, server: str, ahead: timedelta | None) -> None:
        """See `InventoryStore.tell_host_clock`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> None:
            transaction.transition("inventory.host_clock")
            tell_host_clock(transaction, server, ahead, now)

        await self._database.write(run)

    async def tell_behind(self, server: str) -> None:
        """See `InventoryStore.tell_behind`."""
        if await self._database.read(lambda connection: missed_changes(connection, server)):
            now = self._clock.now()

            def run(transaction: Transaction) -> None:
                transaction.transition("inventory.behind")
                tell_behind(transaction, server, now)

            await self._database.write(run)

    async def recorded_guests(self, server: str) -> Sequence[RecordedGuest]:
        """See `InventoryStore.recorded_guests`."""
        return await self._database.read(lambda connection: read_recorded(connection, server))

    async def needed_guests(self, server: str, uids: Collection[str]) -> Collection[str]:
        """See `InventoryStore.needed_guests`."""
        return await self._database.read(lambda connection: read_needed(connection, server, uids))

    async def tell_stopped(self, server: str, lacking: Collection[RecordedGuest]) -> None:
        """See `InventoryStore.tell_stopped`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> None:
            transaction.transition("inventory.guests")
            tell_stopped(transaction, server, lacking, now)

        await self._database.write(run)

    async def record_ended(self, server: str, ended: Sequence[EndedGuest]) -> None:
        """See `InventoryStore.record_ended`."""
        now = self._clock.now()

        def run(transaction: Transaction) -> list[str]:
            transaction.transition("inventory.ended")
            return record_ended(transaction, server, ended, now)

        await self._database.write(run, after=self._after_report)

    async def raise_due_restarts(self) -> int | None:
        """See `InventoryStore.raise_due_restarts`."""
        now = self._clock.now()
        due = await self._database.read(next_restart)
        if due is None or due > microseconds(now):
            return due

        def run(transaction: Transaction) -> int | None:
            transaction.transition("inventory.restarts")
            raise_due_restarts(transaction, now)
            return next_restart(transaction)

        return await self._database.write(run)

    async def all_of(self, collection: str) -> Sequence[TypedObject]:
        """See `InventoryStore.all_of`."""

        def run(connection: sqlite3.Connection) -> Sequence[TypedObject]:
            return present(connection, [row_of(columns) for columns in connection.execute(_ALL_OF, (collection,))])

        return await self._database.read(run)

    async def observations(self) -> Mapping[str, Observation]:
        """See `InventoryStore.observations`."""
        return await self._database.read(lambda connection: dict(read_observations(connection)))


def snapshot(connection: sqlite3.Connection, topic: str, after_key: str, sequence: int) -> Iterator[tuple[str, bytes]]:  # noqa: ARG001  # the feed's signature
    """Yield (name, serialised `Object`) of every object after a name, in order, as `Feed.watch` wants it."""
    while True:
        rows = connection.execute(_OBJECTS_AFTER, (after_key, _SNAPSHOT_PAGE)).fetchall()
        for message in present(connection, map(row_of, rows)):
            yield message.name, wrap(message).SerializeToString()
        if len(rows) < _SNAPSHOT_PAGE:
            return
        after_key = rows[-1][0]


def _event_reader(name: str) -> Callable[[sqlite3.Connection], TypedObject]:
    return lambda connection: read_event(connection, name, archived=True)
