"""The metrics of one process: every name with its unit, labels and help, in one place.

A process makes one `Metrics` and hands it to its services, which count into it. What can be looked up is not counted:
each part leaves a look by `on_scrape`, taken when somebody asks. `exposition` shows it all to Prometheus.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from importlib import metadata

from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.invariants import Invariant, invariant_of
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.instruments import Counter, Gauge, Histogram, Instrument

__all__ = ["Look", "Metrics"]

_log = logging.getLogger(__name__)

Look = Callable[[], Awaitable[None]]
"""Sets gauges to what is true now."""

_LOOK_SECONDS = 2.0
_CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_WORK = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Metrics:
    """The instruments of one process."""

    def __init__(self) -> None:
        """Make every instrument; those that this process never uses are not shown."""
        self.build_info = Gauge("virtyard_build_info", "Always 1; the label says which release runs.", ("version",))
        self.build_info.set(1.0, metadata.version("virtyard"))
        self.scrape_stale = Gauge(
            "virtyard_scrape_stale", "Whether this part could not be asked, so that its gauges are old.", ("part",)
        )
        self._make_jobs()
        self._make_locks()
        self._make_stores()
        self._make_hosts()
        self.rpc_handled = Counter(
            "virtyard_rpc_handled_total", "Calls that were served to their end, by gRPC code.", ("method", "code")
        )
        self.rpc_duration = Histogram(
            "virtyard_rpc_duration_seconds", "Time to answer a unary call.", ("method",), bounds=_CALL
        )
        self.rpc_streams = Gauge("virtyard_rpc_streams_open", "Streams that are being served.", ("method",))
        self.safety_violations = Counter(
            "virtyard_safety_violations_total", "Broken invariants that this process met; must be 0.", ("invariant",)
        )
        self.audit_unchecked = Gauge(
            "virtyard_audit_unchecked",
            "What the last audit could not look at: the lock service, ledgers of hosts; never taken as fine.",
            ("part",),
        )
        self.audit_duration = Gauge("virtyard_audit_duration_seconds", "How long the last audit took.")
        for invariant in Invariant:
            self.safety_violations.add(invariant.value, by=0.0)
        self._looks: dict[str, Look] = {}

    def _make_jobs(self) -> None:
        self.jobs = Gauge("virtyard_jobs", "Jobs of operations that have not ended.", ("type", "state"))
        self.operations_running = Gauge(
            "virtyard_operations_running", "Operations that are being run, those that wait for locks included."
        )
        self.job_duration = Histogram(
            "virtyard_job_duration_seconds",
            "Time from a job's first step to its end, for jobs of ended operations.",
            ("type", "state"),
            bounds=_WORK,
        )
        self.operation_duration = Histogram(
            "virtyard_operation_duration_seconds",
            "Time from an operation's acceptance to its end.",
            ("type", "state"),
            bounds=_WORK,
        )
        self.due_items = Gauge(
            "virtyard_due_items", "Releases and events that are due in other services and not done yet."
        )
        self.contact_lost = Gauge(
            "virtyard_participants_contact_lost", "Participants with open effects that do not answer."
        )

    def _make_locks(self) -> None:
        self.lock_wait = Histogram(
            "virtyard_lock_wait_seconds", "Time from asking for a set of locks to its grant.", bounds=_WORK
        )
        self.locks_held = Gauge("virtyard_locks_held", "Locks that are held.", ("mode",))
        self.locks_waiting = Gauge("virtyard_locks_waiting", "Owners that wait for their set of locks.")
        self.lock_queue_depth = Gauge("virtyard_lock_queue_depth", "Owners in the longest queue for one object.")
        self.lock_oldest_wait = Gauge("virtyard_lock_oldest_wait_seconds", "How long the owner waits that came first.")

    def _make_stores(self) -> None:
        self.commits = Counter("virtyard_commits_total", "Durable commits.", ("database",))
        self.commit_failures = Counter(
            "virtyard_commit_failures_total", "Commits that failed, with unknown outcome.", ("database",)
        )
        self.commit_batch_size = Histogram(
            "virtyard_commit_batch_size", "Changes that shared a commit.", ("database",), bounds=_BATCH
        )
        self.commit_duration = Histogram(
            "virtyard_commit_duration_seconds", "Time of a commit, its changes included.", ("database",), bounds=_COMMIT
        )
        self.feed_watchers = Gauge("virtyard_feed_watchers", "Watches that are open.", ("feed",))
        self.feed_buffered = Gauge(
            "virtyard_feed_buffered_bytes",
            "States that wait for watchers or are being sent to them, counted for each watcher; they share the memory.",
            ("feed",),
        )
        self.feed_lag = Gauge(
            "virtyard_feed_lag_entries", "Entries by which the slowest watcher is behind its feed.", ("feed",)
        )

    def _make_hosts(self) -> None:
        self.effects = Counter(
            "virtyard_effects_total",
            "Effects that were answered, by what carries them out and how they ended.",
            ("participant", "action", "state"),
        )
        self.effect_duration = Histogram(
            "virtyard_effect_duration_seconds",
            "Time that a participant took: an agent for one effect, the inventory for the round that it came in.",
            ("participant", "action"),
            bounds=_WORK,
        )
        self.effects_running = Gauge("virtyard_effects_running", "Effects that are under way on this host.")
        self.servers = Gauge("virtyard_servers", "Servers in the inventory, by whether they report.", ("state",))
        self.guests = Gauge("virtyard_guests", "Guests on this host.", ("state",))
        self.cluster_members = Gauge(
            "virtyard_cluster_members", "Members of this host's clusters, as it sees them.", ("state",)
        )
        self.reports = Counter(
            "virtyard_reports_total", "Reports of this host to the inventory, by whether they were taken.", ("outcome",)
        )

    def instruments(self) -> Iterator[Instrument]:
        """Yield every instrument."""
        for value in vars(self).values():
            if isinstance(value, Instrument):
                yield value

    def note_violation(self, error: BaseException) -> None:
        """Count the invariant that an error tells of, if it tells of one."""
        invariant = invariant_of(error)
        if invariant is not None:
            self.violated(invariant)

    def violated(self, invariant: Invariant) -> None:
        """Count a broken invariant, and log it: it must never be."""
        self.safety_violations.add(invariant.value)
        _log.critical("the invariant %s is broken", invariant.value)

    def watch_database(self, database: Database) -> None:
        """Count the commits of a database."""
        name = database.path.stem

        def observe(size: int, seconds: float | None) -> None:
            if seconds is None:
                self.commit_failures.add(name)
                return
            self.commits.add(name)
            self.commit_batch_size.observe(size, name)
            self.commit_duration.observe(seconds, name)

        self.commit_failures.add(name, by=0.0)
        database.observer = observe

    def watch_feed(self, feed: Feed) -> None:
        """Show the watchers of a feed."""

        async def look() -> None:
            self.feed_watchers.set(feed.watchers, feed.service)
            self.feed_buffered.set(feed.buffered, feed.service)
            self.feed_lag.set(feed.lag, feed.service)

        feed.violated = self.violated
        self.on_scrape(f"{feed.service}.feed", look)

    def on_scrape(self, part: str, look: Look) -> None:
        """Have `look` called whenever the metrics are asked for; the part's name goes with a look that fails."""
        self._looks[part] = look

    async def look(self) -> None:
        """Set every gauge to what is true now; a part that does not answer keeps what it showed, and is told stale."""
        for part, look in self._looks.items():
            stale = 0.0
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await look()
            except (TimeoutError, VirtyardError) as error:
                stale = 1.0
                _log.debug("%s shows old metrics: %s", part, error)
            except Exception:  # noqa: BLE001 - a defect of one part must not hide the others
                stale = 1.0
                _log.exception("%s cannot show its metrics", part)
            self.scrape_stale.set(stale, part)
