"""The settings of an agent, and the folder of its sockets; see `settings`."""

from __future__ import annotations

from pathlib import Path

from virtyard.agent.drivers.heartbeat.contract import DEFAULT_WATCHDOG_SECONDS
from virtyard.agent.drivers.hypervisor.choice import KINDS
from virtyard.processes.control_settings import ANY_PORT, LOOPBACK, STATE
from virtyard.runtime.folders import Folders
from virtyard.runtime.setting import Reader, Setting, address, choice, decimal, path, paths, text, whole


def _runtime(reader: Reader) -> Path:
    return Folders.find(reader.environ, state=reader[AGENT_STATE]).runtime


RUNTIME = Setting(
    section="site",
    key="runtime",
    kind=path(),
    summary="Folder of sockets.",
    reason="A socket's path has 107 bytes at most, so it is a short folder of each state folder's own.",
    readers=("agent",),
    derived=_runtime,
    derived_text="a short folder below `/run/virtyard`, or of the user",
    aliases=("VIRTYARD_RUNTIME",),
)
AGENT_NAME = Setting(
    section="agent",
    key="name",
    kind=text(
        "the id of a server: 1 to 63 of a-z, 0-9, `.` and `-`, a letter or digit first and last",
        r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?",
    ),
    summary="Id of the server, as in its certificate `agent/NAME`.",
    reason="None: each host has its own.",
    readers=("agent",),
    flag="--name",
)
AGENT_STATE = Setting(
    section="agent",
    key="state",
    kind=path(),
    summary="Folder of the ledger and of the drivers' records.",
    reason="A folder for each name, so that agents on one machine do not meet.",
    readers=("agent",),
    derived=lambda reader: reader[STATE] / "agents" / reader[AGENT_NAME],
    derived_text="`agents/NAME` in `site.state`",
    flag="--state",
)
CREDENTIALS = Setting(
    section="agent",
    key="credentials",
    kind=path(),
    summary="Folder of `cert.pem`, `key.pem` and `ca.pem`.",
    reason="None: a host's key is brought there by a person.",
    readers=("agent",),
    flag="--credentials",
)
AGENT_LISTEN = Setting(
    section="agent",
    key="listen",
    kind=address(listening=True),
    summary="Where the agent serves; with port 0 on the port of the last time, if that is free.",
    reason=LOOPBACK,
    readers=("agent",),
    default=ANY_PORT,
    flag="--listen",
)
ADVERTISE = Setting(
    section="agent",
    key="advertise",
    kind=address(optional=True),
    summary="Under which address others dial the agent; where it listens if empty.",
    reason="The same, unless something translates addresses in between.",
    readers=("agent",),
    default="",
    flag="--advertise",
)
STORAGE_ROOTS = Setting(
    section="agent",
    key="storage_roots",
    kind=paths(),
    summary="The only folders in which the agent touches disks, kernels and heartbeat devices.",
    reason="None: nothing of a host is touched before somebody says so.",
    readers=("agent",),
    default=(),
    flag="--storage-root",
)
DRIVER = Setting(
    section="agent",
    key="driver",
    kind=choice(*KINDS),
    summary="Hypervisor driver; `auto` takes QEMU if a trial guest really ran, and simulates otherwise.",
    reason="A host does what it can and says what it chose; set `qemu` in production, so that it never simulates.",
    readers=("agent",),
    default="auto",
    flag="--driver",
)
MEMORY = Setting(
    section="agent",
    key="memory_bytes",
    kind=whole("bytes"),
    summary="Memory for machines; all that the host has if 0.",
    reason="The inventory keeps what is free; leave some to the host itself in production.",
    readers=("agent",),
    default=0,
    flag="--memory-bytes",
)
CPUS = Setting(
    section="agent",
    key="cpus",
    kind=whole("processors"),
    summary="Processors for machines; all that the host has if 0.",
    reason="Processors are shared, so nothing is lost by offering all.",
    readers=("agent",),
    default=0,
    flag="--cpus",
)
STORAGE_ACTIONS = Setting(
    section="agent",
    key="storage_actions",
    kind=whole("actions", least=1, most=1000),
    summary="How many storage actions run at a time; others wait their turn.",
    reason="Enough to keep a disk busy, and few enough that each still gets on.",
    readers=("agent",),
    default=8,
)
HYPERVISOR_ACTIONS = Setting(
    section="agent",
    key="hypervisor_actions",
    kind=whole("actions", least=1, most=1000),
    summary="How many guests are started or stopped at a time; others wait their turn.",
    reason="Starting a guest is short work on processors and long work on disks.",
    readers=("agent",),
    default=8,
)
STOP_PATIENCE = Setting(
    section="agent",
    key="stop_patience_seconds",
    kind=decimal("seconds", least=0, most=600),
    summary="How long running effects may go on after SIGTERM; the next agent takes up what is left.",
    reason="Most effects end within it, and with `stop_grace_seconds` it stays below 10 s.",
    readers=("agent",),
    default=2.0,
)
WATCHDOG = Setting(
    section="agent",
    key="watchdog_seconds",
    kind=decimal("seconds", least=1, most=3600),
    summary="W of a heartbeat device that is laid out: when a host's watchdog resets it. A device keeps its own.",
    reason="The fixed value of sanlock's watchdog.",
    readers=("agent",),
    default=DEFAULT_WATCHDOG_SECONDS,
)
