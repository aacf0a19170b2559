"""The next tries of steps that failed cleanly: intended durably, sent after a pause, and kept over a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import back_off, on_failure, outcome, schedule
from virtyard.jobs.abort_request import must_abort
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.hold import Hold
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import StepRef
from virtyard.jobs.past_pivot import PastPivot
from virtyard.jobs.under_way import rounds_of
from virtyard.kernel.clock import Clock
from virtyard.kernel.job_states import StepState

__all__ = ["LONGEST_PAUSE", "PAUSE", "NextTries"]

PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds before a second try, and before one that comes after many."""
Launch = Callable[[Iterable[Sequence[StepRef]]], None]
Record = record_pb2.OperationRecord


class NextTries:
    """Tries steps of one operation again."""

    def __init__(
        self, keeper: Keeper, clock: Clock, hold: Hold, aborted: AbortSignal, past_pivot: PastPivot, launch: Launch
    ) -> None:
        """Work for the operation that the keeper keeps.

        Args:
            keeper: keeps it.
            clock: tells when a try is due.
            hold: whether a person has set the operation aside.
            aborted: is given when the operation is aborted in time.
            past_pivot: what a person decides about steps that cannot be undone.
            launch: sends rounds whose intents are durable.
        """
        self._keeper = keeper
        self._clock = clock
        self._hold = hold
        self._aborted = aborted
        self._past_pivot = past_pivot
        self._launch = launch

    @property
    def _record(self) -> Record:
        return self._keeper.operation.record

    async def intend(self, results: Mapping[str, participant.EffectRecord]) -> None:
        """Commit the clean failure with the intent of the next attempt, wait, and send it (P8)."""
        again: list[StepRef] = []
        pause = 0.0

        def change(record: Record) -> None:
            nonlocal pause
            again.clear()
            for reference, result in results.items():
                if result.state == participant.EFFECT_STATE_DONE or on_failure.is_given_up(record, reference):
                    outcome.record_settled(record, reference, result)
                    continue
                step = schedule.change_step(record, reference, StepState.STARTED)
                step.attempt += 1
                if result.HasField("error"):
                    step.error.CopyFrom(result.error)
                again.append(self._keeper.operation.shape.steps[reference])
            if not again:
                return  # they were aborted meanwhile
            attempt = min(record.steps[ref.reference].attempt for ref in again)
            pause = back_off.pause_of(attempt, first=PAUSE, longest=LONGEST_PAUSE)
            for ref in again:
                back_off.note(record.steps[ref.reference], self._clock.now(), pause)

        await self._keeper.commit("jobs.retry", change)
        await self._send_after(again, pause)

    async def resume(self, started: Sequence[StepRef]) -> None:
        """Send again what was under way when another scheduler left it; what waits for another try waits on."""
        now, record = self._clock.now(), self._record
        wanted = [ref for ref in started if not record.steps[ref.reference].accepted]
        waits = [back_off.remaining(record, ref.reference, now, longest=LONGEST_PAUSE) for ref in wanted]
        self._launch(rounds_of([ref for ref, wait in zip(wanted, waits, strict=True) if not wait]))
        if waiting := [ref for ref, wait in zip(wanted, waits, strict=True) if wait]:
            await self._send_after(waiting, max(waits))

    async def _send_after(self, refs: Sequence[StepRef], pause: float) -> None:
        """Send the intended next try of steps after a pause, without those that a person has accepted or aborted."""
        await self.pause(pause)
        await self._hold.wait_lifted(self._aborted)
        record = self._record
        wanted = [ref for ref in refs if not record.steps[ref.reference].accepted]
        again = [ref for ref in wanted if not on_failure.is_given_up(record, ref.reference)]
        if again and not must_abort(self._record):
            self._launch(rounds_of(again))

    async def pause(self, seconds: float) -> None:
        """Wait before another attempt; an abort that comes in time, or a person's decision, ends the wait."""
        if self._record.too_late:
            await self._past_pivot.sleep(seconds)
        else:
            await self._aborted.wait_for(self._past_pivot.sleep(seconds))
