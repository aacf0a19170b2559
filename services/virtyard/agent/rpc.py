"""The rpcs of an agent: effects and settlements for schedulers, facts for everybody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from virtyard.agent.consoles import Consoles
from virtyard.agent.handshake import Gate, is_whole
from virtyard.agent.ledger import Ledger
from virtyard.agent.ledger_pages import list_ledger
from virtyard.agent.model import key_of
from virtyard.agent.other_hosts import OtherHosts
from virtyard.agent.proven import key_of_settled
from virtyard.agent.runner import Runner
from virtyard.agent.session import Session
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InternalError, InvalidRequest, Unavailable, VirtyardError
from virtyard.runtime.floor import Floors
from virtyard.runtime.rpc import Call, Service
from virtyard.runtime.scope import TaskScope

_log = logging.getLogger(__name__)


class ParticipantRpc:
    """Serves `ParticipantService` for one host."""

    def __init__(self, runner: Runner, ledger: Ledger, others: OtherHosts) -> None:
        """Hand effects to `runner`, once it is known that `ledger` is whole; `others` looks for what dead hosts did."""
        self._runner = runner
        self._others = others
        self._ledger = ledger
        self._gate = Gate()
        self._scope = TaskScope("agent.streams")
        self._sessions: set[Session] = set()

    def end_streams(self) -> None:
        """Break every stream off, as the first thing of a stop: schedulers come again, effects run on."""
        for session in tuple(self._sessions):
            session.fail(Unavailable("this agent stops", retry_after=1.0))

    async def close(self) -> None:
        """Stop reading every stream."""
        await self._scope.close()

    async def Execute(
        self, requests: AsyncIterator[participant.ExecuteRequest], call: Call
    ) -> AsyncIterator[participant.ExecuteResponse]:
        """Carry effects out, and send what became of them; a broken stream leaves them running."""
        del call
        session = Session()
        listener = session.tell
        self._sessions.add(session)
        reader = self._scope.start(self._read(requests, session))
        try:
            async for reports in session.batches():
                yield participant.ExecuteResponse(reports=reports)
        finally:
            reader.cancel()
            self._sessions.discard(session)
            self._runner.forget(listener)

    async def Settle(self, request: participant.SettleRequest, call: Call) -> participant.SettleResponse:
        """Bring an effect to an end, or refuse its key for ever."""
        del call
        if not self._gate.is_open:
            # What it does not know may be what it has forgotten: that is no NOT_BEGUN.
            record = await self._ledger.recorded(request)
            if record is None:
                raise Unavailable(f"{request.step_key} is not known, and this agent is closed", retry_after=1.0)
            return participant.SettleResponse(record=record)
        record = await self._runner.settle(request)
        if request.HasField("effect") and record.state == participant.EFFECT_STATE_NOT_BEGUN:
            self._ledger.check_open(request.step_key)
            if key_of(request.effect) != (request.step_key, int(request.phase), request.attempt):
                raise InvalidRequest.of("effect", "allowed is the effect of the same step, phase and attempt")
            record = await self._others.look_for(request.effect)
        return participant.SettleResponse(record=record)

    async def Hello(self, request: participant.HelloRequest, call: Call) -> participant.HelloResponse:
        """Number a handshake, and open if the ledger has all that the scheduler knows of."""
        del call
        await self._runner.stop(map(key_of_settled, request.settled))
        greeting = await self._ledger.greet(request)
        await self._runner.open()
        self._gate.greeted(greeting.hello)
        if is_whole(request, self._ledger.id, greeting.position):
            self._gate.open(greeting.hello)
        else:
            _log.warning("the ledger is not the one that the scheduler knows; what is open here is looked for by marks")
        return participant.HelloResponse(
            ledger_id=self._ledger.id,
            ledger_sequence=greeting.position,
            hello=greeting.hello,
            closed=not self._gate.is_open,
            overruled=greeting.overruled,
        )

    async def Resync(self, request: participant.ResyncRequest, call: Call) -> participant.ResyncResponse:
        """Look for what is open by its marks, and open."""
        del call
        self._gate.check(request.hello)
        await self._ledger.seal(request)
        await self._runner.resync(request.effects)
        self._gate.open(request.hello)
        return participant.ResyncResponse(ledger_sequence=self._ledger.position)

    async def ListActions(self, request: participant.ListActionsRequest, call: Call) -> participant.ListActionsResponse:
        """List what this host can do, and why not the rest."""
        del request, call
        return participant.ListActionsResponse(actions=self._runner.actions())

    async def _read(self, requests: AsyncIterator[participant.ExecuteRequest], session: Session) -> None:
        """Accept what comes, one message after another, so that rounds keep their order."""
        try:
            async for request in requests:
                self._gate.admit(request.hello)
                floors = Floors(settled_below=request.settled_below, tokens_below=request.tokens_below)
                self._ledger.floor.offer(floors)
                await session.expect([key_of(effect) for effect in request.effects])
                await self._runner.execute(list(request.effects), session.tell)
        except VirtyardError as error:
            session.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream ends with it
            _log.exception("an Execute stream could not be read")
            session.fail(InternalError(f"the stream could not be read: {type(error).__name__}: {error}"))
        except asyncio.CancelledError:
            # Whatever cancelled it, a stream that nobody reads any more must not stay open: its sender would wait.
            session.fail(Unavailable("the stream is read no more", retry_after=1.0))
            raise
        else:
            session.end()


class AgentRpc:
    """Serves `AgentService` for one host."""

    def __init__(
        self, facts: Callable[[], Awaitable[agent_service_pb2.Host]], ledger: Ledger, consoles: Consoles
    ) -> None:
        """Answer with what `facts` finds, with what `ledger` has, and with what guests show."""
        self._facts = facts
        self._ledger = ledger
        self._consoles = consoles

    async def OpenDisplay(
        self, requests: AsyncIterator[agent_service_pb2.OpenDisplayRequest], call: Call
    ) -> AsyncIterator[agent_service_pb2.OpenDisplayResponse]:
        """Carry a display."""
        async for data in self._consoles.display(requests, call.principal.identity):
            yield agent_service_pb2.OpenDisplayResponse(data=data)

    async def ReadSerialLog(
        self, request: agent_service_pb2.ReadSerialLogRequest, call: Call
    ) -> AsyncIterator[agent_service_pb2.ReadSerialLogResponse]:
        """Read a serial log."""
        del call
        async for piece in self._consoles.serial_log(request.uid, request.offset_bytes, follow=request.follow):
            yield agent_service_pb2.ReadSerialLogResponse(data=piece.data, next_offset_bytes=piece.next_offset)

    async def ListLedger(
        self, request: agent_service_pb2.ListLedgerRequest, call: Call
    ) -> agent_service_pb2.ListLedgerResponse:
        """Return a page of the ledger."""
        del call
        return await self._ledger.read(lambda sql: list_ledger(sql, request))

    async def GetHost(self, request: agent_service_pb2.GetHostRequest, call: Call) -> agent_service_pb2.Host:
        """Return the facts of the host as it is now."""
        del request, call
        return await self._facts()


def services(participant_rpc: ParticipantRpc, agent_rpc: AgentRpc) -> list[Service]:
    """Return what an agent serves."""
    return [
        Service(participant.DESCRIPTOR.services_by_name["ParticipantService"], participant_rpc),
        Service(agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"], agent_rpc),
    ]
