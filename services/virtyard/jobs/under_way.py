"""The rounds of one operation that are under way: sent to their participants, and through once all is heard of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.effects import make_round, reference_of
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import StepRef
from virtyard.jobs.participants import Participants

__all__ = ["Rounds", "rounds_of"]


class Rounds:
    """Sends rounds whose intents are durable, and hears of them."""

    def __init__(self, keeper: Keeper, participants: Participants) -> None:
        """Work for the operation that the keeper keeps; nothing is under way yet."""
        self._keeper = keeper
        self._participants = participants
        self._sent: list[list[str]] = []
        self._results: dict[str, participant.EffectRecord] = {}
        self.inbox: asyncio.Queue[participant.EffectReport | None] = asyncio.Queue()
        """Results as they are heard of; None where somebody wants the runner to look around."""

    @property
    def are_any(self) -> bool:
        """Whether anything forward is under way."""
        return bool(self._sent)

    def wake(self) -> None:
        """Have the runner look around."""
        self.inbox.put_nowait(None)

    def send(self, refs: Sequence[StepRef], phase: participant.Phase.ValueType) -> None:
        """Send a round whose intents are durable."""
        first = refs[0].step
        link = self._participants.link(first.participant, first.participant_address)
        if phase == participant.PHASE_DO:
            self._sent.append([ref.reference for ref in refs])
        link.send(make_round(self._keeper.operation, refs, phase), self._hear)

    def _hear(self, report: participant.EffectReport) -> None:
        """Take a report from a link: progress is shown at once, results go to the inbox."""
        if report.HasField("progress"):
            self._keeper.show_progress(reference_of(report.step_key), report.progress)
        elif report.HasField("result"):
            self.inbox.put_nowait(report)

    async def wait_news(self) -> None:
        """Wait for news, and take all that is there."""
        report = await self.inbox.get()
        while True:
            if report is not None and report.phase == participant.PHASE_DO:
                self._results[reference_of(report.step_key)] = report.result
            if self.inbox.empty():
                return
            report = self.inbox.get_nowait()

    def take_complete(self) -> dict[str, participant.EffectRecord]:
        """Return the results of the rounds that are through; keep the others waiting."""
        through: dict[str, participant.EffectRecord] = {}
        for refs in list(self._sent):
            if all(reference in self._results for reference in refs):
                through |= {reference: self._results.pop(reference) for reference in refs}
                self._sent.remove(refs)
        return through

    def expect(self, reference: str) -> None:
        """Wait for a step that is under way, though no round of this process may have it."""
        if all(reference not in refs for refs in self._sent):
            self._sent.append([reference])

    def leave(self, references: Collection[str]) -> None:
        """Wait for these steps no more."""
        left = [[reference for reference in refs if reference not in references] for refs in self._sent]
        self._sent = [refs for refs in left if refs]

    def forget(self) -> None:
        """Wait for nothing that was sent: another plan takes its place."""
        self._sent = []


def rounds_of(refs: Sequence[StepRef]) -> list[list[StepRef]]:
    """Return steps that were under way, in runs of one participant and one family."""
    rounds: list[list[StepRef]] = []
    for ref in refs:
        last = rounds[-1][-1] if rounds else None
        if last is not None and last.step.participant == ref.step.participant:
            rounds[-1].append(ref)
        else:
            rounds.append([ref])
    return rounds
