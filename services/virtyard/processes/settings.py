"""The settings of every process: all that an operator may set, each declared once, in two modules beside this one.

Numbers that belong to the protocol, as the order of ranks or the tries of a step, are no settings.
"""

from __future__ import annotations

from typing import Any, Final

from virtyard.processes.agent_settings import (
    ADVERTISE,
    AGENT_LISTEN,
    AGENT_NAME,
    AGENT_STATE,
    CPUS,
    CREDENTIALS,
    DRIVER,
    HYPERVISOR_ACTIONS,
    MEMORY,
    RUNTIME,
    STOP_PATIENCE,
    STORAGE_ACTIONS,
    STORAGE_ROOTS,
    WATCHDOG,
)
from virtyard.processes.control_settings import (
    ADDRESS_WAIT,
    ARCHIVE_DAYS,
    ARCHIVE_OPERATIONS,
    CERTIFICATE_DAYS,
    CONTEXT,
    DOMAIN,
    INVENTORY_ADDRESS,
    JOURNAL,
    KEEPALIVE,
    LISTEN,
    LIVE_DAYS,
    LIVE_OPERATIONS,
    LOCKS_ADDRESS,
    LOG_FORMAT,
    LOG_LEVEL,
    METRICS,
    PKI,
    REPORT_INTERVAL,
    REQUEST_ID_DAYS,
    SILENCE,
    STATE,
    STOP_GRACE,
    TRACES,
    UP_LISTEN,
)
from virtyard.runtime.setting import Setting

__all__ = ["SETTINGS"]

SETTINGS: Final[tuple[Setting[Any], ...]] = (
    STATE,
    RUNTIME,
    PKI,
    CONTEXT,
    DOMAIN,
    ADDRESS_WAIT,
    STOP_GRACE,
    UP_LISTEN,
    METRICS["up"],
    LISTEN["inventory"],
    METRICS["inventory"],
    INVENTORY_ADDRESS,
    REPORT_INTERVAL,
    SILENCE,
    LISTEN["jobs"],
    METRICS["jobs"],
    LISTEN["locks"],
    METRICS["locks"],
    LOCKS_ADDRESS,
    KEEPALIVE,
    JOURNAL,
    LIVE_DAYS,
    LIVE_OPERATIONS,
    ARCHIVE_DAYS,
    ARCHIVE_OPERATIONS,
    REQUEST_ID_DAYS,
    CERTIFICATE_DAYS,
    AGENT_NAME,
    AGENT_STATE,
    CREDENTIALS,
    AGENT_LISTEN,
    ADVERTISE,
    METRICS["agent"],
    STORAGE_ROOTS,
    DRIVER,
    MEMORY,
    CPUS,
    STORAGE_ACTIONS,
    HYPERVISOR_ACTIONS,
    STOP_PATIENCE,
    WATCHDOG,
    LOG_LEVEL,
    LOG_FORMAT,
    TRACES,
)
"""Every setting, in the order of the file."""
