"""Proofs: an operation that proves a death is accepted while its server does not answer, and tells what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import broken
from virtyard.jobs.deaths import Deaths, OpenStep, verdict
from virtyard.jobs.effects import step_key
from virtyard.jobs.model import Operation, job_name
from virtyard.jobs.participants import Participants
from virtyard.runtime.database import Transaction

__all__ = ["Proofs", "previews"]


class Proofs:
    """Stands by when operations are submitted that prove a death."""

    def __init__(self, deaths: Deaths, participants: Participants, running: Callable[[], Sequence[Operation]]) -> None:
        """Ask servers by their links, and look at the operations that are run."""
        self._deaths = deaths
        self._participants = participants
        self._running = running

    async def begin(self, server: str) -> Callable[[Transaction, Operation], None]:
        """Make sure that a server does not answer; return what is to be written in the proof's first commit.

        Raises:
            WrongState: it answers.
        """
        return await self._deaths.begin(server, self._participants.link(server).answers)

    def previews(self, server: str) -> list[operation_pb2.SettlementPreview]:
        """Return the open steps of a server, and what becomes of each once it is proven dead."""
        return [found for operation in self._running() for found in previews(operation, server)]


def previews(operation: Operation, server: str) -> Iterator[operation_pb2.SettlementPreview]:
    """Yield what becomes of an operation's open steps on a server that is proven dead."""
    record = operation.record
    for ref in broken.unsettled(operation.shape, record):
        if ref.step.participant != server:
            continue
        phase, own = broken.phase_of(record, ref), record.steps[ref.reference]
        doing = phase == participant.PHASE_DO
        attempt = own.attempt if doing else own.undo_attempt
        step = OpenStep(
            key=(step_key(record.number, ref.reference), int(phase), attempt),
            asked=ref.step.do if doing else ref.step.undo,
            forward=doing and not ref.step.HasField("undo"),
        )
        yield operation_pb2.SettlementPreview(
            job=job_name(record.number, ref.job.id),
            title=ref.step.title,
            object=ref.step.target,
            verdict=verdict(step).words,
        )
