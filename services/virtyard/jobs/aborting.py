"""The aborts of one operation: of all of it, of one job, or as it yields to another; durable, then acted on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from virtyard.api.jobs.v1 import job_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import abort_request, job_abort, on_failure, schedule
from virtyard.jobs.abort_request import AbortRequest, must_abort
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.job_abort import Reach
from virtyard.jobs.job_stops import JobStops
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import Operation
from virtyard.kernel.errors import StaleEpoch, WrongState

__all__ = ["Aborting"]

Record = record_pb2.OperationRecord


class Aborting:
    """Takes requests to abort the operation that a keeper keeps."""

    def __init__(self, keeper: Keeper, aborted: AbortSignal, stops: JobStops, wake: Callable[[], None]) -> None:
        """Abort beside the runner of that operation.

        Args:
            keeper: keeps it.
            aborted: is given when all of it is aborted in time.
            stops: stops what is under way of one job.
            wake: has the runner look around.
        """
        self._keeper = keeper
        self._aborted = aborted
        self._stops = stops
        self._wake = wake
        self.plans_again = False
        """Whether another plan is being made, so that its jobs may be others."""

    @property
    def _operation(self) -> Operation:
        return self._keeper.operation

    async def ask(self, asked: AbortRequest) -> bool:
        """Ask for an abort; durable when this returns. Returns False if the point of no return was passed.

        Raises:
            WrongState: it is of one job, and too early: the operation may still be planned again.
        """
        first, jobs = False, False

        def change(record: Record) -> bool:
            nonlocal first, jobs
            shape = self._operation.shape
            reach = job_abort.reach(shape, record, asked.job)
            if jobs := reach is Reach.JOBS:
                if self.plans_again:
                    raise WrongState(f"{self._operation.name} is being planned again", resource=self._operation.name)
                job_abort.note(shape, record, asked)
            if jobs or (asked.job and on_failure.goes_on(record) and reach is not Reach.WHOLE):
                return reach is not Reach.TOO_LATE
            first = abort_request.note(record, asked, shape)
            if record.held == job_pb2.HELD_REASON_POISON and not record.too_late:
                # Whoever aborts it wants its way back tried; should that be poison as well, it is held again.
                record.held, record.strikes = job_pb2.HELD_REASON_UNSPECIFIED, 0
            return not record.too_late

        try:
            in_time = await self._keeper.commit(
                "jobs.abort",
                change,
                everything=True,
                news=lambda each: job_abort.tell(each, asked) if jobs else abort_request.tell(each, asked, first=first),
                after=lambda: self._stops.note() if jobs else None,
            )
        except StaleEpoch:
            # It ended in the meantime, or another scheduler has it; either way this request changes nothing.
            return False
        if must_abort(self._operation.record):
            self._aborted.give()
        self._wake()
        return in_time

    async def supersede(self, by: str) -> None:
        """Stop for an operation that this one yields to, unless the point of no return was passed (P12)."""

        def change(record: Record) -> None:
            if not schedule.pivot_started(self._operation.shape, record) and not record.rolling_back:
                abort_request.note_yield(record, by)

        with contextlib.suppress(StaleEpoch):  # it ended in the meantime
            await self._keeper.commit("jobs.superseded", change, everything=True)
        if self._operation.record.superseded_by:
            self._aborted.give()
            self._wake()
