"""The composition root of the inventory."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from virtyard.api.inventory.v1 import inventory_service_pb2, upload_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2
from virtyard.internal.inventory.v1 import control_service_pb2, host_service_pb2
from virtyard.inventory.acknowledging import Acknowledging
from virtyard.inventory.activities import Activities
from virtyard.inventory.activity import LockActivity
from virtyard.inventory.activity_news import ActivityNews
from virtyard.inventory.allowed_operations import AllowedOperations
from virtyard.inventory.belonging import Belonging, read_owners
from virtyard.inventory.built_in import install
from virtyard.inventory.contacts import Contacts
from virtyard.inventory.control_rpc import ControlRpc
from virtyard.inventory.dead_servers import DeadServers
from virtyard.inventory.expectations import Expectations
from virtyard.inventory.flood import USUAL_RULE, FloodRule, keep_rule
from virtyard.inventory.guests import GuestReports
from virtyard.inventory.host_rpc import HostRpc
from virtyard.inventory.inventory_rpc import InventoryRpc
from virtyard.inventory.ledger import forget_settled
from virtyard.inventory.metrics import show_servers
from virtyard.inventory.model import TypedObject
from virtyard.inventory.open_events import InventoryFeed, read_open
from virtyard.inventory.participant_rpc import LedgerEnd, ParticipantRpc
from virtyard.inventory.presence import Presence
from virtyard.inventory.retention import EVENT_RETENTION, Retention, keep_events
from virtyard.inventory.round import StepHook
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.inventory.store import InventoryStore
from virtyard.inventory.upload_rpc import UploadRpc
from virtyard.inventory.uploads import COLLECTION, Limits, Uploads
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.operations.catalogue import load
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.floor import FloorKeeper
from virtyard.runtime.metrics import Look, Metrics
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope

__all__ = ["Inventory", "open_inventory"]

_log = logging.getLogger(__name__)
_MIGRATIONS = "virtyard.inventory.migrations"
_SWEEP_UPLOADS = 600.0
_RESTARTS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A running inventory."""

    services: tuple[Service, ...]
    """What is served, over the wire or within the process: InventoryService, UploadService, ControlService, HostService
    and ParticipantService."""
    feed: Feed
    """The news of objects (`object`) and events (`event`)."""
    database: Database
    """inventory.db."""
    presence: Presence
    """Which servers report."""
    activity: LockActivity | None
    """Who locks what; None without a lock service."""
    end_streams: Callable[[], None]
    """Ends the streams of effects and of uploads; to be called when the server closes, see `serve(on_closing=...)`."""


@asynccontextmanager
async def open_inventory(
    state_dir: Path | str,
    clock: Clock,
    locks_channel: grpc.aio.Channel | None = None,
    *,
    report_interval: float = 10.0,
    silence: float = 35.0,
    keepalive: float = 15.0,
    retention: Retention = EVENT_RETENTION,
    flood: FloodRule = USUAL_RULE,
    upload_limits: Limits | None = None,
    transition_hook: Callable[[str], None] | None = None,
    commit_hook: Callable[[sqlite3.Connection], None] | None = None,
    step_hook: StepHook | None = None,
    journal_keep: int = 100_000,
    built_in: Sequence[TypedObject] = (),
    metrics: Metrics | None = None,
) -> AsyncGenerator[Inventory, None]:
    """Open inventory.db in this folder and run the inventory on it; watchers are told GOODBYE at the end.

    Args:
        state_dir: the folder of the database; made if it is missing.
        clock: the process's clock.
        locks_channel: a channel to the lock service, for `activity`; None if locks are not to be shown.
        report_interval: seconds between the reports of an agent.
        silence: seconds without a report after which a server is offline.
        keepalive: seconds of silence after which a watcher is sent a KEEPALIVE.
        retention: how long events are kept.
        flood: from when on events of one type and object are folded.
        upload_limits: what uploads may take.
        transition_hook: is told every durable transition; see `Database.open`.
        commit_hook: makes commits fail; see `Database.open`.
        step_hook: lets steps fail; see `Round`.
        journal_keep: about so many entries of the feed are kept; see `Database.open`.
        built_in: the objects that are made the first time.
        metrics: of the process; nowhere that is read if None.

    Raises:
        WrongState: another process has the folder open.
    """
    metrics = metrics or Metrics()
    feed = InventoryFeed(keepalive=keepalive)
    database = await Database.open(
        Path(state_dir) / "inventory.db",
        _MIGRATIONS,
        feed,
        clock,
        transition_hook=transition_hook,
        commit_hook=commit_hook,
        journal_keep=journal_keep,
    )
    metrics.watch_database(database)
    metrics.watch_feed(feed)
    async with database, TaskScope("inventory") as scope:
        floor = FloorKeeper(database, forget_settled, "inventory.floor")
        await floor.open()
        store = SqliteStore(database, clock, step_hook, floor)
        feed.open_events.load(await database.read(read_open))
        await keep_rule(database, flood)
        await install(database, clock, built_in)
        presence = Presence(store, clock, interval=report_interval, silence=silence, refresh=6 * report_interval)
        store.on_effects(presence.notice)
        await presence.open()
        metrics.on_scrape("inventory.servers", _look(metrics, presence))
        uploads = Uploads(Path(state_dir) / "uploads", clock, upload_limits)
        await uploads.open()
        store.on_effects(lambda objects: _forget_used(uploads, scope, objects))
        activity = _follow_activity(store, feed, locks_channel, scope)
        expectations = await Expectations.of(store)
        store.on_effects(expectations.notice)
        belonging, contacts = await _follow_belonging(store, database), Contacts(presence, scope)
        guests = await _follow_guests(store, activity, scope)
        _ = scope.start(_sweep(presence, report_interval), name="presence", vital=True)
        _ = scope.start(keep_events(database, clock, retention, feed.open_events.forget), name="retention", vital=True)
        _ = scope.start(_sweep_uploads(uploads), name="uploads", vital=True)
        _ = scope.start(_restart(store), name="restarts", vital=True)
        _ = scope.start(floor.run(), name="floor", vital=True)

        shown = Activities(feed.open_events, activity, AllowedOperations(load()))
        acknowledging = Acknowledging(database=database, clock=clock, activity=activity)
        effects = ParticipantRpc(store, scope, LedgerEnd(id=database.identity, floor=floor), metrics)

        def end_streams() -> None:
            contacts.end()
            effects.end_streams()
            uploads.end_streams()

        try:
            yield Inventory(
                services=(
                    Service(
                        _service(inventory_service_pb2), InventoryRpc(store, feed, shown.of, acknowledging, belonging)
                    ),
                    Service(_service(control_service_pb2), ControlRpc(store, feed)),
                    Service(
                        _service(host_service_pb2),
                        HostRpc(presence, guests, clock, uploads, expectations, store, contacts),
                    ),
                    Service(_service(upload_service_pb2), UploadRpc(uploads)),
                    Service(_service(participant_service_pb2), effects),
                ),
                feed=feed,
                database=database,
                presence=presence,
                activity=activity,
                end_streams=end_streams,
            )
        finally:
            end_streams()
            uploads.close()
            feed.close()


def _follow_activity(
    store: SqliteStore, feed: InventoryFeed, locks_channel: grpc.aio.Channel | None, scope: TaskScope
) -> LockActivity | None:
    """Have watchers of objects told of locks and open events; return the locks, None without a lock service."""
    news = ActivityNews(store, feed)
    store.on_commit(news.committed)
    feed.open_events.changed = news.changed
    _ = scope.start(news.publish(), name="activity-news", vital=True)
    if locks_channel is None:
        return None
    activity = LockActivity(locks_channel, news.changed)
    _ = scope.start(activity.follow(), name="activity", vital=True)
    return activity


async def _follow_guests(store: SqliteStore, activity: LockActivity | None, scope: TaskScope) -> GuestReports:
    """Return what follows guests by reports, and have those of servers that are proven dead recorded as stopped."""
    activity_of = activity.of if activity is not None else None
    guests, dead = GuestReports(store, activity_of), DeadServers(store, activity_of)
    await dead.recall()
    store.on_effects(guests.notice)
    store.on_effects(dead.notice)
    _ = scope.start(dead.run(), name="deaths", vital=True)
    return guests


async def _follow_belonging(store: SqliteStore, database: Database) -> Belonging:
    """Return what each object belongs to, followed from now on."""
    belonging = Belonging()
    belonging.load(await database.read(read_owners))
    store.on_effects(belonging.notice)
    return belonging


def _look(metrics: Metrics, presence: Presence) -> Look:
    async def look() -> None:
        show_servers(metrics, presence.states())

    return look


def _service(module: Any) -> ServiceDescriptor:
    """Return the one service of a generated module."""
    (descriptor,) = module.DESCRIPTOR.services_by_name.values()
    return cast("ServiceDescriptor", descriptor)


async def _sweep(presence: Presence, interval: float) -> None:
    """Look for silent servers until cancelled."""
    while True:
        await asyncio.sleep(interval / 2)
        try:
            await presence.sweep()
        except VirtyardError as error:
            _log.warning("silent servers could not be noted: %s", error)


async def _restart(store: InventoryStore) -> None:
    """Tell of restarts whose pause is over, until cancelled."""
    while True:
        await asyncio.sleep(_RESTARTS)
        try:
            await store.raise_due_restarts()
        except VirtyardError as error:
            _log.warning("restarts that are due could not be told of: %s", error)


async def _sweep_uploads(uploads: Uploads) -> None:
    """Remove old uploads now and then, until cancelled."""
    while True:
        await asyncio.sleep(_SWEEP_UPLOADS)
        try:
            await uploads.sweep()
        except (VirtyardError, OSError) as error:
            _log.warning("old uploads could not be removed: %s", error)


def _forget_used(uploads: Uploads, scope: TaskScope, objects: Mapping[str, TypedObject | None]) -> None:
    """Remove the uploads of images that were just recorded; one that stays by mischance expires."""
    for name, image in objects.items():
        if name.startswith("images/") and image is not None and image.source.startswith(f"{COLLECTION}/"):
            _ = scope.start(uploads.remove(image.source), name="upload")
