"""What a person decides about steps that are refused past the pivot: have one tried now, or leave it as it is (P6).

A decision to leave a step is durable first; then the step is settled as on the way back, so that it never acts later,
and what comes after it goes on (P1). That a step is to be tried now only shortens its pause: who wanted it is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import acceptance, decisions, outcome, schedule
from virtyard.jobs.decisions import Decision
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import StepRef
from virtyard.kernel import event_types

__all__ = ["PastPivot"]

Record = record_pb2.OperationRecord


class PastPivot:
    """Takes decisions about one operation that goes forward."""

    def __init__(
        self,
        keeper: Keeper,
        settle: Callable[[StepRef], Coroutine[object, object, participant.EffectRecord]],
        wake: Callable[[], None],
    ) -> None:
        """Decide for the operation that the keeper keeps.

        Args:
            keeper: keeps it.
            settle: stops a step and tells what it came to.
            wake: is called when something was decided.
        """
        self._keeper = keeper
        self._settle = settle
        self._wake = wake
        self._decided = asyncio.Event()
        self._accepted = any(own.accepted for own in keeper.operation.record.steps.values())

    @property
    def has_accepted(self) -> bool:
        """Whether a step is to be left that is not settled yet."""
        if not self._accepted:
            return False  # asked after each result, so that nothing is searched for where nobody has decided
        self._accepted = bool(acceptance.accepted_steps(self._keeper.operation.shape, self._keeper.operation.record))
        return self._accepted

    async def sleep(self, seconds: float) -> None:
        """Wait before another attempt, until somebody has decided about it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._decided.wait()
        self._decided.clear()

    async def retry(self, asked: Decision) -> None:
        """Have the refused steps of a job tried now; one that is just being tried is tried again at once if it fails.

        Raises:
            WrongState: none of them is refused.
        """
        shape = self._keeper.operation.shape

        def change(record: Record) -> None:
            acceptance.check_refused(shape, record, asked.job)
            decisions.note(record, asked, decisions.RETRIED)

        told = partial(decisions.tell, asked=asked, kind=event_types.JOB_RETRIED, what=decisions.RETRIED)
        await self._keeper.commit("jobs.retry_asked", change, everything=True, news=told, after=self._decided.set)

    async def accept(self, asked: Decision) -> None:
        """Have the refused steps of a job left as they are; durable when this returns.

        Raises:
            WrongState: none of them is refused.
        """
        shape = self._keeper.operation.shape

        def change(record: Record) -> None:
            acceptance.accept(shape, record, asked.job)
            decisions.note(record, asked, decisions.ACCEPTED)

        told = partial(decisions.tell, asked=asked, kind=event_types.JOB_ACCEPTED, what=decisions.ACCEPTED)
        await self._keeper.commit("jobs.accepted", change, news=told, after=self._note_accepted)

    def _note_accepted(self) -> None:
        self._accepted = True
        self._decided.set()
        self._wake()

    async def leave(self, advance: Callable[[Record], list[list[StepRef]]]) -> tuple[set[str], list[list[StepRef]]]:
        """Settle the steps that are to be left and go on behind them; one that was done after all is done.

        Args:
            advance: writes the next intents into a record and returns their rounds.

        Returns:
            the steps that are settled, and the rounds to be sent.
        """
        shape = self._keeper.operation.shape
        accepted = acceptance.accepted_steps(shape, self._keeper.operation.record)
        async with asyncio.TaskGroup() as tasks:
            asked = {ref.reference: tasks.create_task(self._settle(ref)) for ref in accepted}
        settled = {reference: task.result() for reference, task in asked.items()}

        def change(record: Record) -> list[list[StepRef]]:
            for reference, result in settled.items():
                if result.state == participant.EFFECT_STATE_DONE:
                    outcome.record_done(record, reference, result)
                else:
                    acceptance.leave(shape, record, reference, result)
            rounds = advance(record)
            if not rounds and schedule.all_completed(shape, record):
                self._keeper.mark_succeeded(record)
            return rounds

        return set(settled), await self._keeper.commit("jobs.left", change)
