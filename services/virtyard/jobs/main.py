"""The composition root of the job scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from virtyard.api.jobs.v1 import job_service_pb2, lock_control_service_pb2
from virtyard.api.operations.v1 import operation_service_pb2
from virtyard.api.type.v1 import annotations_pb2
from virtyard.jobs.auditor import Auditor
from virtyard.jobs.automatic import RolesOf
from virtyard.jobs.automation import Automation
from virtyard.jobs.counted_locks import COPY, CountedLocks
from virtyard.jobs.death_records import DeathRecords
from virtyard.jobs.deaths import Deaths
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.due import DueWork
from virtyard.jobs.greeter import Greeter
from virtyard.jobs.history import JOB_HISTORY, History, HistoryRetention
from virtyard.jobs.inventory_port import InventoryPort
from virtyard.jobs.job_filters import JobFilters
from virtyard.jobs.lock_control_rpc import LockControl, UnderCheck
from virtyard.jobs.model import Operation
from virtyard.jobs.participants import Participants
from virtyard.jobs.probation import note_clean_stop
from virtyard.jobs.proofs import Proofs
from virtyard.jobs.recovery import Recovery
from virtyard.jobs.rpc import JobService, Operations, OperationServices
from virtyard.jobs.scheduler import Scheduler
from virtyard.jobs.store import JobStore
from virtyard.jobs.submission import Submission
from virtyard.jobs.through import Members
from virtyard.jobs.webhooks import WEBHOOK_POLICY, WebhookPolicy
from virtyard.jobs.world import World
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.names import INVENTORY, id_of
from virtyard.locks.proxy import LocksProxy
from virtyard.operations import catalogue
from virtyard.operations.contract import OperationType
from virtyard.runtime.channel import open_channel
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.pki import Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope

_MIGRATIONS = "virtyard.jobs.migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """A job scheduler that is open."""

    services: list[Service]
    """What it serves."""
    scheduler: Scheduler
    """Runs operations, once it is started."""
    feed: Feed
    """The news of jobs and operations."""
    database: Database
    """jobs.db."""
    auditor: Auditor
    """Looks at the whole site, by itself."""


def scope_of(topic: str, key: str) -> str:
    """Return the operation that an entry of the feed belongs to."""
    return key if topic == "operation" else f"operations/{key[5 : key.index('-')]}"


@asynccontextmanager
async def open_jobs(
    state_dir: Path | str,
    clock: Clock,
    *,
    inventory: grpc.aio.Channel,
    locks: grpc.aio.Channel,
    credentials: Credentials,
    transition_hook: Callable[[str], None] | None = None,
    keepalive: float = 15.0,
    journal_keep: int = 100_000,
    audit_interval: float = 30.0,
    copies_per_server: int = 4,
    metrics: Metrics | None = None,
    history: HistoryRetention = JOB_HISTORY,
    webhooks: WebhookPolicy = WEBHOOK_POLICY,
    roles: RolesOf = lambda _: None,
) -> AsyncIterator[Jobs]:
    """Open jobs.db in this folder, adopt what is open, and run operations until the block is left.

    Args:
        state_dir: the folder of the database; made if it is missing.
        clock: the process's clock.
        inventory: a channel to the inventory, near or far.
        locks: a channel to the lock service, near or far.
        credentials: what agents are called with.
        transition_hook: is told every durable transition; see `Database.open`.
        keepalive: seconds of silence after which a watcher is sent a KEEPALIVE.
        journal_keep: about so many entries of the feed are kept; see `Database.open`.
        audit_interval: seconds between two looks of the auditor.
        copies_per_server: how many copies of disk content run at once on a server.
        metrics: of the process; nowhere that is read if None.
        history: how long ended operations are kept.
        webhooks: how hard webhooks try.
        roles: gives the roles of the owners of triggers and schedules.

    Raises:
        WrongState: another process has the folder open.
    """
    metrics = metrics or Metrics()
    feed = Feed("jobs", keepalive=keepalive, scope_of=scope_of)
    database = await Database.open(
        Path(state_dir) / "jobs.db",
        _MIGRATIONS,
        feed,
        clock,
        transition_hook=transition_hook,
        journal_keep=journal_keep,
    )
    metrics.watch_database(database)
    metrics.watch_feed(feed)
    port = InventoryPort(inventory)
    operations = catalogue.load()

    try:
        async with LocksProxy(locks) as proxy, TaskScope("jobs") as tasks:
            store = JobStore(database)
            await store.complete_rows()
            recovery = Recovery(store, port, inventory, locks)
            await recovery.open()
            connect = _dialler(inventory, port, credentials, recovery)
            death_records = DeathRecords(database)
            await death_records.recall()
            deaths = Deaths(death_records, store.ledgers, port.view)
            greeter = Greeter(store.ledgers, store.settled, store.open_operations, death_records)
            proxy.settled_below = lambda: store.settled.below
            participants, due = Participants(connect, tasks, greeter, deaths), DueWork(store, proxy, port)
            deaths.members = Members(port.view, lambda server: participants.link(server).reached())
            definitions = Definitions(inventory)
            filters = JobFilters(definitions, proxy, clock)
            counted = CountedLocks({COPY: copies_per_server})
            world = World(
                store=store,
                locks=proxy,
                view=port.view,
                has_changed=port.has_changed,
                participants=participants,
                operations=operations,
                show=feed.publish_progress,
                filters=filters,
                counted=counted,
                tasks=tasks,
                clock=clock,
                on_due=due.add,
            )
            scheduler = Scheduler(world, due, tasks, metrics)
            _ = tasks.start(History(store, clock, history).run(), name="history", vital=True)
            auditor = Auditor(
                locks=locks,
                database=database,
                participants=participants,
                raise_events=port.raise_events,
                clock=clock,
                metrics=metrics,
            )
            _ = tasks.start(auditor.run(audit_interval), name="audit", vital=True)
            recovery.on_due = due.add
            scheduler.before_start = _comparing(recovery, connect, tasks)
            tokens = _tokens(feed, proxy)
            submission = Submission(
                operations, _titles(operations), store, port, tokens, scheduler.run, clock, _admitting(counted, filters)
            )
            submission.proofs = Proofs(deaths, participants, scheduler.open_operations)
            automation = Automation(
                channel=inventory,
                definitions=definitions,
                filters=filters,
                running=scheduler.open_operations,
                store=store,
                submission=submission,
                methods=[each for one in _operation_services(operations) for each in one.methods],
                look=scheduler.look,
                clock=clock,
                on_due=due.add,
                webhooks=webhooks,
                roles=roles,
            )
            await automation.open()
            scheduler.also_run(automation.run)
            yield Jobs(
                services=[
                    *_services(store, scheduler, feed, submission, operations, proxy, port, automation),
                    automation.service,
                ],
                scheduler=scheduler,
                feed=feed,
                database=database,
                auditor=auditor,
            )
            await participants.close()
        await note_clean_stop(database)
    finally:
        await database.close()


def _dialler(
    inventory: grpc.aio.Channel, port: InventoryPort, credentials: Credentials, recovery: Recovery
) -> Callable[[str, str], Awaitable[grpc.aio.Channel]]:
    """Return what opens a channel to a participant: by its name, and its address if that is not recorded yet."""

    async def connect(name: str, planned: str) -> grpc.aio.Channel:
        if name == INVENTORY:
            return inventory
        address = await port.address_of(name) or planned
        if not address:
            raise Unavailable(f"the address of {name} is not known", resource=name, retry_after=1.0)
        channel = open_channel(address, credentials, f"agent/{id_of(name)}")
        try:
            await recovery.admit(name, channel)
        except BaseException:
            await channel.close()
            raise
        return channel

    return connect


def _comparing(
    recovery: Recovery, connect: Callable[[str, str], Awaitable[grpc.aio.Channel]], tasks: TaskScope
) -> Callable[[], Awaitable[None]]:
    """Return what compares restored databases with the agents that answer, and later with the others."""

    async def compare() -> None:
        await recovery.run(connect)
        _ = tasks.start(recovery.run_late(connect), name="compare late")

    return compare


def _admitting(counted: CountedLocks, filters: JobFilters) -> Callable[[Operation], None]:
    """Return what refuses an operation that asks for more of a counted lock than there is, or that a filter rejects."""

    def admit(operation: Operation) -> None:
        counted.check(operation.shape.plan)
        filters.admit(operation)

    return admit


def _tokens(feed: Feed, locks: LocksProxy) -> Callable[[], dict[str, str]]:
    """Return what gives the resume tokens, by feed, from which everything that comes now is seen."""

    def tokens() -> dict[str, str]:
        known = {"jobs": feed.token(), "locks": locks.token}
        return {name: token for name, token in known.items() if token}

    return tokens


def _services(
    store: JobStore,
    scheduler: Scheduler,
    feed: Feed,
    submission: Submission,
    operations: Mapping[str, OperationType],
    locks: LocksProxy,
    port: InventoryPort,
    automation: Automation,
) -> list[Service]:
    people = scheduler.people
    typed = OperationServices(submission, UnderCheck(people), automation.inner)
    jobs = JobService(store, scheduler, feed, typed, port.events_of)
    descriptors = _operation_services(operations)
    for descriptor in descriptors:
        for method in descriptor.methods:
            jobs.know(method)
    return [
        Service(
            lock_control_service_pb2.DESCRIPTOR.services_by_name["LockControlService"],
            LockControl(scheduler, locks, people, port, scheduler.world.clock),
        ),
        Service(job_service_pb2.DESCRIPTOR.services_by_name["JobService"], jobs),
        Service(operations_pb2.DESCRIPTOR.services_by_name["Operations"], Operations(store, scheduler, feed)),
        *(Service(descriptor, typed) for descriptor in descriptors),
    ]


def _titles(operations: Mapping[str, OperationType]) -> dict[str, str]:
    """Return the title of each method, as people read it."""
    methods = [method for descriptor in _operation_services(operations) for method in descriptor.methods]
    return {method.full_name: method.GetOptions().Extensions[annotations_pb2.method_hint].title for method in methods}


def _operation_services(operations: Mapping[str, OperationType]) -> list[ServiceDescriptor]:
    """Return the services of all operation types, Virtyard's own first."""
    pool = descriptor_pool.Default()
    own = operation_service_pb2.DESCRIPTOR.services_by_name["OperationService"]
    found = {own.full_name: own}
    for method in operations:
        name = method.rpartition(".")[0]
        found.setdefault(name, pool.FindServiceByName(name))
    return list(found.values())
