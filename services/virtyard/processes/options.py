"""The options of services, as their process's configuration and the faults of tests give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from virtyard.inventory.built_in import built_in_objects
from virtyard.inventory.flood import FloodRule
from virtyard.inventory.model import TypedObject
from virtyard.inventory.retention import EVENT_RETENTION, Retention
from virtyard.inventory.retention import Keep as KeepEvents
from virtyard.inventory.round import StepHook
from virtyard.jobs.automatic import RolesOf
from virtyard.jobs.history import JOB_HISTORY, HistoryRetention, Keep
from virtyard.processes.control_settings import (
    ARCHIVE_DAYS,
    ARCHIVE_OPERATIONS,
    CONSOLE,
    COPIES,
    EVENT_ARCHIVE_DAYS,
    EVENT_ARCHIVE_ENTRIES,
    EVENT_DAYS,
    EVENT_ENTRIES,
    FLOOD_ENTRIES,
    FLOOD_SECONDS,
    JOURNAL,
    KEEPALIVE,
    LIVE_DAYS,
    LIVE_OPERATIONS,
    PKI,
    REPORT_INTERVAL,
    REQUEST_ID_DAYS,
    SILENCE,
    WARNING_DAYS,
    WARNING_ENTRIES,
)
from virtyard.processes.faults import kill_hook, step_hook
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.issued_roles import IssuedRoles
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.rpc import Service
from virtyard.runtime.rpc_metrics import metered

__all__ = ["gateway_options", "inventory_options", "jobs_options", "served", "shared_options"]


class Shared(TypedDict):
    """What every service takes."""

    transition_hook: Callable[[str], None] | None
    keepalive: float
    journal_keep: int
    metrics: Metrics


class OfInventory(TypedDict):
    """What the inventory takes besides."""

    report_interval: float
    silence: float
    step_hook: StepHook | None
    retention: Retention
    flood: FloodRule
    built_in: Sequence[TypedObject]


class OfJobs(TypedDict):
    """What the job scheduler takes besides."""

    copies_per_server: int
    history: HistoryRetention
    roles: RolesOf


class OfGateway(TypedDict):
    """What the gateway takes."""

    console: Path
    keepalive: float


def shared_options(settings: Configuration, metrics: Metrics) -> Shared:
    """Return the options of any service of the control plane."""
    return Shared(
        transition_hook=kill_hook(), keepalive=settings[KEEPALIVE], journal_keep=settings[JOURNAL], metrics=metrics
    )


def inventory_options(settings: Configuration) -> OfInventory:
    """Return the options that only the inventory has."""
    retention = Retention(
        usual=KeepEvents(age=timedelta(days=settings[EVENT_DAYS]), count=settings[EVENT_ENTRIES]),
        grave=KeepEvents(age=timedelta(days=settings[WARNING_DAYS]), count=settings[WARNING_ENTRIES]),
        archive=KeepEvents(age=timedelta(days=settings[EVENT_ARCHIVE_DAYS]), count=settings[EVENT_ARCHIVE_ENTRIES]),
        interval=EVENT_RETENTION.interval,
    )
    return OfInventory(
        report_interval=settings[REPORT_INTERVAL],
        silence=settings[SILENCE],
        step_hook=step_hook(),
        retention=retention,
        flood=FloodRule(events=settings[FLOOD_ENTRIES], seconds=settings[FLOOD_SECONDS]),
        built_in=built_in_objects(),
    )


def jobs_options(settings: Configuration) -> OfJobs:
    """Return the options that only the job scheduler has."""
    history = HistoryRetention(
        live=Keep(age=timedelta(days=settings[LIVE_DAYS]), count=settings[LIVE_OPERATIONS]),
        archive=Keep(age=timedelta(days=settings[ARCHIVE_DAYS]), count=settings[ARCHIVE_OPERATIONS]),
        request_ids=timedelta(days=settings[REQUEST_ID_DAYS]),
        interval=JOB_HISTORY.interval,
    )
    return OfJobs(history=history, copies_per_server=settings[COPIES], roles=IssuedRoles(settings[PKI]).of)


def gateway_options(settings: Configuration) -> OfGateway:
    """Return the options of the gateway."""
    return OfGateway(console=settings[CONSOLE], keepalive=settings[KEEPALIVE])


def served(services: Sequence[Service], metrics: Metrics, address: str) -> Sequence[Service]:
    """Return services as they are served: with their calls counted, if metrics are shown at an address."""
    return metered(services, metrics) if address else services
