"""The count of the live jobs that match a filter, kept up by the journal: every job is read once, then what changed.

A count of all jobs needs none of this: the store keeps one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from virtyard.api.jobs.v1 import job_pb2
from virtyard.jobs.job_rows import Narrow
from virtyard.jobs.store import JobStore
from virtyard.kernel.filters import compile_filter
from virtyard.runtime.entry import Entry
from virtyard.runtime.journal_reader import JournalPage, read_journal, read_sequence

__all__ = ["MatchingCount"]

_ROWS, _SIZE = 500, 4 << 20
"""The rows, and about the bytes, of one reading, after which others have their turn."""
_NEWEST = 1 << 62


class MatchingCount:
    """Counts the live jobs that match, by their states; it remembers which those are."""

    def __init__(self, store: JobStore, text: str, narrow: Narrow | None = None) -> None:
        """Read nothing yet.

        Args:
            store: the jobs.
            text: an AIP-160 filter over the fields of jobs.
            narrow: what an index finds of it.

        Raises:
            InvalidRequest: the filter cannot be read.
        """
        self._store = store
        self._matches: Callable[[Message], bool] = compile_filter(text, job_pb2.Job.DESCRIPTOR)
        self._narrow = narrow
        self._states: dict[str, int] = {}
        self._reached: int | None = None

    async def __call__(self) -> tuple[int, dict[int, int]]:
        """Return the sequence of the feed, and how many jobs that match were in each state then; one call at a time."""
        while True:
            if self._reached is None:
                await self._read_all()
            page = await self._news()
            if page.lost:
                self._reached = None
                continue
            self._take(page.entries)
            self._reached = page.reached
            if page.reached >= page.head:
                return page.reached, dict(Counter(self._states.values()))

    async def _read_all(self) -> None:
        """Read every job, beginning with the sequence: what changes meanwhile is told by the journal behind that."""
        self._states.clear()
        sequence = await self._store.database.read(read_sequence)
        operation, number = _NEWEST, _NEWEST
        while True:
            rows = await self._store.jobs_after(operation, number, _ROWS, self._narrow)
            for operation, number, body in rows:  # noqa: B007 - the last is the place to go on from
                self._look(job_pb2.Job.FromString(body))
            if len(rows) < _ROWS:
                break
        self._reached = sequence

    async def _news(self) -> JournalPage:
        reached = self._reached or 0
        return await self._store.database.read(
            lambda connection: read_journal(connection, ("job",), reached, _ROWS, _SIZE)
        )

    def _take(self, entries: Sequence[Entry]) -> None:
        """Follow the journal; only the last entry of each job says what became of it."""
        for entry in {entry.key: entry for entry in entries}.values():
            if entry.removed:
                self._states.pop(entry.key, None)
            else:
                self._look(job_pb2.Job.FromString(entry.body))

    def _look(self, job: job_pb2.Job) -> None:
        if self._matches(job):
            self._states[job.name] = int(job.state)
        else:
            self._states.pop(job.name, None)
