"""The options of services, as their process's configuration and the faults of tests give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

from virtyard.inventory.built_in import built_in_objects
from virtyard.inventory.model import TypedObject
from virtyard.inventory.round import StepHook
from virtyard.processes.control_settings import JOURNAL, KEEPALIVE, REPORT_INTERVAL, SILENCE
from virtyard.processes.faults import kill_hook, step_hook
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.rpc import Service
from virtyard.runtime.rpc_metrics import metered

__all__ = ["inventory_options", "served", "shared_options"]


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
    built_in: Sequence[TypedObject]


def shared_options(settings: Configuration, metrics: Metrics) -> Shared:
    """Return the options of any service of the control plane."""
    return Shared(
        transition_hook=kill_hook(), keepalive=settings[KEEPALIVE], journal_keep=settings[JOURNAL], metrics=metrics
    )


def inventory_options(settings: Configuration) -> OfInventory:
    """Return the options that only the inventory has."""
    return OfInventory(
        report_interval=settings[REPORT_INTERVAL],
        silence=settings[SILENCE],
        step_hook=step_hook(),
        built_in=built_in_objects(),
    )


def served(services: Sequence[Service], metrics: Metrics, address: str) -> Sequence[Service]:
    """Return services as they are served: with their calls counted, if metrics are shown at an address."""
    return metered(services, metrics) if address else services
