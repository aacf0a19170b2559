"""Filters over operations: refused as they are submitted, or kept back before their locks are asked for (P20).

An operation that has its locks, or waits for them, is past every filter, also under the next scheduler, which asks the
lock service. One that a filter may keep back is PENDING up to there, as nothing of it is queued; one that somebody has
set aside before it asked for locks has to pass once it is let go on. Operations on filters always pass, or one that
matches everything could never be taken away again. How many began within a minute is counted by this process; after a
restart the count begins anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from virtyard.api.inventory.v1 import filter_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.internal.jobs.v1 import operation_summary_pb2, record_pb2
from virtyard.jobs import hold_flag, schedule
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.model import Operation, Shape, owner_name
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InvalidRequest, NotFound, WrongState
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.job_states import JobEvent, JobState

if TYPE_CHECKING:
    from virtyard.jobs.keeper import Keeper
    from virtyard.jobs.world import Locks

__all__ = ["JobFilters", "summary_of"]

_MINUTE = 60.0
_OWN = frozenset({"CreateFilter", "UpdateFilter", "DeleteFilter"})
_KEEPING = (filter_pb2.FILTER_ACTION_PAUSE, filter_pb2.FILTER_ACTION_DRAIN, filter_pb2.FILTER_ACTION_RATE_LIMIT)


class JobFilters:
    """Lets operations pass, one by one."""

    def __init__(self, definitions: Definitions, locks: Locks, clock: Clock) -> None:
        """Act on these filters, by this clock, on what this lock service does not know."""
        self._definitions = definitions
        self._locks = locks
        self._clock = clock
        self._news = asyncio.Event()
        self._held: dict[int, str] = {}
        self._begun: dict[str, deque[float]] = {}
        definitions.listen(self._take_over)

    def admit(self, operation: Operation) -> None:
        """Let an operation be submitted; its jobs are PENDING if it has to pass a filter yet.

        Raises:
            WrongState: a filter rejects it; the refusal names the filter.
        """
        for each in self._matching(operation, filter_pb2.FILTER_ACTION_REJECT):
            said = f": {each.description}" if each.description else ""
            raise WrongState(
                f"{each.name} rejects {operation.record.title}{said}",
                resource=each.name,
                metadata={"filter": each.name},
            )
        if self._may_keep(operation):
            for own in operation.record.jobs.values():
                own.state = job_pb2.JOB_STATE_PENDING

    async def hold(self, keeper: Keeper, aborted: AbortSignal) -> None:
        """Wait until no filter keeps an operation back that has no locks, or until it is aborted.

        Raises:
            Unavailable, DeadlineExceeded: whether it waits for locks already cannot be asked; ask again.
        """
        await aborted.wait_for(self._definitions.loaded())
        operation = keeper.operation
        if not await self._is_past(keeper, aborted):
            await self._keep(keeper, aborted)
        operation.waiting_for = ""
        if operation.record.held == hold_flag.FILTER or _is_pending(operation):
            await keeper.commit("jobs.passed_filter", partial(_pass, operation.shape), everything=True)
        self.look_again()

    def keeping(self, operation: Operation) -> str:
        """Return the name of the filter that keeps an operation back, also beside a person; empty if none does."""
        return self._held.get(operation.number, "")

    def look_again(self) -> None:
        """Have all that are kept back look again."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def concerned(self, found: filter_pb2.Filter, operations: Iterable[Operation]) -> tuple[list[str], list[str]]:
        """Return the names of the operations that a filter keeps back, and of those that match and are under way."""
        wanted = [each for each in sorted(operations, key=lambda each: each.number) if _matches(found, each)]
        held = {
            each.name: self.keeping(each)
            for each in wanted
            if each.record.held == hold_flag.FILTER or (each.record.held and self.keeping(each))
        }
        return (
            [name for name, holder in held.items() if holder == found.name],
            [each.name for each in wanted if each.name not in held],
        )

    async def _is_past(self, keeper: Keeper, aborted: AbortSignal) -> bool:
        """Tell whether an operation has asked for its locks, or is aborted.

        Its state does not tell: one that was stored before the filters were known is waiting for locks by it too.
        """
        operation = keeper.operation
        if _is_pending(operation) or not (self._may_keep(operation) or hold_flag.is_aside(operation.record)):
            return False
        try:
            await aborted.wait_for(self._locks.explain(owner_name(operation.number)))
        except NotFound:
            return False
        return True

    async def _keep(self, keeper: Keeper, aborted: AbortSignal) -> None:
        """Keep an operation back until no filter does and nobody has set it aside, or until it is aborted."""
        operation = keeper.operation
        try:
            while not operation.record.abort_requested:
                news, (name, wait) = self._news, self._holder(operation)
                if not name and not hold_flag.is_aside(operation.record):
                    self._take_turn(operation)
                    return
                if name:
                    self._held[operation.number] = name
                elif self._held.pop(operation.number, None) is not None:
                    self.look_again()  # whoever is behind it may be the first now
                await self._show(keeper, name)
                await aborted.wait_for(_wait(news, wait))
        finally:
            self._held.pop(operation.number, None)

    async def _show(self, keeper: Keeper, name: str) -> None:
        operation, record = keeper.operation, keeper.operation.record
        operation.waiting_for = f"{name}, which keeps it back" if name else ""
        if name and not hold_flag.is_aside(record) and not _is_kept_by(record, name):
            change = partial(hold_flag.keep_back, name=name)
            await keeper.commit("jobs.held_by_filter", change, everything=True)
        keeper.show(operation.shape.jobs)

    def _holder(self, operation: Operation) -> tuple[str, float | None]:
        """Return the filter that keeps an operation back and for how many seconds; empty for none, None for no end."""
        for each in self._matching(operation, filter_pb2.FILTER_ACTION_PAUSE):
            return each.name, None
        for each in self._matching(operation, filter_pb2.FILTER_ACTION_DRAIN):
            if operation.record.create_time.ToNanoseconds() > each.create_time.ToNanoseconds():
                return each.name, None
        for each in self._matching(operation, filter_pb2.FILTER_ACTION_RATE_LIMIT):
            wait = self._full_for(each, operation)
            if wait is not None:
                return each.name, wait
        return "", None

    def _take_turn(self, operation: Operation) -> None:
        """Count an operation that begins where so many may begin in a minute."""
        for each in self._matching(operation, filter_pb2.FILTER_ACTION_RATE_LIMIT):
            self._begun.setdefault(each.uid, deque()).append(self._clock.monotonic())

    def _may_keep(self, operation: Operation) -> bool:
        """Tell whether there is a filter that an operation must pass before it asks for its locks."""
        return any(next(self._matching(operation, action), None) is not None for action in _KEEPING)

    def _full_for(self, limit: filter_pb2.Filter, operation: Operation) -> float | None:
        """Return for how many seconds a limit lets nobody begin; None if it is the operation's turn."""
        now, begun = self._clock.monotonic(), self._begun.setdefault(limit.uid, deque())
        while begun and now - begun[0] >= _MINUTE:
            begun.popleft()
        earlier = any(number < operation.number for number, name in self._held.items() if name == limit.name)
        if len(begun) < limit.limit_per_minute and not earlier:
            return None
        return max(_MINUTE - (now - begun[0]), 0.01) if begun else _MINUTE

    def _matching(self, operation: Operation, action: int) -> Iterator[filter_pb2.Filter]:
        for each in self._definitions.filters():
            if each.action == action and each.state != filter_pb2.FILTER_STATE_DISABLED and _matches(each, operation):
                yield each

    def _take_over(self) -> None:
        """Forget what was counted for filters that are gone, and have all that are kept back look again."""
        for uid in self._begun.keys() - {each.uid for each in self._definitions.filters()}:
            del self._begun[uid]
        self.look_again()


async def _wait(news: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return


def _is_kept_by(record: record_pb2.OperationRecord, name: str) -> bool:
    return record.held == hold_flag.FILTER and record.hold.principal == name


def _pass(shape: Shape, record: record_pb2.OperationRecord) -> None:
    """Let an operation go on to ask for its locks; one that is aborted asks for none."""
    if record.held == hold_flag.FILTER:
        hold_flag.clear(record)
    if not record.abort_requested:
        for job in schedule.first_jobs(shape):
            if schedule.job_state(record, job) == JobState.PENDING:
                schedule.change_job(record, job, JobEvent.ASK_LOCKS)


def _is_pending(operation: Operation) -> bool:
    """Tell whether an operation that goes on does not wait for its locks yet."""
    return not operation.record.abort_requested and all(
        int(own.state) == JobState.PENDING for own in operation.record.jobs.values()
    )


def _matches(found: filter_pb2.Filter, operation: Operation) -> bool:
    summary = summary_of(operation)
    if summary.type in _OWN or operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
        return False
    try:
        return compile_filter(found.matches, summary.DESCRIPTOR)(summary)
    except InvalidRequest:
        # It was written under a release that had another field.
        return False


def summary_of(operation: Operation) -> operation_summary_pb2.OperationSummary:
    """Return what filters can name of an operation."""
    record = operation.record
    return operation_summary_pb2.OperationSummary(
        type=record.method.rpartition(".")[2],
        title=record.title,
        principal=record.principal,
        objects=list(dict.fromkeys(job.object for job in operation.shape.plan.jobs)),
        reason=record.options.reason,
        origin=record.origin,
    )
