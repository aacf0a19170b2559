"""The links to participants: one long-lived Execute stream each, for the effects of every operation.

What is waiting goes in one message. A broken stream is no outcome: the link connects again and sends what is open
under the same keys and attempts, and the participant's ledger answers (P8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.kernel.errors import Unavailable, VirtyardError
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import named, peer_cancels_named

Key = tuple[str, int, int]
Listener = Callable[[participant.EffectReport], None]
Connect = Callable[[str, str], Awaitable[grpc.aio.Channel]]
"""From a participant's name and its planned address to an open channel."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_SETTLE_TIMEOUT = 30.0
_MEET_TIMEOUT = 5.0
_NO_OUTCOME = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_log = logging.getLogger(__name__)


def key_of(effect: participant.Effect) -> Key:
    """Return the key under which a ledger keeps an effect."""
    return effect.step_key, int(effect.phase), effect.attempt


class Link:
    """The link to one participant."""

    def __init__(self, name: str, connect: Connect, on_contact: Callable[[], None]) -> None:
        """Make a link that is not connected.

        Args:
            name: `inventory` or the name of a server.
            connect: opens a channel to it.
            on_contact: is called when contact is lost or regained.
        """
        self.name = name
        self.address = ""
        self.in_contact = True
        self._connect = connect
        self._on_contact = on_contact
        self._open: dict[Key, tuple[participant.Effect, Listener]] = {}
        self._outbox: list[participant.Effect] = []
        self._wake = asyncio.Event()
        self._turn = 0
        self._channel: grpc.aio.Channel | None = None

    def send(self, effects: list[participant.Effect], listener: Listener) -> None:
        """Send effects together; the listener hears of each until its result has come."""
        for effect in effects:
            self._open[key_of(effect)] = (effect, listener)
        self._outbox += effects
        self._wake.set()

    def forget(self, step_keys: set[str]) -> None:
        """Stop listening to steps; their effects run on."""
        for key in [key for key in self._open if key[0] in step_keys]:
            del self._open[key]

    async def settle(self, request: participant.SettleRequest) -> participant.EffectRecord:
        """Ask until the participant has answered, however long it is silent (P1).

        Raises:
            VirtyardError: the participant refused, as with a stale epoch.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                stub = participant_grpc.ParticipantServiceStub(await self._connected())
                with peer_cancels_named():
                    answer = await cast(Any, stub.Settle)(request, timeout=_SETTLE_TIMEOUT)
                self._contact(True)
                return cast(participant.EffectRecord, answer.record)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _NO_OUTCOME:
                    raise named(error) from error
            except VirtyardError as error:
                _log.debug("%s cannot be connected: %s", self.name, error)
            if pause >= 0.2:
                self._contact(False)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def meet(self) -> None:
        """Reach a host that the inventory does not know yet, before anything is sent to it.

        Raises:
            Unavailable: there is nobody at its address, or not who should be.
        """
        if not await self.answers(_MEET_TIMEOUT):
            text = f"{self.name} cannot be reached at {self.address}: no agent with its certificate answers there"
            raise Unavailable(text, resource=self.name)

    async def answers(self, patience: float) -> bool:
        """Tell whether the participant answers a call now.

        Args:
            patience: the seconds that it has; the time in which nobody can say where it is does not count.
        """
        clock = asyncio.get_running_loop().time
        end, pause = clock() + patience, _FIRST_PAUSE
        while (left := end - clock()) > 0:
            try:
                channel = await self._connected()
            except VirtyardError as error:
                _log.debug("%s cannot be connected: %s", self.name, error)
                if error.resource != self.name:
                    end, pause = clock() + patience, _FIRST_PAUSE
            else:
                if await _answers(channel, left):
                    self._contact(True)
                    return True
                if not self._open:
                    # Whatever is open on the channel sees to it by itself; else a new one asks for the address again.
                    await self._disconnect()
            await asyncio.sleep(pause)
            pause = min(pause * 2, patience / 4)
        return False

    async def run(self) -> None:
        """Keep the stream up for ever; end it by cancelling."""
        pause = _FIRST_PAUSE
        while True:
            await self._wake.wait()
            try:
                await self._stream()
                pause = _FIRST_PAUSE
            except grpc.aio.AioRpcError as error:
                _log.info("the stream to %s broke: %s %s", self.name, error.code(), error.details())
            except VirtyardError as error:
                _log.info("%s cannot be connected: %s", self.name, error)
            if pause >= 0.2:
                self._contact(False)
            await self._disconnect()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            self._outbox = [effect for effect, _ in self._open.values()]
            if self._outbox:
                self._wake.set()

    async def close(self) -> None:
        """Close the channel."""
        await self._disconnect()

    async def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = await self._connect(self.name, self.address)
        return self._channel

    async def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and self.name != "inventory":
            await channel.close()

    async def _stream(self) -> None:
        stub = participant_grpc.ParticipantServiceStub(await self._connected())
        self._turn += 1
        call = cast(Any, stub.Execute)(self._requests(self._turn))
        try:
            with peer_cancels_named():
                async for response in call:
                    self._contact(True)
                    for report in response.reports:
                        self._dispatch(report)
        finally:
            self._turn += 1

    async def _requests(self, turn: int) -> AsyncIterator[participant.ExecuteRequest]:
        while True:
            await self._wake.wait()
            # A broken call may leave its generator waiting here; what it took would go nowhere.
            if turn != self._turn:
                return
            self._wake.clear()
            outbox, self._outbox = self._outbox, []
            if outbox:
                yield participant.ExecuteRequest(effects=outbox)

    def _dispatch(self, report: participant.EffectReport) -> None:
        key = (report.step_key, int(report.phase), report.attempt)
        known = self._open.get(key)
        if known is None:
            return
        if report.HasField("result"):
            del self._open[key]
        known[1](report)

    def _contact(self, there: bool) -> None:
        if there is not self.in_contact:
            self.in_contact = there
            self._on_contact()


async def _answers(channel: grpc.aio.Channel, seconds: float) -> bool:
    """Tell whether anybody answers on a channel; a refusal is an answer."""
    stub = participant_grpc.ParticipantServiceStub(channel)
    try:
        with peer_cancels_named():
            await cast(Any, stub.ListActions)(participant.ListActionsRequest(), timeout=seconds)
    except grpc.aio.AioRpcError as error:
        return error.code() not in _NO_OUTCOME
    except Unavailable:
        return False
    return True


class Participants:
    """Every participant that operations have met; links are made when they are needed."""

    def __init__(self, connect: Connect, tasks: TaskScope) -> None:
        """Run links in this task group."""
        self._connect = connect
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._tasks = tasks
        self._links: dict[str, Link] = {}

    def link(self, name: str, address: str = "") -> Link:
        """Return the link to a participant.

        Args:
            name: `inventory` or the name of a server.
            address: host:port to try where the inventory does not know the server yet.
        """
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Link(name, self._connect, self._tell)
            _ = self._tasks.start(link.run(), name=f"link {name}")
        link.address = address or link.address
        return link

    def listen(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called with the names of all silent participants whenever that changes."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.silent())

    def silent(self) -> frozenset[str]:
        """Return the names of the participants that contact was lost with."""
        return frozenset(link.name for link in self._links.values() if not link.in_contact)

    async def close(self) -> None:
        """Close every channel."""
        for link in self._links.values():
            await link.close()
