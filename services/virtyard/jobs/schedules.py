"""Schedules: an operation is submitted for each due time, once, whenever the scheduler ends in between (P31).

What was decided is durable with what came of it: a run is taken off the list of those that are due in the first commit
of its operation, whose request id is derived from the schedule and the due time. Time is the process's clock, which
follows no jump of the wall clock (P33); it is looked at every second, so nothing depends on how long a wait took.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from google.longrunning import operations_pb2

from virtyard.api.inventory.v1 import schedule_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.type.v1 import submission_pb2
from virtyard.internal.jobs.v1 import run_state_pb2
from virtyard.jobs.automatic import AutomaticSubmission
from virtyard.jobs.causes import Cause, hop
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.due_events import due_event
from virtyard.jobs.model import Operation, operation_number
from virtyard.jobs.run_states import RunStates
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InvalidRequest, NotFound, RetryError, VirtyardError
from virtyard.kernel.recurrence import Recurrence
from virtyard.kernel.templates import fill
from virtyard.runtime.database import Transaction

__all__ = ["ON_TIME", "Schedules"]

ON_TIME = timedelta(seconds=60)
"""How late a run may come and still be no missed one."""
_LOOK = 1.0
_LATEST = 100
_log = logging.getLogger(__name__)
Trail = Sequence[submission_pb2.ReasonHop]


class Schedules:
    """Submits what schedules hold when they are due."""

    def __init__(
        self,
        definitions: Definitions,
        states: RunStates,
        submission: AutomaticSubmission,
        look: Callable[[int], Awaitable[Operation]],
        clock: Clock,
    ) -> None:
        """Work with these.

        Args:
            definitions: the schedules there are.
            states: what each has done.
            submission: submits operations.
            look: finds an operation by its number.
            clock: the process's clock.
        """
        self._definitions = definitions
        self._states = states
        self._submission = submission
        self._look = look
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Submit what is due until cancelled."""
        await self._definitions.loaded()
        while True:
            for schedule in self._definitions.schedules():
                try:
                    await self.consider(schedule)
                except RetryError as error:
                    _log.debug("%s waits: %s", schedule.name, error)
                except Exception:  # noqa: BLE001 - one schedule's trouble must not end the others; it is logged
                    _log.exception("%s is looked at again", schedule.name)
            await asyncio.sleep(_LOOK)

    def next_times(self, schedule: schedule_pb2.Schedule, count: int) -> list[datetime]:
        """Return when the next runs of a schedule are submitted; none if it is disabled."""
        if schedule.state == schedule_pb2.SCHEDULE_STATE_DISABLED:
            return []
        recurrence, now = Recurrence.of(schedule), self._clock.now()
        decided = _decided(schedule, recurrence, self._states.of(schedule.uid))
        # What is late by now will come at once, or never.
        return recurrence.next_runs(max(decided, now - timedelta(seconds=recurrence.jitter)), count)

    async def consider(self, schedule: schedule_pb2.Schedule) -> None:
        """Submit what is due of one schedule.

        Raises:
            RetryError: the inventory or the database cannot be reached; it is to be considered again.
        """
        async with self._one_at_a_time:
            await self._consider(schedule)

    async def _consider(self, schedule: schedule_pb2.Schedule) -> None:
        state, recurrence = self._states.of(schedule.uid), Recurrence.of(schedule)
        if schedule.state == schedule_pb2.SCHEDULE_STATE_DISABLED:
            await self._rest(schedule, state)
            return
        decided, now = _decided(schedule, recurrence, state), self._clock.now()
        found = recurrence.latest(decided, now, _LATEST + 1)
        if found:
            _decide(schedule, state, found, now, active=await self._is_active(state))
            state.name, state.recurrence = schedule.name, recurrence.key
            state.decided_time.FromDatetime(found[-1])
        alone = schedule.overlap != schedule_pb2.OVERLAP_POLICY_RUN
        kept = not found
        while state.queued_times and not (alone and await self._is_active(state)):
            # What was decided becomes durable with the first run that comes of it.
            await self._submit(schedule, state)
            state, kept = self._states.of(schedule.uid), True
        if not kept:
            await self._states.save(schedule.uid, state)

    async def _rest(self, schedule: schedule_pb2.Schedule, state: run_state_pb2.RunState) -> None:
        """Forget what was due of a schedule that was disabled: nothing of it is made up for."""
        if state.queued_times or state.recurrence:
            del state.queued_times[:]
            state.recurrence = ""
            await self._states.save(schedule.uid, state)

    async def run_now(
        self, schedule: schedule_pb2.Schedule, principal: str, request_id: str
    ) -> operations_pb2.Operation:
        """Submit a schedule's request for a person, and return the operation; no due time is decided by it.

        Args:
            schedule: the schedule.
            principal: who asks, and may ask for it; the operation is his.
            request_id: of his call, a UUID; empty for none.

        Raises:
            VirtyardError: it cannot be submitted.
        """
        async with self._one_at_a_time:
            return await self._run_now(schedule, principal, request_id)

    async def _run_now(
        self, schedule: schedule_pb2.Schedule, principal: str, request_id: str
    ) -> operations_pb2.Operation:
        now = self._clock.now()
        state = self._states.of(schedule.uid)
        trail = [hop(principal, "run now", now), hop(schedule.name, schedule.display_name, now)]
        cause = self._cause(schedule, state, trail, now)
        request = fill(schedule.request, {})
        reason = f"{schedule.name}: run now by {principal}"
        try:
            operation = await self._submission.submit(
                request,
                owner=principal,
                request_id=request_id or str(uuid.uuid4()),
                reason=reason,
                cause=cause,
                permitted=True,
            )
        except RetryError:
            await self._states.recall()
            raise
        self._states.keep(schedule.uid, state)
        return operation

    def _cause(
        self, schedule: schedule_pb2.Schedule, state: run_state_pb2.RunState, trail: Trail, now: datetime
    ) -> Cause:
        """Return the cause of a run, by whose commit the state becomes durable."""

        def also(transaction: Transaction, operation: Operation) -> None:
            if state.last_operation != operation.name:
                state.last_operation, state.name = operation.name, schedule.name
                state.runs += 1
                state.last_error = ""
                state.last_time.FromDatetime(now)
            self._states.put(transaction, schedule.uid, state)

        return Cause(origin=job_pb2.ORIGIN_SCHEDULE, trail=trail, also=also)

    async def _submit(self, schedule: schedule_pb2.Schedule, state: run_state_pb2.RunState) -> None:
        """Submit the run that waits first; durable with all that was decided when this returns."""
        due, now = state.queued_times[0].ToDatetime(UTC), self._clock.now()
        del state.queued_times[0]
        link = hop(schedule.name, f"due at {due:%Y-%m-%d %H:%M:%S} UTC", due)
        try:
            operation = await self._submission.submit(
                fill(schedule.request, {}),
                owner=schedule.owner,
                request_id=str(uuid.uuid5(uuid.UUID(schedule.uid), due.isoformat())),
                reason=f"{schedule.name}: {schedule.display_name}",
                cause=self._cause(schedule, state, [link], now),
            )
        except RetryError:
            await self._states.recall()
            raise
        except VirtyardError as error:
            await self._fail(schedule, state, due, error)
            return
        name = operation.name
        if state.last_operation != name:
            # It had been submitted before, and what was planned now cannot be any more.
            state.last_operation = name
            await self._states.save(schedule.uid, state)
        self._states.keep(schedule.uid, state)
        _log.info("%s submitted %s", schedule.name, name)

    async def _fail(
        self, schedule: schedule_pb2.Schedule, state: run_state_pb2.RunState, due: datetime, error: VirtyardError
    ) -> None:
        state.failed += 1
        state.last_error = str(error)
        text = f"{schedule.name} could not submit its request that was due at {due:%Y-%m-%d %H:%M:%S} UTC: {error}"
        key = f"{schedule.uid}/failed/{due.isoformat()}"
        told = [due_event(key, event_types.SCHEDULE_FAILED, schedule.name, text)]
        await self._states.save(schedule.uid, state, due=told)
        _log.warning("%s", text)

    async def _is_active(self, state: run_state_pb2.RunState) -> bool:
        number = operation_number(state.last_operation)
        if not number:
            return False
        try:
            operation = await self._look(number)
        except (NotFound, InvalidRequest):
            return False
        return operation.record.state == operation_pb2.OPERATION_STATE_ACTIVE


def _decided(schedule: schedule_pb2.Schedule, recurrence: Recurrence, state: run_state_pb2.RunState) -> datetime:
    """Return the time up to which every run was decided upon; what the schedule did not say then is not due by it."""
    if state.HasField("decided_time") and state.recurrence == recurrence.key:
        return state.decided_time.ToDatetime(UTC)
    changed: datetime = schedule.update_time.ToDatetime(UTC)
    return max(changed, state.decided_time.ToDatetime(UTC)) if state.HasField("decided_time") else changed


def _decide(
    schedule: schedule_pb2.Schedule,
    state: run_state_pb2.RunState,
    found: Sequence[datetime],
    now: datetime,
    *,
    active: bool,
) -> None:
    """Put into a schedule's state which of the due times wait for their turn; the others are left out and counted."""
    latest = Recurrence.of(schedule).delayed(found[-1])
    missed = list(found) if now - latest > ON_TIME else list(found[:-1])
    chosen = [] if missed and missed[-1] == found[-1] else [found[-1]]
    if missed and schedule.catch_up == schedule_pb2.CATCH_UP_POLICY_ALL:
        chosen = [*missed, *chosen][-(schedule.most_caught_up or 10) :]
    elif missed and schedule.catch_up != schedule_pb2.CATCH_UP_POLICY_NONE:
        chosen = [found[-1]]
    waiting = len(chosen) == 1 and (active or bool(state.queued_times))
    if (
        waiting
        and schedule.overlap
        in (
            schedule_pb2.OVERLAP_POLICY_SKIP,
            schedule_pb2.OVERLAP_POLICY_UNSPECIFIED,
        )
    ) or (waiting and schedule.overlap == schedule_pb2.OVERLAP_POLICY_QUEUE and state.queued_times):
        chosen = []
    state.left_out += len(found) - len(chosen)
    for due in chosen:
        state.queued_times.add().FromDatetime(due)
