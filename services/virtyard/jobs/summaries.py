"""The six counters as they are asked for and watched: of all jobs, and of those that match a filter.

All who watch by the same filter share one count, which is forgotten with the last of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from weakref import WeakValueDictionary

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs.listing import narrow_of, summarise
from virtyard.jobs.matching_count import MatchingCount
from virtyard.jobs.store import JobStore
from virtyard.jobs.summary_watch import SummaryWatch
from virtyard.runtime.feed import Feed

__all__ = ["JobSummaries"]


class JobSummaries:
    """What GetJobSummary and WatchJobSummary answer."""

    def __init__(self, feed: Feed, store: JobStore) -> None:
        """Count the jobs of a store, whose news the feed tells."""
        self._feed = feed
        self._store = store
        self._of_all = SummaryWatch(feed, store.count_jobs_at)
        self._matching: WeakValueDictionary[str, SummaryWatch] = WeakValueDictionary()

    async def now(self, matching: str) -> operation_pb2.JobSummary:
        """Return the counters of the live jobs that match, of all if `matching` is empty.

        Raises:
            InvalidRequest: the filter cannot be read.
        """
        if not matching.strip():
            return summarise(await self._store.count_jobs())
        watch = self._matching.get(matching)
        return await watch.now() if watch is not None else summarise((await self._count(matching)())[1])

    def messages(self, options: watch_pb2.WatchOptions, matching: str) -> AsyncGenerator[bytes, None]:
        """Return the messages of WatchJobSummary.

        Raises:
            InvalidRequest: the filter cannot be read, or `options.resume_token` is not a token of this service.
        """
        if not matching.strip():
            return self._of_all.messages(options)
        watch = self._matching.get(matching)
        if watch is None:
            watch = self._matching[matching] = SummaryWatch(self._feed, self._count(matching))
        return watch.messages(options)

    def _count(self, matching: str) -> MatchingCount:
        return MatchingCount(self._store, matching, narrow_of(matching))
