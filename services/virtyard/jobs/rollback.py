"""The way back of one operation: settle what was started, then undo what was done, the last first (P1, P10)."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import abort_request, back_off, decisions, on_failure, outcome, schedule
from virtyard.jobs.decisions import Decision
from virtyard.jobs.early_release import KEEPING, shrink
from virtyard.jobs.effects import make_round, reference_of, step_key
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import Shape, StepRef
from virtyard.jobs.preemption import Preemption
from virtyard.jobs.under_way import Rounds
from virtyard.jobs.world import World
from virtyard.kernel import event_types
from virtyard.kernel.errors import StaleEpoch
from virtyard.kernel.job_states import StepState

Record = record_pb2.OperationRecord
_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_log = logging.getLogger(__name__)


class Rollback:
    """Undoes one operation."""

    def __init__(
        self,
        keeper: Keeper,
        world: World,
        rounds: Rounds,
        preemption: Preemption,
    ) -> None:
        """Work for the operation that the keeper keeps, with the runner's rounds."""
        self._keeper = keeper
        self._world = world
        self._rounds = rounds
        self._decided = asyncio.Event()
        self._preemption = preemption
        self._taken_over = False

    async def run(self) -> None:
        """Undo everything and end the operation; stays, with the locks held, while an undo is refused."""
        rounds = await self._settle_all()
        if self._must_give_way(self._keeper.operation.record):
            rounds = await self._give_way()
        rounds = rounds or await self._resumed()
        while not self._keeper.ended:
            if rounds:
                rounds = await self._undo(rounds)
            elif schedule.stuck_jobs(self._keeper.operation.shape, self._keeper.operation.record):
                rounds = await self._wait_decided()
            else:
                rounds = await self._keeper.commit("jobs.Cu", self.advance)

    async def retry(self, asked: Decision) -> None:
        """Have the refused undos of a job tried again; durable when this returns.

        Raises:
            WrongState: none of its undos was refused.
        """

        def change(record: Record) -> None:
            schedule.retry_undos(self._shape, record, asked.job)
            decisions.note(record, asked, decisions.RETRIED)

        told = partial(decisions.tell, asked=asked, kind=event_types.JOB_RETRIED, what=decisions.RETRIED)
        await self._keeper.commit("jobs.unstuck", change, after=self._decided.set, news=told)

    async def accept(self, asked: Decision) -> None:
        """Leave what the refused undos of a job left, as a person has said; durable when this returns.

        Raises:
            WrongState: none of its undos was refused.
        """

        def change(record: Record) -> None:
            schedule.accept_residue(record, asked.job)
            decisions.note(record, asked, decisions.ACCEPTED)

        told = partial(decisions.tell, asked=asked, kind=event_types.JOB_ACCEPTED, what=decisions.ACCEPTED)
        await self._keeper.commit("jobs.accepted", change, after=self._decided.set, news=told)

    @property
    def _shape(self) -> Shape:
        return self._keeper.operation.shape

    async def _wait_decided(self) -> list[list[StepRef]]:
        """Wait until a person has said what is to become of refused undos; return those that are tried again."""
        while True:
            self._decided.clear()
            rounds = self._undoing()
            if rounds or not schedule.stuck_jobs(self._shape, self._keeper.operation.record):
                return rounds
            await self._decided.wait()

    def advance(self, record: Record) -> list[list[StepRef]]:
        """Write the intents of the next undo rounds, or the end if there is nothing left to undo; return the rounds."""
        shape = self._keeper.operation.shape
        # Nothing is undone past an undo that was refused: what was done before it may be what it needs.
        if schedule.in_flight(shape, record) or schedule.stuck_jobs(shape, record) or self._must_give_way(record):
            return []
        # What was taken over is not undone: it would be void (P12).
        rounds = [] if record.superseded_by else schedule.next_undos(shape, record)
        if not rounds and not any(state == StepState.UNDOING for state in schedule.states(shape, record)):
            schedule.end_rollback(shape, record)
            partial = schedule.left_residue(shape, record)
            self._keeper.mark_ended(record, record.error, cancelled=not record.failed_job and not partial)
            if partial:
                record.outcome = job_pb2.OUTCOME_PARTIAL
            on_failure.mark_kept(self._keeper.operation, record)
        elif record.options.on_failure in KEEPING:
            shrink(shape, record)
        return rounds

    def _must_give_way(self, record: Record) -> bool:
        """Tell whether the operation yields with something left that nobody has taken over yet."""
        return bool(record.superseded_by) and not self._taken_over and schedule.is_left(self._shape, record)

    async def _give_way(self) -> list[list[StepRef]]:
        """Have the operation that this one yields to take over what is left, or undo it if that one is gone (P12)."""
        operation = self._keeper.operation
        self._taken_over = await self._preemption.take_over(operation.name, operation.record.superseded_by)

        def change(record: Record) -> list[list[StepRef]]:
            if not self._taken_over:
                abort_request.note_left_alone(record)
            return self.advance(record)

        return await self._keeper.commit("jobs.given_way", change, everything=True)

    def _undoing(self) -> list[list[StepRef]]:
        """Return the steps whose undo was under way when another scheduler left them."""
        operation = self._keeper.operation
        open_refs = [
            [ref]
            for reference, ref in operation.shape.steps.items()
            if schedule.step_state(operation.record, reference) == StepState.UNDOING
        ]
        return open_refs[::-1]

    async def _resumed(self) -> list[list[StepRef]]:
        """Return the undos that were under way before, once what is left of the pause between two tries is over."""
        rounds, record = self._undoing(), self._keeper.operation.record
        now = self._world.clock.now()
        steps = [ref.reference for refs in rounds for ref in refs]
        waits = (back_off.remaining(record, each, now, longest=_LONGEST_PAUSE) for each in steps)
        await asyncio.sleep(max(waits, default=0.0))
        return rounds

    async def _settle_all(self) -> list[list[StepRef]]:
        """Stop and settle every started step, however long its participant is silent; return the next rounds."""
        operation = self._keeper.operation
        started = schedule.in_flight(operation.shape, operation.record)
        if not started:
            return []
        async with asyncio.TaskGroup() as tasks:
            asked = {ref.reference: tasks.create_task(self.settle(ref)) for ref in started}
        settled = {reference: task.result() for reference, task in asked.items()}

        def change(record: Record) -> list[list[StepRef]]:
            for reference, result in settled.items():
                outcome.record_settled(record, reference, result)
            return self.advance(record)

        return await self._keeper.commit("jobs.settled", change)

    async def settle(
        self, ref: StepRef, phase: participant.Phase.ValueType = participant.PHASE_DO
    ) -> participant.EffectRecord:
        """Return what a step came to, after stopping it, however long its participant is silent (P1)."""
        record = self._keeper.operation.record
        step = record.steps[ref.reference]
        link = self._world.participants.link(ref.step.participant, ref.step.participant_address)
        request = participant.SettleRequest(
            step_key=step_key(record.number, ref.reference),
            phase=phase,
            attempt=step.attempt if phase == participant.PHASE_DO else step.undo_attempt,
            epoch=record.epoch,
            stop=True,
        )
        while True:
            (effect,) = make_round(self._keeper.operation, [ref], phase)
            result = await link.settle(request, effect)
            if outcome.is_overtaken(result):
                raise StaleEpoch(result.error.message, resource=self._keeper.operation.name)
            if result.state != participant.EFFECT_STATE_RUNNING:
                link.forget({request.step_key})
                return result

    async def _undo(self, rounds: list[list[StepRef]]) -> list[list[StepRef]]:
        """Send undo rounds, commit what became of each step, and return the rounds that come next."""
        pending = {ref.reference: ref for refs in rounds for ref in refs}
        for refs in rounds:
            self._rounds.send(refs, participant.PHASE_UNDO)
        results: dict[str, participant.EffectRecord] = {}
        while len(results) < len(pending):
            report = await self._rounds.inbox.get()
            if report is not None and report.phase == participant.PHASE_UNDO:
                reference = reference_of(report.step_key)
                if reference in pending:
                    results[reference] = report.result
        refused: list[str] = []
        attempt, pause = 0, 0.0

        def change(record: Record) -> list[list[StepRef]]:
            nonlocal attempt, pause
            refused[:] = keep_undone(record, results, self._keeper.operation.name)
            if not refused:
                return self.advance(record)
            attempt = max(record.steps[reference].undo_attempt for reference in refused)
            pause = back_off.pause_of(attempt, first=_PAUSE, longest=_LONGEST_PAUSE)
            for reference in refused:
                back_off.note(record.steps[reference], self._world.clock.now(), pause)
            return []

        following = await self._keeper.commit("jobs.Cu", change)
        if not refused:
            return following
        if attempt > outcome.MOST_ATTEMPTS:
            await self._give_up(refused)
            return []
        await asyncio.sleep(pause)
        return [[pending[reference]] for reference in refused]

    async def _give_up(self, refused: list[str]) -> None:
        """Say which undos are refused and keep the locks: a person must look."""

        def stuck(record: Record) -> None:
            for reference in refused:
                schedule.change_step(record, reference, StepState.UNDO_FAILED)
            schedule.mark_stuck(self._shape, record)
            # What is undone, and what was never touched, is free; the residue and what it needs stay locked (P20).
            shrink(self._shape, record)

        await self._keeper.commit("jobs.stuck", stuck, everything=True, news=outcome.stuck_events)
        _log.error("%s cannot be undone; its locks stay held: %s", self._keeper.operation.name, refused)


def keep_undone(record: Record, results: dict[str, participant.EffectRecord], name: str) -> list[str]:
    """Take over what undos came to; return the steps whose undo was refused, with their next attempt intended."""
    refused = []
    for reference, result in results.items():
        if outcome.is_overtaken(result):
            raise StaleEpoch(result.error.message, resource=name)
        if result.state == participant.EFFECT_STATE_DONE:
            schedule.change_step(record, reference, StepState.UNDONE)
            continue
        step = schedule.change_step(record, reference, StepState.UNDOING)
        step.error.CopyFrom(result.error)
        step.undo_attempt += 1
        refused.append(reference)
    return refused
