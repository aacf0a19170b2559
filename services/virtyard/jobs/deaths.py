"""Deaths: open steps of servers that are proven dead, and what each comes to without its server (P17).

What lives on the host alone came to nothing, and its undo is done: nothing of it is left. What was to end with the host
has ended. What is on storage is looked for through another server that has the repository, or is in the same pool where
it is the slot of a cluster. Past the point of no return
nothing is settled without the server, unless another one finds it done.

What a step came to is durable here before anybody acts on it, and the server is told with the next handshake, before
anything else: so a server that was not dead after all never acts on it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf.any_pb2 import Any as AnyMessage

from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import annotations_pb2
from virtyard.jobs.death_records import DeathRecords, Key, Settlement
from virtyard.jobs.greeter import KnownLedgers
from virtyard.jobs.model import Operation
from virtyard.jobs.through import Members
from virtyard.kernel.any import unpack
from virtyard.kernel.effects import payload
from virtyard.kernel.errors import WrongState
from virtyard.kernel.options import action_hint, descriptor_of
from virtyard.kernel.plan_rules import result_type
from virtyard.kernel.view import View, select
from virtyard.runtime.database import Transaction
from virtyard.runtime.status import to_status

__all__ = ["Deaths", "OpenStep", "Verdict", "reports_of", "verdict"]

PATIENCE = 3.0
"""Seconds in which a server that is said to be dead may answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStep:
    """An effect whose outcome is not known, as far as a verdict depends on it."""

    key: Key
    """Step key, phase and attempt."""
    asked: AnyMessage
    """The action's message: what is done, or what undoes it."""
    forward: bool = False
    """Whether it is only ever tried forward, as nothing takes it back."""
    effect: participant.Effect | None = None
    """The whole effect, for another server that looks for it; None where nobody is to be asked."""

    @classmethod
    def of(cls, effect: participant.Effect) -> OpenStep:
        """Return an effect that was sent, or is to be."""
        doing = effect.phase == participant.PHASE_DO
        return cls(
            key=(effect.step_key, int(effect.phase), effect.attempt),
            asked=payload(effect),
            forward=doing and not effect.HasField("undo"),
            effect=effect,
        )

    @classmethod
    def settling(cls, effect: participant.Effect) -> OpenStep:
        """Return an effect that is to be settled on the way back."""
        return replace(cls.of(effect), forward=False)


def reports_of(settled: Mapping[Key, participant.EffectRecord]) -> Iterator[participant.EffectReport]:
    """Yield what listeners are told of effects that were settled."""
    for (step_key, phase, attempt), record in settled.items():
        yield participant.EffectReport(
            step_key=step_key, phase=participant.Phase.ValueType(phase), attempt=attempt, result=record
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an open step comes to once its server is proven dead."""

    state: participant.EffectState.ValueType
    """Its state from then on; running while it must wait for its server all the same."""
    words: str
    """The same for people."""


def verdict(step: OpenStep) -> Verdict:
    """Return what a step comes to."""
    hint = action_hint(descriptor_of(unpack(step.asked)))
    if hint.domain != annotations_pb2.EFFECT_DOMAIN_HOST:
        text = "it is on storage: another server that reaches it looks for it, else it waits for its server"
        return Verdict(state=participant.EFFECT_STATE_RUNNING, words=text)
    if step.key[1] == participant.PHASE_UNDO:
        return Verdict(state=participant.EFFECT_STATE_DONE, words="nothing of it is left, so it is undone")
    if hint.fulfilled_by_death:
        return Verdict(state=participant.EFFECT_STATE_DONE, words="it is done, as the host has ended")
    if step.forward:
        text = "it is past the point of no return, and waits until its server is back"
        return Verdict(state=participant.EFFECT_STATE_RUNNING, words=text)
    return Verdict(state=participant.EFFECT_STATE_FAILED, words="it came to nothing, and its operation goes back")


class Deaths:
    """Knows which servers are proven dead, and settles open steps without them."""

    def __init__(
        self,
        records: DeathRecords,
        ledgers: KnownLedgers,
        view: Callable[[Sequence[participant.Selection]], Awaitable[View]],
    ) -> None:
        """Work with what is durable, what is known of handshakes, and the inventory."""
        self._records = records
        self._ledgers = ledgers
        self._view = view
        self.members: Members | None = None
        """Looks for what is on storage through other servers; nobody does if None."""

    def why_not(self, server: str, operation: int) -> str:
        """Return why a step of an operation stays open though its server is proven dead; empty if that is not so."""
        return self.members.why_not(server, operation) if self.members is not None else ""

    async def proof(self, server: str) -> server_pb2.ProvenDeath | None:
        """Return the proof that a server is dead, if there is one that still counts.

        Raises:
            Unavailable: the inventory cannot be reached.
        """
        asked = await self._records.proof_of(server)
        if asked is None or asked[1] != self._ledgers.of(server).hello:
            return None  # nobody has asked for one, or the server was greeted since
        found = (await self._view([select(server)])).find(server, server_pb2.Server)
        death = found.observed.death if found is not None and found.observed.HasField("death") else None
        return death if death is not None and death.operation == f"operations/{asked[0]}" else None

    async def settle(self, server: str, steps: Iterable[OpenStep]) -> dict[Key, participant.EffectRecord]:
        """Return what those of these steps came to that can be told, durably, if their server is proven dead.

        Whoever asks sees to it that the server is not greeted meanwhile.

        Raises:
            Unavailable: the inventory cannot be reached, or the commit failed; ask again.
        """
        steps = list(steps)
        death = await self.proof(server) if steps else None
        if death is None:
            if self.members is not None:
                self.members.forget(server)
            return {}
        settled = [found for step in steps if (found := await self._settled(server, step, death)) is not None]
        if settled:
            await self._records.settle(server, settled)
        return {each.key: each.record for each in settled}

    async def begin(
        self, server: str, answers: Callable[[float], Awaitable[bool]]
    ) -> Callable[[Transaction, Operation], None]:
        """Make sure that a server does not answer; return what notes that in the first commit of its proof.

        Raises:
            WrongState: it answers.
        """
        hello = self._ledgers.of(server).hello
        if await answers(PATIENCE):
            text = f"{server} answers, so it is not dead; what waits for it goes on by itself"
            raise WrongState(text, resource=server, metadata={"field": "name"})
        return self._records.asking(server, hello)

    async def _settled(self, server: str, step: OpenStep, death: server_pb2.ProvenDeath) -> Settlement | None:
        state = verdict(step).state
        if state != participant.EFFECT_STATE_RUNNING:
            return _by_death(server, step, state, death)
        domain = action_hint(descriptor_of(unpack(step.asked))).domain
        on_storage = domain == annotations_pb2.EFFECT_DOMAIN_STORAGE
        if self.members is None or step.effect is None or not on_storage:
            return None
        found = await self.members.settle(server, step.effect)
        if found is None:
            return None
        if found.state != participant.EFFECT_STATE_NOT_BEGUN:
            return Settlement(key=step.key, record=found)
        return None if step.forward else _by_death(server, step, participant.EFFECT_STATE_FAILED, death)


def _by_death(
    server: str, step: OpenStep, state: participant.EffectState.ValueType, death: server_pb2.ProvenDeath
) -> Settlement:
    record = participant.EffectRecord(step_key=step.key[0], state=state)
    if state == participant.EFFECT_STATE_DONE:
        name = f"type.googleapis.com/{result_type(step.asked).full_name}"
        record.result.CopyFrom(AnyMessage(type_url=name))
    else:
        why = f"{server} is dead: {death.principal} has made sure of it ({death.reason})"
        record.error.CopyFrom(to_status(WrongState(why, resource=server)))
    return Settlement(key=step.key, record=record)
