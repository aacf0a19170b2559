"""The links to participants: one long-lived Execute stream each, for the effects of every operation.

What is waiting goes in one message. A broken stream is no outcome: the link connects again and sends what is open
under the same keys and attempts, and the participant's ledger answers (P8).

A participant that has answered once is kept in contact with, also while there is nothing to send. Whether it is there
is asked apart from the effects, since an action may be silent for long, and a connection outlives a peer that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # has no stubs

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.jobs.deaths import Deaths, OpenStep, reports_of
from virtyard.jobs.greeter import Greeter
from virtyard.jobs.refusing import Refusing
from virtyard.jobs.without import Without
from virtyard.kernel.errors import Unavailable, VirtyardError
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import named, peer_cancels_named

Key = tuple[str, int, int]
Listener = Callable[[participant.EffectReport], None]
Connect = Callable[[str, str], Awaitable[grpc.aio.Channel]]
"""From a participant's name and its planned address to an open channel."""
_FIRST_PAUSE, _LONGEST_PAUSE, _IDLE_PAUSE = 0.05, 2.0, 15.0
GRACE = 1.0
"""Seconds that a participant may need to come back before contact with it counts as lost."""
_CONNECT_TIMEOUT = 5.0
_PULSE, _IDLE_PULSE, _PULSE_TIMEOUT = 2.0, 16.0, 2.0
"""Seconds between two questions whether it is there, while it has work and while not, and for the answer."""
_SETTLE_TIMEOUT = 30.0
_MEET_TIMEOUT = 5.0
_NO_OUTCOME = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_log = logging.getLogger(__name__)


def key_of(effect: participant.Effect) -> Key:
    """Return the key under which a ledger keeps an effect."""
    return effect.step_key, int(effect.phase), effect.attempt


class Link:
    """The link to one participant."""

    def __init__(
        self,
        name: str,
        connect: Connect,
        on_contact: Callable[[], None],
        tasks: TaskScope,
        greeter: Greeter | None = None,
        deaths: Deaths | None = None,
    ) -> None:
        """Make a link that is not connected.

        Args:
            name: `inventory` or the name of a server.
            connect: opens a channel to it.
            on_contact: is called when contact is lost or regained.
            tasks: what it does beside its stream runs here.
            greeter: shakes hands before each stream; nobody does if None.
            deaths: settles what is open without it while it is proven dead; nobody does if None.
        """
        self.name = name
        self._without = Without(name, deaths)
        self._greeter = greeter
        self.address = ""
        self.in_contact = True
        self.refusing = Refusing()
        self._connect = connect
        self._on_contact = on_contact
        self._tasks = tasks
        self._met = False
        self._doubt: asyncio.TimerHandle | None = None
        self._pause = _FIRST_PAUSE
        self._open: dict[Key, tuple[participant.Effect, Listener]] = {}
        self._outbox: list[participant.Effect] = []
        self._wake = asyncio.Event()
        self._turn = 0
        self._channel: grpc.aio.Channel | None = None
        self._connecting = asyncio.Lock()

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

    async def settle(
        self, request: participant.SettleRequest, effect: participant.Effect | None = None
    ) -> participant.EffectRecord:
        """Ask until the participant has answered, however long it is silent (P1), or is proven dead (P17).

        Args:
            request: what is to be settled.
            effect: the same as it was sent; without it nothing is settled without the participant.

        Raises:
            VirtyardError: the participant refused, as with a stale epoch.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                stub = participant_grpc.ParticipantServiceStub(await self.reached())
                with peer_cancels_named():
                    answer = await cast(Any, stub.Settle)(request, timeout=_SETTLE_TIMEOUT)
                self._answered()
                return cast(participant.EffectRecord, answer.record)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _NO_OUTCOME:
                    raise named(error) from error
                # An action may need longer to stop than one call waits; only a broken connection is silence.
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    self._missed()
            except VirtyardError as error:
                _log.debug("%s cannot be connected: %s", self.name, error)
                self._missed()
            if effect is not None and (found := await self._settle_without([OpenStep.settling(effect)])):
                return next(iter(found.values()))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    @property
    def has_open(self) -> bool:
        """Whether effects are open at it."""
        return bool(self._open)

    async def _settle_without(self, steps: list[OpenStep]) -> dict[Key, participant.EffectRecord]:
        return await self._without.settle(steps, silent=not self.in_contact)

    async def meet(self) -> None:
        """Reach a host that the inventory does not know yet, before anything is sent to it.

        Raises:
            Unavailable: there is nobody at its address, or not who should be.
        """
        if not await self.answers(_MEET_TIMEOUT):
            text = f"{self.name} cannot be reached at {self.address}: no agent with its certificate answers there"
            raise Unavailable(text, resource=self.name, retry_after=1.0)

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
                    self._answered()
                    return True
                if not self._open:
                    # Whatever is open on the channel sees to it by itself; else a new one asks for the address again.
                    await self._disconnect()
            await asyncio.sleep(pause)
            pause = min(pause * 2, patience / 4)
        return False

    async def run(self) -> None:
        """Keep the stream up for ever; end it by cancelling."""
        while True:
            try:
                await self._keep_up()
            except Exception:  # noqa: BLE001 - see below
                # Without the line all steps of the participant would wait for ever: one effect must not end it.
                _log.exception("the line to %s failed and is taken up again", self.name)
                self._send_again()
                await asyncio.sleep(_LONGEST_PAUSE)

    async def _keep_up(self) -> None:
        """Keep the stream up until it ends, and prepare the next one after a pause."""
        if not self._met:
            await self._wake.wait()
        try:
            await self._stream()
        except grpc.aio.AioRpcError as error:
            _log.info("the stream to %s broke: %s %s", self.name, error.code(), error.details())
            self.refusing.note(error)
        except VirtyardError as error:
            _log.info("%s cannot be connected: %s", self.name, error)
        self._missed()
        await self._disconnect()
        await self._rest()
        found = await self._settle_without([OpenStep.of(effect) for effect, _ in self._open.values()])
        for report in reports_of(found):
            self._dispatch(report)
        self._send_again()

    def _send_again(self) -> None:
        """Have everything that is open sent over the next stream."""
        self._outbox = [effect for effect, _ in self._open.values()]
        if self._outbox:
            self._wake.set()

    async def close(self) -> None:
        """Close the channel."""
        if self._doubt is not None:
            self._doubt.cancel()
        await self._disconnect()

    async def _rest(self) -> None:
        """Wait before the next try, for less long while something is open."""
        pause, self._pause = self._pause, self._pause * 2
        if self._open:
            await asyncio.sleep(max(min(pause, _LONGEST_PAUSE), self.refusing.pause))
            return
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(pause, _IDLE_PAUSE)):
                await self._wake.wait()

    async def _connected(self) -> grpc.aio.Channel:
        async with self._connecting:
            if self._channel is None:
                self._channel = await self._connect(self.name, self.address)
            return self._channel

    async def reached(self) -> grpc.aio.Channel:
        """Return a channel on which the participant has answered just now, if only with its certificate.

        Raises:
            Unavailable: it does not answer, or nobody knows where it is.
        """
        channel = await self._connected()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await channel.channel_ready()
        except (TimeoutError, grpc.aio.UsageError) as error:  # the stream gives a channel up that is of no use
            raise Unavailable(f"{self.name} does not answer", resource=self.name, retry_after=1.0) from error
        self._answered()
        return channel

    async def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and self.name != "inventory":
            await channel.close()

    async def _stream(self) -> None:
        channel = await self.reached()
        stub = participant_grpc.ParticipantServiceStub(channel)
        self._turn += 1
        pulse = self._tasks.start(self._feel_pulse(channel), name=f"pulse of {self.name}")
        try:
            with peer_cancels_named():
                greeter = self._greeter
                hello = await self._without.greet(partial(greeter.greet, self.name, stub)) if greeter is not None else 0
                call = cast(Any, stub.Execute)(self._requests(self._turn, hello))
                async for response in call:
                    self._answered()
                    self.refusing.over()
                    for report in response.reports:
                        self._dispatch(report)
        finally:
            self._turn += 1
            self._without.parted()
            pulse.cancel()

    async def _feel_pulse(self, channel: grpc.aio.Channel) -> None:
        """Ask again and again whether the participant is there; end it by cancelling."""
        loop = asyncio.get_running_loop()
        health = cast(Any, health_pb2_grpc.HealthStub(channel))
        asked = loop.time()
        while True:
            await asyncio.sleep(_PULSE)
            if not self._open and self.in_contact and loop.time() - asked < _IDLE_PULSE:
                continue
            asked = loop.time()
            try:
                await health.Check(health_pb2.HealthCheckRequest(), timeout=_PULSE_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                # Any other error is an answer: a service in the same process has no health of its own.
                if error.code() in _NO_OUTCOME:
                    self._missed()
                    if not self.in_contact and await self._without.is_proven_dead():
                        await self._disconnect()  # the end of a stream to the dead may not be noticed for long
                    continue
            self._answered()

    async def _requests(self, turn: int, hello: int) -> AsyncIterator[participant.ExecuteRequest]:
        while True:
            await self._wake.wait()
            # A broken call may leave its generator waiting here; what it took would go nowhere.
            if turn != self._turn:
                return
            self._wake.clear()
            outbox, self._outbox = self._outbox, []
            if outbox:
                request = participant.ExecuteRequest(effects=outbox)
                yield self._greeter.stamp(request, hello) if self._greeter is not None else request

    def _dispatch(self, report: participant.EffectReport) -> None:
        key = (report.step_key, int(report.phase), report.attempt)
        known = self._open.get(key)
        if known is None:
            return
        if report.HasField("result"):
            del self._open[key]
            if self._greeter is not None:
                self._greeter.note(self.name, report.result)
        known[1](report)

    def _answered(self) -> None:
        """Note that the participant is there."""
        self._pause = _FIRST_PAUSE
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        if not self._met:
            self._met = True
            self._wake.set()
        if not self.in_contact:
            self.in_contact = True
            self._on_contact()

    def _missed(self) -> None:
        """Note that the participant did not answer; it has a grace to come back in, as for a restart."""
        if self.in_contact and self._doubt is None:
            self._doubt = asyncio.get_running_loop().call_later(GRACE, self._lost)

    def _lost(self) -> None:
        self._doubt = None
        self.in_contact = False
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

    def __init__(
        self, connect: Connect, tasks: TaskScope, greeter: Greeter | None = None, deaths: Deaths | None = None
    ) -> None:
        """Run links in this task group, each greeting its participant by the greeter."""
        self._deaths = deaths
        self._connect = connect
        self._greeter = greeter
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
            link = self._links[name] = Link(name, self._connect, self._tell, self._tasks, self._greeter, self._deaths)
            _ = self._tasks.start(link.run(), name=f"link {name}", vital=True)
        link.address = address or link.address
        return link

    def listen(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called with the names of all silent participants whenever that changes."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener(self.silent())

    def why_unsettled(self, name: str, operation: int) -> str:
        """Return why a step of an operation stays open though its participant is proven dead; empty if not so."""
        return self._deaths.why_not(name, operation) if self._deaths is not None else ""

    def why_refusing(self, name: str) -> str:
        """Return what a participant says that answers and takes no effects; empty if it takes them."""
        link = self._links.get(name)
        return link.refusing.why if link is not None and link.in_contact else ""

    def silent(self) -> frozenset[str]:
        """Return the names of the participants that contact was lost with."""
        return frozenset(link.name for link in self._links.values() if not link.in_contact)

    def waited_for(self) -> int:
        """Return how many participants contact was lost with while effects are open at them."""
        return sum(link.has_open and not link.in_contact for link in self._links.values())

    async def close(self) -> None:
        """Close every channel."""
        for link in self._links.values():
            await link.close()
