"""The stops of jobs that are aborted while others of their operation go on: settled beside these, not after them (P1).

What a step comes to is put where its participant's own answer would come, so that one place takes over both. Whatever
is not settled when the others are through is settled on the way back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import job_abort, schedule
from virtyard.jobs.effects import step_key
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import StepRef
from virtyard.jobs.under_way import Rounds
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.job_states import StepState
from virtyard.runtime.scope import TaskScope

__all__ = ["JobStops"]

Settle = Callable[[StepRef], Coroutine[object, object, participant.EffectRecord]]
_log = logging.getLogger(__name__)


class JobStops:
    """Stops what is under way of the aborted jobs of one operation that goes on."""

    def __init__(self, keeper: Keeper, rounds: Rounds, settle: Settle, tasks: TaskScope) -> None:
        """Work for the operation that the keeper keeps.

        Args:
            keeper: keeps it.
            rounds: what is heard of its steps.
            settle: stops a step and tells what it came to.
            tasks: the scope in which steps are stopped.
        """
        self._keeper = keeper
        self._rounds = rounds
        self._settle = settle
        self._tasks = tasks
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._goes_forward = False
        # Whoever has taken the operation over does not know how far an earlier process came.
        self.are_due = any(own.HasField("abort_hop") for own in keeper.operation.record.jobs.values())
        """Whether a job was aborted, and what follows from that was not looked for yet."""

    def note(self) -> None:
        """Have the runner look what follows from an abort that is durable, and begin to stop at once."""
        self.are_due = True
        if self._goes_forward:
            self.begin()

    def begin(self) -> None:
        """Stop the steps of aborted jobs that are under way, each once, and from now on those of each further one."""
        self._goes_forward = True
        operation = self._keeper.operation
        for ref in schedule.in_flight(operation.shape, operation.record):
            if job_abort.is_aborted(operation.record, ref.job.id) and ref.reference not in self._stopping:
                self._rounds.expect(ref.reference)
                name = f"stop {operation.name} {ref.reference}"
                self._stopping[ref.reference] = self._tasks.start(self._stop(ref), name=name)

    def end(self) -> None:
        """Stop nothing any more: the way back sees to what is left."""
        self._goes_forward = False
        for stop in self._stopping.values():
            stop.cancel()

    def without_settled(self, results: dict[str, participant.EffectRecord]) -> dict[str, participant.EffectRecord]:
        """Return results without second ones: a stop may have been asked for when the step's own had just come."""
        record = self._keeper.operation.record
        return {
            reference: result
            for reference, result in results.items()
            if reference not in self._stopping or schedule.step_state(record, reference) == StepState.STARTED
        }

    async def _stop(self, ref: StepRef) -> None:
        operation = self._keeper.operation
        try:
            result = await self._settle(ref)
        except VirtyardError as error:
            # The way back asks again, and another scheduler is noticed by the next commit.
            _log.warning("%s of %s is not settled yet: %s", ref.step.title, operation.name, error)
            return
        self._rounds.inbox.put_nowait(
            participant.EffectReport(
                step_key=step_key(operation.number, ref.reference), phase=participant.PHASE_DO, result=result
            )
        )
