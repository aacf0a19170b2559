"""ParticipantService of the inventory: everything that waits on a stream is carried out as one round."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.inventory.metrics import observe_round
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.errors import Unsupported
from virtyard.runtime import telemetry
from virtyard.runtime.call import Call
from virtyard.runtime.floor import FloorKeeper, Floors
from virtyard.runtime.logs import bound
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.scope import TaskScope

__all__ = ["LedgerEnd", "ParticipantRpc"]

_log = logging.getLogger(__name__)
_LARGEST_ROUND = 256
_MOST_WAITING = 1024


class _Mailbox:
    """The effects that came on one stream and wait for their round; the stream is not read on while it is full."""

    def __init__(self) -> None:
        self._effects: deque[participant.Effect] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    async def fill(self, requests: AsyncIterator[participant.ExecuteRequest], offer: Callable[[Floors], None]) -> None:
        """Take what comes until the stream ends, and offer the floors that come with it."""
        try:
            async for request in requests:
                self._effects.extend(request.effects)
                offer(Floors(settled_below=request.settled_below, tokens_below=request.tokens_below))
                self._changed.set()
                while len(self._effects) >= _MOST_WAITING and not self._ended:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 - it ends this stream only, once what came before is answered
            self._error = error
        finally:
            self._ended = True
            self._changed.set()

    def end(self) -> None:
        """Take no more; what has come is still carried out."""
        self._ended = True
        self._changed.set()
        self._room.set()

    async def take(self) -> list[participant.Effect]:
        """Return what waits, at most one round; nothing once the stream has ended."""
        while not self._effects:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return []
            self._changed.clear()
            await self._changed.wait()
        taken = [self._effects.popleft() for _ in range(min(len(self._effects), _LARGEST_ROUND))]
        self._room.set()
        return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEnd:
    """What a handshake needs of the ledger."""

    id: str
    """The identity of its database."""
    floor: FloorKeeper
    """Below which operation nothing is remembered."""


class ParticipantRpc:
    """Carries out effects on objects."""

    def __init__(
        self, store: InventoryStore, scope: TaskScope, ledger: LedgerEnd, metrics: Metrics | None = None
    ) -> None:
        """Use the store, the scope of the tasks that read streams, the ledger's end, and the metrics to count in."""
        self._metrics = metrics or Metrics()
        self._ledger = ledger
        self._store = store
        self._scope = scope
        self._open: set[_Mailbox] = set()

    def end_streams(self) -> None:
        """End every stream once what has come on it is answered; the scheduler sends the rest to our successor."""
        for mailbox in self._open:
            mailbox.end()

    async def Execute(
        self,
        requests: AsyncIterator[participant.ExecuteRequest],
        call: Call,
    ) -> AsyncGenerator[participant.ExecuteResponse, None]:
        """Carry out the effects that come, round by round; a broken stream aborts none."""
        mailbox = _Mailbox()
        self._open.add(mailbox)
        reader = self._scope.start(mailbox.fill(requests, self._ledger.floor.offer), name="execute")
        try:
            while effects := await mailbox.take():
                began = time.perf_counter()
                with _traced(effects):
                    outcome = await self._store.execute(effects)
                observe_round(self._metrics, effects, outcome.records, time.perf_counter() - began)
                _log_failures(effects, outcome.records)
                yield participant.ExecuteResponse(reports=_reports(effects, outcome.records))
        finally:
            reader.cancel()
            self._open.discard(mailbox)

    async def Settle(
        self,
        request: participant.SettleRequest,
        call: Call,
    ) -> participant.SettleResponse:
        """Settle one effect."""
        return participant.SettleResponse(record=await self._store.settle(request))

    async def Hello(self, request: participant.HelloRequest, call: Call) -> participant.HelloResponse:
        """Take the floors; the inventory is never closed: what was lost with its ledger is lost with its objects."""
        floors = Floors(settled_below=request.settled_below, tokens_below=request.tokens_below)
        await self._ledger.floor.raise_to(floors)
        return participant.HelloResponse(
            ledger_id=self._ledger.id, ledger_sequence=request.ledger_sequence, hello=request.hello + 1
        )

    async def Resync(self, request: participant.ResyncRequest, call: Call) -> participant.ResyncResponse:
        """Refuse: there is nothing to look for by marks in a ledger that shares every commit with its objects."""
        raise Unsupported("the inventory is never closed", resource="inventory")

    async def ListActions(
        self,
        request: participant.ListActionsRequest,
        call: Call,
    ) -> participant.ListActionsResponse:
        """List the effects that the inventory can carry out: always the same two."""
        types = (write_objects_pb2.RevertWrites.DESCRIPTOR, write_objects_pb2.WriteObjects.DESCRIPTOR)
        return participant.ListActionsResponse(
            actions=[participant.Action(message_type=kind.full_name, supported=True) for kind in types]
        )


@contextmanager
def _traced(effects: Iterable[participant.Effect]) -> Iterator[None]:
    """Record the block as a span of every job whose effects it carries out."""
    with ExitStack() as spans:
        if telemetry.is_on():
            for effect in effects:
                name = f"effect {effect.do.TypeName().rpartition('.')[2]}"
                spans.enter_context(
                    telemetry.span(name, effect.trace_context, job=effect.job, step_key=effect.step_key)
                )
        yield


def _log_failures(effects: Iterable[participant.Effect], records: Iterable[participant.EffectRecord]) -> None:
    for effect, record in zip(effects, records, strict=True):
        if record.HasField("error"):
            trace = telemetry.trace_id_of(effect.trace_context)
            with bound(job=effect.job, **({"trace": trace} if trace else {})):
                _log.info("effect %s was refused: %s", effect.step_key, record.error.message)


def _reports(
    effects: Iterable[participant.Effect], records: Iterable[participant.EffectRecord]
) -> list[participant.EffectReport]:
    return [
        participant.EffectReport(step_key=effect.step_key, phase=effect.phase, attempt=effect.attempt, result=record)
        for effect, record in zip(effects, records, strict=True)
    ]
