"""The settings of the control plane, and those that every process has: site, logs, traces; see `settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from virtyard.processes.site import DEFAULT_DOMAIN
from virtyard.runtime.context_file import context_path
from virtyard.runtime.folders import Folders
from virtyard.runtime.setting import Reader, Setting, address, choice, decimal, path, text, whole

KEEPERS: Final = ("inventory", "jobs", "locks")
SERVED: Final = (*KEEPERS, "gateway")
CONTROL: Final = ("up", *SERVED)
EVERY: Final = (*CONTROL, "agent")
PROCESSES: Final = (*EVERY, "pki")

ANY_PORT: Final = "127.0.0.1:0"
LOOPBACK: Final = "Loopback: nothing is reachable from outside before somebody says so; port 0 lets the kernel choose."
_QUIET: Final = "Off: an open port needs a decision."


def _state(reader: Reader) -> Path:
    return Folders.find({key: value for key, value in reader.environ.items() if key != "VIRTYARD_STATE"}).state


STATE = Setting(
    section="site",
    key="state",
    kind=path(),
    summary="Folder of the databases; and of certificates and agents' state where nothing else is said.",
    reason="Where the system keeps the state of daemons; below the home folder for everybody but root.",
    readers=(*CONTROL, "agent", "pki"),
    derived=_state,
    derived_text="`/var/lib/virtyard` for root, else `virtyard` in the XDG state folder",
    flag="--state",
    flagged=CONTROL,
    aliases=("VIRTYARD_STATE",),
)
PKI = Setting(
    section="site",
    key="pki",
    kind=path(),
    summary="Folder of the authority and of the certificates that it issued here.",
    reason="Beside the databases, so that one folder is a site.",
    readers=(*CONTROL, "pki"),
    derived=lambda reader: reader[STATE] / "pki",
    derived_text="`pki` in `site.state`",
    flag="--pki",
)
CONTEXT = Setting(
    section="site",
    key="context",
    kind=path(),
    summary="Context file: the control plane writes its addresses there, agents and the command line read them.",
    reason="Where the command line looks; it reads no other setting of this file.",
    readers=EVERY,
    derived=lambda reader: context_path({**reader.environ, "VIRTYARD_CONTEXT": ""}),
    derived_text="`virtyard/context.json` in the XDG configuration folder",
    flag="--context",
    aliases=("VIRTYARD_CONTEXT",),
)
DOMAIN = Setting(
    section="site",
    key="domain",
    kind=text("a DNS name", r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"),
    summary="Trust domain of an authority that is made; one that is there keeps its own.",
    reason="`internal` is reserved for private use, so nobody else's name is taken.",
    readers=("up", "pki"),
    default=DEFAULT_DOMAIN,
    flag="--domain",
    flagged=("pki",),
)
ADDRESS_WAIT = Setting(
    section="site",
    key="address_wait_seconds",
    kind=decimal("seconds", least=0, most=3600),
    summary="How long a split service waits for another one's address to appear in the context file.",
    reason="Services start in any order; one that is still absent after a minute was not started.",
    readers=SERVED,
    default=60.0,
)
STOP_GRACE = Setting(
    section="site",
    key="stop_grace_seconds",
    kind=decimal("seconds", least=0, most=600),
    summary="How long calls in flight may go on after SIGTERM.",
    reason="Well within the 10 s after which container runtimes kill.",
    readers=EVERY,
    default=5.0,
)
UP_LISTEN = Setting(
    section="up",
    key="listen",
    kind=address(listening=True),
    summary="Where `virtyard up` serves everything.",
    reason=LOOPBACK,
    readers=("up",),
    default=ANY_PORT,
    flag="--listen",
)


def _listen(service: str) -> Setting[str]:
    return Setting(
        section=service,
        key="listen",
        kind=address(listening=True),
        summary=f"Where `virtyard serve {service}` serves.",
        reason=LOOPBACK,
        readers=(service,),
        default=ANY_PORT,
        flag="--listen",
    )


def _metrics(process: str) -> Setting[str]:
    return Setting(
        section=process,
        key="metrics",
        kind=address(optional=True, unix=False),
        summary="Where it shows metrics for Prometheus, over plain HTTP; nowhere if empty.",
        reason=_QUIET,
        readers=(process,),
        default="",
        flag="--metrics",
    )


def _address(service: str, readers: tuple[str, ...]) -> Setting[str]:
    return Setting(
        section=service,
        key="address",
        kind=address(optional=True),
        summary=f"Where others dial the {service} service; what the context file says if empty.",
        reason="On one machine the context file knows it, also after a restart on another port.",
        readers=readers,
        default="",
        flag=f"--{service}",
    )


LISTEN: Final = {"up": UP_LISTEN, **{service: _listen(service) for service in SERVED}}
"""Where each process of the control plane serves."""
METRICS: Final = {process: _metrics(process) for process in EVERY}
"""Where each process shows its metrics."""
INVENTORY_ADDRESS = _address("inventory", ("jobs", "locks", "gateway", "agent"))
JOBS_ADDRESS = _address("jobs", ("gateway",))
LOCKS_ADDRESS = _address("locks", ("jobs", "inventory", "gateway"))
ADDRESS: Final = {"inventory": INVENTORY_ADDRESS, "jobs": JOBS_ADDRESS, "locks": LOCKS_ADDRESS}
"""Where services are dialled by others."""
WEB = Setting(
    section="gateway",
    key="web",
    kind=address(optional=True, unix=False),
    summary="Where browsers, curl and gRPC with an API token are served, on loopback only; nowhere if empty.",
    reason="Loopback until people sign in by themselves; port 0 takes that of the last time, which open tabs know.",
    readers=("up", "gateway"),
    default=ANY_PORT,
    flag="--web",
)
CONSOLE = Setting(
    section="gateway",
    key="console",
    kind=path(),
    summary="Folder of the web console's files.",
    reason="Where the build of the console puts them, and where an installed package has them.",
    readers=("up", "gateway"),
    derived=lambda _: Path(__file__).parents[1] / "gateway" / "console",
    derived_text="`gateway/console` in the package",
)
REPORT_INTERVAL = Setting(
    section="inventory",
    key="report_interval_seconds",
    kind=decimal("seconds", least=1, most=3600),
    summary="How often each agent reports; changes are reported at once.",
    reason="1,000 servers make 100 reports a second, most of which cost no commit.",
    readers=("up", "inventory"),
    default=10.0,
)
SILENCE = Setting(
    section="inventory",
    key="silence_seconds",
    kind=decimal("seconds", least=2, most=86400),
    summary="After how long without a report a server is shown as offline; more than twice the interval.",
    reason="Three reports may be lost and the fourth a little late.",
    readers=("up", "inventory"),
    default=35.0,
)
AUDIT_INTERVAL = Setting(
    section="jobs",
    key="audit_interval_seconds",
    kind=decimal("seconds", least=5, most=86400),
    summary="How often the auditor looks whether locks, operations and the ledgers of hosts contradict each other.",
    reason="A finding counts once it was seen twice, so it is told within a minute; a look reads copies only.",
    readers=("up", "jobs"),
    default=30.0,
)
COPIES = Setting(
    section="jobs",
    key="copies_per_server",
    kind=whole("copies", least=1, most=1000),
    summary="How many copies of disk content (images, disks made from images) run at once on a server; others wait.",
    reason="A few keep a disk and a link busy; more only make each slower and machines on the server wait.",
    readers=("up", "jobs"),
    default=4,
)
KEEPALIVE = Setting(
    section="feeds",
    key="keepalive_seconds",
    kind=decimal("seconds", least=0.1, most=3600),
    summary="After how long without news a watcher is sent a KEEPALIVE.",
    reason="Proxies cut streams that are silent for 30 to 60 s.",
    readers=CONTROL,
    default=15.0,
)
JOURNAL = Setting(
    section="feeds",
    key="journal_entries",
    kind=whole("entries", least=1000, most=100_000_000),
    summary="About how many entries of each feed are kept for watchers that come back; beyond it they see a GAP.",
    reason="Minutes at full load and days of a quiet site, in some 50 MB of disk.",
    readers=("up", *KEEPERS),
    default=100_000,
)
LIVE_DAYS = Setting(
    section="history",
    key="live_days",
    kind=decimal("days", least=0, most=36500),
    summary="For how long after its end an operation stays in the live lists with its jobs; then it is archived.",
    reason="A month is what people look back over; lists and watches stay short.",
    readers=("up", "jobs"),
    default=30.0,
)
LIVE_OPERATIONS = Setting(
    section="history",
    key="live_operations",
    kind=whole("operations", least=0, most=100_000_000),
    summary="About how many ended operations stay in the live lists; the oldest beyond it are archived at once.",
    reason="Some 100 MB of disk, and what a filter without an index reads through in a second.",
    readers=("up", "jobs"),
    default=20_000,
)
ARCHIVE_DAYS = Setting(
    section="history",
    key="archive_days",
    kind=decimal("days", least=0, most=36500),
    summary="For how long after its end an operation is kept at all; then it is forgotten with its jobs.",
    reason="A year, as for warnings in the event log.",
    readers=("up", "jobs"),
    default=365.0,
)
ARCHIVE_OPERATIONS = Setting(
    section="history",
    key="archive_operations",
    kind=whole("operations", least=0, most=1_000_000_000),
    summary="About how many operations the archive keeps; the oldest beyond it are forgotten.",
    reason="A gigabyte of compressed rows at the most.",
    readers=("up", "jobs"),
    default=500_000,
)
REQUEST_ID_DAYS = Setting(
    section="history",
    key="request_id_days",
    kind=decimal("days", least=1, most=36500),
    summary="How long after its end an operation or a person's lock answers to its request id; then the id is free.",
    reason="Longer than any client repeats a request; an archived operation is kept at least for so long.",
    readers=("up", "jobs"),
    default=30.0,
)
EVENT_DAYS = Setting(
    section="history",
    key="event_days",
    kind=decimal("days", least=0, most=36500),
    summary="For how long events below WARNING stay in the live log; then they are archived.",
    reason="A quarter of a year: they tell what happened, not what is wrong.",
    readers=("up", "inventory"),
    default=90.0,
)
EVENT_ENTRIES = Setting(
    section="history",
    key="event_entries",
    kind=whole("entries", least=0, most=100_000_000),
    summary="About how many events below WARNING stay in the live log; the oldest beyond it are archived at once.",
    reason="Some 100 MB of disk.",
    readers=("up", "inventory"),
    default=200_000,
)
WARNING_DAYS = Setting(
    section="history",
    key="warning_days",
    kind=decimal("days", least=0, most=36500),
    summary="For how long warnings and worse stay in the live log, apart from the others; then they are archived.",
    reason="A year, so that what comes back with a season is seen to.",
    readers=("up", "inventory"),
    default=365.0,
)
WARNING_ENTRIES = Setting(
    section="history",
    key="warning_entries",
    kind=whole("entries", least=0, most=100_000_000),
    summary="About how many warnings and worse stay in the live log; the oldest beyond it are archived at once.",
    reason="No flood of small news drives them out, and they are few.",
    readers=("up", "inventory"),
    default=50_000,
)
EVENT_ARCHIVE_DAYS = Setting(
    section="history",
    key="event_archive_days",
    kind=decimal("days", least=0, most=36500),
    summary="For how long after it was recorded an event is kept at all, whatever its severity; then it is forgotten.",
    reason="Three years, as auditors ask for.",
    readers=("up", "inventory"),
    default=1095.0,
)
EVENT_ARCHIVE_ENTRIES = Setting(
    section="history",
    key="event_archive_entries",
    kind=whole("entries", least=0, most=1_000_000_000),
    summary="About how many events below WARNING, and as many from it on, the archive keeps; the oldest beyond it go.",
    reason="Some 300 MB of disk for each of the two sorts at the most.",
    readers=("up", "inventory"),
    default=500_000,
)
FLOOD_ENTRIES = Setting(
    section="events",
    key="flood_entries",
    kind=whole("entries", least=1, most=1_000_000),
    summary="How many events of one type and object are recorded each within `flood_seconds`; others are counted.",
    reason="Enough to see how something comes about, and few enough to be read.",
    readers=("up", "inventory"),
    default=10,
)
FLOOD_SECONDS = Setting(
    section="events",
    key="flood_seconds",
    kind=decimal("seconds", least=0, most=86400),
    summary="The time in which a flood of events begins, and after which it is over if none came; 0 folds none.",
    reason="A minute: what comes more than once in six seconds is no news any more.",
    readers=("up", "inventory"),
    default=60.0,
)
CERTIFICATE_DAYS = Setting(
    section="pki",
    key="certificate_days",
    kind=whole("days", least=1, most=3650),
    summary="For how long a certificate that is issued is good.",
    reason="Nothing renews certificates by itself yet, so a year.",
    readers=("up", "pki"),
    default=365,
)
LOG_LEVEL = Setting(
    section="log",
    key="level",
    kind=choice("debug", "info", "warning", "error", "critical"),
    summary="The least level that is logged.",
    reason="What a person wants to read after something went wrong, at a few lines an operation.",
    readers=EVERY,
    default="info",
)
LOG_FORMAT = Setting(
    section="log",
    key="format",
    kind=choice("text", "json"),
    summary="Form of a line: for people, or one JSON object.",
    reason="The first reader is a person.",
    readers=EVERY,
    default="text",
)
TRACES = Setting(
    section="traces",
    key="export",
    kind=text('"", otlp, console or file:PATH', r"|otlp|console|file:.+"),
    summary="Where traces go: `otlp`, `console` or `file:PATH`; nowhere if empty. OpenTelemetry's variables count too.",
    reason="Off: tracing costs up to 40 % of a call's time, and needs the extra `virtyard[telemetry]`.",
    readers=EVERY,
    default="",
    aliases=("VIRTYARD_TRACES",),
)
