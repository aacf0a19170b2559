"""The runner of one operation: locks, rounds, results, and the way back; the canonical sequence of the protocol.

Intent first, durable; then send. Every change of the record is made on a copy, committed under the operation's epoch,
and only then taken over. A runner that is overtaken forgets the operation at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from google.rpc import status_pb2

from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import on_failure, outcome, schedule
from virtyard.jobs.abort_request import AbortRequest, cancelled_status, must_abort
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.aborting import Aborting
from virtyard.jobs.admission import Admission, Tokens
from virtyard.jobs.counted_locks import StepGate
from virtyard.jobs.decisions import Decision
from virtyard.jobs.hold import Hold
from virtyard.jobs.job_stops import JobStops
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.lock_break import BreakRequest, LockBreak, Unsettled
from virtyard.jobs.model import Operation, StepRef
from virtyard.jobs.next_tries import LONGEST_PAUSE, PAUSE, NextTries
from virtyard.jobs.past_pivot import PastPivot
from virtyard.jobs.preemption import Preemption, is_bound
from virtyard.jobs.ranking import Ranking
from virtyard.jobs.roll_call import Answers, call_roll
from virtyard.jobs.rollback import Rollback
from virtyard.jobs.under_way import Rounds, rounds_of
from virtyard.jobs.world import World
from virtyard.kernel.errors import (
    Contended,
    DeadlineExceeded,
    OwnerClosed,
    RequestError,
    StaleEpoch,
    Unavailable,
)
from virtyard.kernel.job_states import JobEvent, StepState
from virtyard.runtime import telemetry
from virtyard.runtime.logs import bound
from virtyard.runtime.status import to_status

Record = record_pb2.OperationRecord
_log = logging.getLogger(__name__)


class Runner:
    """Runs one operation to its end."""

    def __init__(self, operation: Operation, world: World, preemption: Preemption) -> None:
        """Take over an operation that is durable and not ended; `preemption` is told its place while it waits."""
        self.operation = operation
        self._world = world
        self._keeper = Keeper(operation, world)
        self._rounds = Rounds(self._keeper, world.participants)
        self.hold = Hold(self._keeper, world.filters, self._rounds.wake)
        self._gate = StepGate(world.counted, operation, self._rounds.wake)
        self.ranking = Ranking(self._keeper, world.locks)
        self._admission = Admission(
            self._keeper, world, partial(preemption.notice_place, operation), self.hold, self.ranking
        )
        self._rollback = Rollback(self._keeper, world, self._rounds, preemption)
        self._past_pivot = PastPivot(self._keeper, self._rollback.settle, self._rounds.wake)
        self._aborted = AbortSignal()
        self._stops = JobStops(self._keeper, self._rounds, self._rollback.settle, world.tasks)
        self._aborting = Aborting(self._keeper, self._aborted, self._stops, self._rounds.wake)
        self._break = LockBreak(self._keeper, world, self._rollback, self.ranking)
        self._call_roll = partial(call_roll, participants=world.participants, aborted=self._aborted)
        if must_abort(operation.record):
            self._aborted.give()
        self._next_tries = NextTries(
            self._keeper, world.clock, self.hold, self._aborted, self._past_pivot, self._launch
        )

    async def run(self) -> None:
        """Run to the end; returns when the operation has ended, or belongs to another scheduler."""
        record = self.operation.record
        try:
            with (
                bound(operation=self.operation.name),
                telemetry.span(f"operation {record.title}", record.trace_context, operation=self.operation.name),
            ):
                self.notice_contact(self._world.participants.silent())
                await self._break.guard(self._run)
                if (ended := self.operation.record).HasField("error"):
                    _log.info("%s ended: %s", self.operation.name, ended.error.message)
        except (StaleEpoch, OwnerClosed) as error:
            _log.warning("%s is given up: %s", self.operation.name, error)

    async def abort(self, asked: AbortRequest) -> bool:
        """Ask for an abort; see `Aborting.ask`."""
        return await self._aborting.ask(asked)

    @property
    def keeper(self) -> Keeper:
        """The keeper of the operation's record."""
        return self._keeper

    async def retry(self, asked: Decision) -> None:
        """Have what is refused in a job tried again; see `Rollback.retry` and `PastPivot.retry`."""
        if self.operation.record.rolling_back:
            await self._break.check_retry()
            await self._rollback.retry(asked)
        else:
            await self._past_pivot.retry(asked)

    async def accept(self, asked: Decision) -> None:
        """Leave what is refused in a job as it is; see `Rollback.accept` and `PastPivot.accept`."""
        if self.operation.record.rolling_back:
            await self._rollback.accept(asked)
        else:
            await self._past_pivot.accept(asked)

    async def break_locks(self, asked: BreakRequest, patience: float) -> list[Unsettled]:
        """Break the operation's locks; see `LockBreak`. Return the steps that are not settled when the time is up."""
        await self._break.begin(asked)
        return await self._break.wait_freed(patience)

    async def supersede(self, by: str) -> None:
        """Stop for an operation that this one yields to; see `Aborting.supersede`."""
        await self._aborting.supersede(by)

    async def take_over(self, yielding: str) -> bool:
        """Bind the operation to its end, for one that yielded to it; durable when this returns (P12).

        Returns False if it was aborted in time, is set aside or has ended.
        """

        def change(record: Record) -> bool:
            if not (record.abort_requested or record.held or record.rolling_back):
                record.takes_over = yielding
            return record.takes_over == yielding and is_bound(record)

        try:
            return await self._keeper.commit("jobs.takes_over", change)
        except StaleEpoch:
            return False

    def notice_contact(self, silent: frozenset[str]) -> None:
        """Show which of the operation's participants are silent."""
        concerned = silent & {ref.step.participant for ref in self.operation.shape.steps.values()}
        if concerned != self.operation.contact_lost:
            self.operation.contact_lost = frozenset(concerned)
            self._keeper.show(self.operation.shape.jobs)

    async def _run(self) -> None:
        while self.operation.record.held == job_pb2.HELD_REASON_POISON:
            await self._rounds.inbox.get()  # who lets it go on, or aborts it, puts something there
        record = self.operation.record
        if not record.rolling_back:
            # Who holds them does not ask again: the lock service hears of a new epoch with the release. An overtaken
            # scheduler gives nothing back before: each release is due by a commit, which its epoch does not get (P14).
            if not record.tokens and self.operation.shape.plan.locks and not await self._admit():
                return
            try:
                if not await self._go_forward():
                    return
            finally:
                self._stops.end()
        await self._rollback.run()

    async def _admit(self) -> bool:
        """Get the locks, with a plan that is still true under them; end the operation if that cannot be."""
        await self._patiently(partial(self._world.filters.hold, self._keeper))
        try:
            with telemetry.span("wait for locks", operation=self.operation.name):
                tokens = await self._patiently(self._admission.admit)
        except (RequestError, Contended) as error:
            await self._end_before_start(to_status(error), cancelled=False)
            return False
        if tokens is None:
            await self._end_before_start(cancelled_status(self.operation.record), cancelled=True)
            return False
        try:
            for step in (ref.step for ref in self.operation.shape.steps.values() if ref.step.participant_address):
                await self._world.participants.link(step.participant, step.participant_address).meet()
        except Unavailable as error:
            # Nothing was sent yet, so this is no lost contact to wait out: the address is wrong, or the host is down.
            await self._end_before_start(to_status(error), cancelled=False)
            return False
        self._keeper.granted = tokens
        return True

    async def _patiently(self, admit: Callable[[AbortSignal], Awaitable[Tokens | None]]) -> Tokens | None:
        """Admit, however long the inventory cannot be reached."""
        pause = PAUSE
        while True:
            try:
                return await admit(self._aborted)
            except (Unavailable, DeadlineExceeded) as error:
                _log.info("%s waits: %s", self.operation.name, error)
            await self._next_tries.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _end_before_start(self, status: status_pb2.Status, *, cancelled: bool) -> None:
        """End an operation that has done nothing."""

        def change(record: Record) -> None:
            for job in self.operation.shape.plan.jobs:
                waiting = record.jobs[job.id].state == job_pb2.JOB_STATE_WAITING_FOR_LOCKS
                refused = waiting and not cancelled
                schedule.change_job(record, job.id, JobEvent.REFUSE if refused else JobEvent.ABORT)
                record.jobs[job.id].error.CopyFrom(status)
                record.jobs[job.id].cause = record.abort_cause
                if refused and not record.failed_job:
                    record.failed_job = job.id
            for reference in self.operation.shape.steps:
                schedule.change_step(record, reference, StepState.SKIPPED)
            self._keeper.mark_ended(record, status, cancelled=cancelled)

        await self._keeper.commit("jobs.Ct", change, everything=True)

    async def _go_forward(self) -> bool:
        """Do rounds until all is done (returns False: ended) or the way back begins (returns True)."""
        await self._resume_or_begin()
        while not self._keeper.ended:
            if self.operation.record.rolling_back:
                return True
            if must_abort(self.operation.record):
                await self._turn_round(None)
                return True
            if self._past_pivot.has_accepted:
                await self._leave_accepted()
                continue
            if self._stops.are_due:
                await self._go_on_beside()
                continue
            if not self._gate.is_due:
                await self._rounds.wait_news()
            results = self._stops.without_settled(self._rounds.take_complete())
            if not results and (self.hold.is_on or (self._rounds.are_any and not self._gate.is_due)):
                continue
            failed = on_failure.first_failure(self.operation.record, results)
            if failed is None:
                if await self._keep_results(results):
                    return False
            elif await self._handle_failure(failed, results):
                return True
        return False

    async def _resume_or_begin(self) -> None:
        """Send what was under way when another scheduler left it, or the first steps."""
        record = self.operation.record
        # What was given up, and all of an operation to be aborted, is settled on the way back and not sent again.
        started = schedule.in_flight(self.operation.shape, record)
        resumed = [ref for ref in started if not on_failure.is_given_up(record, ref.reference)]
        if not must_abort(record):
            self._stops.begin()
            if resumed:
                await self._next_tries.resume(resumed)
            elif not self._stops.are_due:  # else the first look sees to both
                await self._begin()

    async def _leave_accepted(self) -> None:
        """Settle what a person has accepted as it is, and send what comes after it."""
        answers = await self._call_roll(self.operation, {})
        settled, rounds = await self._past_pivot.leave(partial(self._advance, answers=answers))
        self._rounds.leave(settled)
        self._launch(rounds)

    async def _begin(self) -> None:
        """Commit the first intents and send them, once the operation is not set aside."""
        while self.hold.is_on:
            await self.hold.wait_lifted(self._aborted)
            # What it was planned from may have changed meanwhile.
            nothing_begun = not self.operation.record.tokens and self.operation.shape.plan.locks
            if must_abort(self.operation.record) or (nothing_begun and not await self._admit()):
                return
        answers = await self._call_roll(self.operation, {})
        self._launch(await self._keeper.commit("jobs.C2", partial(self._advance, answers=answers)))

    async def _keep_results(self, results: dict[str, participant.EffectRecord]) -> bool:
        """Commit results with the next intents; tell whether the operation has ended by it."""
        done = {ref: result for ref, result in results.items() if result.state == participant.EFFECT_STATE_DONE}
        answers = await self._call_roll(self.operation, done)

        def change(record: Record) -> list[list[StepRef]]:
            rounds = self._take_over(record, results)
            rounds += self._advance(record, answers)
            if not rounds and schedule.all_completed(self.operation.shape, record):
                self._keeper.mark_succeeded(record)
            return rounds

        rounds = await self._keeper.commit("jobs.Ck", change)
        if self.operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
            return True
        self._launch(rounds)
        return False

    def _take_over(self, record: Record, results: dict[str, participant.EffectRecord]) -> list[list[StepRef]]:
        """Take over results without a failure; return what is sent again, as an aborted job ended a round before it."""
        if on_failure.goes_on(record) and not must_abort(record):
            return rounds_of(on_failure.settle_beside(self.operation.shape, record, results))
        for reference, result in results.items():
            outcome.record_settled(record, reference, result)
        return []

    async def _go_on_beside(self) -> None:
        """Stop what is under way of jobs that were aborted, and go on with what does not need them (CONTINUE)."""
        self._stops.are_due = False
        answers = await self._call_roll(self.operation, {})
        self._launch(await self._keeper.commit("jobs.Ck", partial(self._advance, answers=answers)))

    async def _handle_failure(self, failed: str, results: dict[str, participant.EffectRecord]) -> bool:
        """Try again, plan again, or turn round; tell whether the way back has begun."""
        shape, result = self.operation.shape, results[failed]
        if outcome.is_overtaken(result):
            raise StaleEpoch(result.error.message, resource=self.operation.name)
        step = self.operation.record.steps[failed]
        forward = shape.steps[failed].step.kind != plan_pb2.STEP_KIND_UNDOABLE
        if self._is_first(results) and outcome.has_changed_read_set(result):
            return await self._plan_again()
        if forward or (outcome.is_transient(result) and step.attempt < outcome.MOST_ATTEMPTS):
            await self._next_tries.intend(results)
            return False
        if on_failure.goes_on(self.operation.record):
            await self._go_on_without(failed, results)
            return False
        await self._turn_round(failed, results)
        return True

    async def _go_on_without(self, failed: str, results: dict[str, participant.EffectRecord]) -> None:
        """Give up the job of a failed step with what needs it, and go on with the others (CONTINUE)."""
        shape = self.operation.shape

        def change(record: Record) -> list[list[StepRef]]:
            if not on_failure.is_given_up(record, failed):  # else it was aborted meanwhile
                on_failure.abandon(shape, record, shape.steps[failed].job.id, results[failed].error)
            return rounds_of(on_failure.settle_beside(shape, record, results))

        self._launch(await self._keeper.commit("jobs.given_up", change))
        answers = await self._call_roll(self.operation, {})
        self._launch(await self._keeper.commit("jobs.Ck", partial(self._advance, answers=answers)))

    def _is_first(self, results: dict[str, participant.EffectRecord]) -> bool:
        """Tell whether nothing else was begun or done, so that the plan is still provisional (P4)."""
        record = self.operation.record
        others = [ref for ref in schedule.in_flight(self.operation.shape, record) if ref.reference not in results]
        done = any(result.state == participant.EFFECT_STATE_DONE for result in results.values())
        aborted = any(own.HasField("abort_hop") for own in record.jobs.values())
        return record.done_count == 0 and not others and not done and not aborted

    async def _plan_again(self) -> bool:
        """Replace the plan under the locks that are held, or ask for others; tell whether the operation has ended."""
        self._aborting.plans_again = True
        try:
            tokens = await self._patiently(self._admission.admit_again)
        except (RequestError, Contended) as error:
            started = schedule.in_flight(self.operation.shape, self.operation.record)
            if started:
                await self._turn_round(started[0].reference, {}, to_status(error))
            else:
                # Another plan was made and nothing of it was begun.
                await self._end_before_start(to_status(error), cancelled=False)
            return True
        finally:
            self._aborting.plans_again = False
        if tokens is None:
            await self._turn_round(None)
            return True
        self._keeper.granted = tokens
        self._rounds.forget()
        await self._begin()
        return False

    async def _turn_round(
        self,
        failed: str | None,
        results: dict[str, participant.EffectRecord] | None = None,
        status: status_pb2.Status | None = None,
    ) -> None:
        """Commit that the operation goes back (Cf); the rollback does the rest."""
        shape = self.operation.shape

        def change(record: Record) -> list[list[StepRef]]:
            for reference, result in (results or {}).items():
                outcome.record_settled(record, reference, result)
            if failed is not None:
                on_failure.note_failed(record, shape.steps[failed].job.id, status or (results or {})[failed].error)
            else:
                record.error.CopyFrom(cancelled_status(record))
            on_failure.turn_round(shape, record)
            # The end is a commit of its own: a job is seen to roll back before it is seen to have failed.
            if schedule.in_flight(shape, record) or record.superseded_by:
                return []
            return schedule.next_undos(shape, record)

        await self._keeper.commit("jobs.Cf", change, everything=True)

    def _advance(self, record: Record, answers: Answers) -> list[list[StepRef]]:
        self._gate.begin_look()
        if self._keeper.granted is not None and not record.tokens and not record.held:
            record.tokens.extend(self._keeper.granted)
        if must_abort(record):
            # Whoever asked was told that it came in time: no more is begun, neither the pivot nor the end.
            return []
        if record.held:
            return schedule.advance(self.operation.shape, record)
        schedule.defer(self.operation.shape, record, answers.silent)
        rounds = schedule.advance(self.operation.shape, record, answers.answering, self._gate.may_begin)
        on_failure.advance(self.operation.shape, record)
        return rounds

    def _launch(self, rounds: Iterable[Sequence[StepRef]]) -> None:
        if self.operation.counted_waits:
            self._keeper.show(self._gate.waiting_jobs())
        for refs in rounds:
            self._rounds.send(refs, participant.PHASE_DO)
