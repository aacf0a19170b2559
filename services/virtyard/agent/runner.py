"""The runner of a host: carries out accepted effects in lanes, and lets nothing but a settlement stop them.

An effect belongs to the host, not to the stream that brought it: a broken stream leaves it running, and the same key
attaches to it again. Effects of one round run one after another; after one that was not done, the rest never begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from google.protobuf.message import Message

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Context, Host, Lane, LeftBehindError, Outcome
from virtyard.agent.ledger import Describe, Ledger
from virtyard.agent.metrics import observe_effect
from virtyard.agent.model import Decision, Key, Listener, Verdict, key_of, report_of
from virtyard.agent.progress import Progress
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.any import type_of, unpack
from virtyard.kernel.clock import Clock
from virtyard.kernel.effects import payload
from virtyard.kernel.errors import Cancelled, InternalError, KeyRefused, Unavailable, Unsupported, VirtyardError
from virtyard.runtime import telemetry
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import from_status

LANE_WIDTHS = {Lane.HOST: 16, Lane.STORAGE: 8, Lane.HYPERVISOR: 8, Lane.HEARTBEAT: 8}
"""How many effects of a lane run at once; a lane that is not here has no limit."""
_RECORD_AGAIN = 0.2
_log = logging.getLogger(__name__)

Work = Callable[[AnyAction, Message, Context], Awaitable[Outcome | None]]


class _Running:
    """One effect that is under way."""

    def __init__(self, effect: participant.Effect, before: list[_Running]) -> None:
        self.effect = effect
        self.key = key_of(effect)
        self.before = before
        self.done: asyncio.Future[participant.EffectRecord] = asyncio.get_running_loop().create_future()
        self.listeners: set[Listener] = set()
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self.working = False
        self.began: float | None = None
        self.action = "unknown"
        self.ended = False
        self.stopped = False
        self.latest: participant.EffectReport | None = None

    def stop(self) -> None:
        """Cancel the action, once, unless it has ended and only its record is missing."""
        if self.ended or self.stopped:
            return
        self.stopped = True
        if self.begun and self.task is not None:  # a task that is cancelled before its first step runs no line
            self.task.cancel()

    def begin(self) -> None:
        """Note the first step of the task.

        Raises:
            CancelledError: it was stopped before.
        """
        self.begun = True
        if self.stopped:
            raise asyncio.CancelledError

    def tell(self, report: participant.EffectReport) -> None:
        """Tell every listener, and whoever comes later, as a scheduler that was started again, how far it is."""
        self.latest = report if report.HasField("progress") else self.latest
        for listener in tuple(self.listeners):
            listener(report)


class Runner:
    """Carries out the effects of one host; use as a context manager."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        catalogue: Mapping[str, AnyAction],
        host: Host,
        clock: Clock,
        describe: Describe,
        transition_hook: Callable[[str], None] | None = None,
        metrics: Metrics | None = None,
        lanes: Mapping[Lane, int] | None = None,
    ) -> None:
        """Take the ledger to answer to, the actions to choose from, and the host to act on.

        The hook is told `agent.acted`, and again with the step, where an effect is done and not recorded: the tests of
        faults stop it there.
        """
        self._ledger = ledger
        self._catalogue = catalogue
        self._host = host
        self._clock = clock
        self._describe = describe
        self._hook = transition_hook
        self._metrics = metrics or Metrics()
        self._running: dict[Key, _Running] = {}
        self._lanes = {lane: asyncio.Semaphore(width) for lane, width in {**LANE_WIDTHS, **(lanes or {})}.items()}
        self._scope = TaskScope("runner")
        self._doubt: asyncio.Task[None] | None = None
        self._opening, self._opened = asyncio.Lock(), False

    async def open(self) -> None:
        """Take up what an earlier agent left, once: each effect without a result is resolved by its mark.

        Not before the first handshake: that tells what others have settled while this host was proven dead (P17).
        """
        async with self._opening:
            if self._opened:
                return
            for effect in await self._ledger.under_way():
                self._start(effect, _probe)
            self._ledger.on_doubt(self._take_up_soon)
            self._opened = True

    async def close(self, *, patience: float = 0.0) -> None:
        """Stop; what does not end within `patience` seconds is cancelled and resolved by the next agent."""
        await self._scope.close(patience=patience)

    async def resync(self, effects: Sequence[participant.Effect]) -> None:
        """Take up effects that a ledger which was lost may have had: each is looked for by its mark, none is begun.

        Returns once what became of each of them is in the ledger.

        Raises:
            Unavailable: the ledger could not be written; ask again.
        """
        waits: list[_Running] = []

        def probe(decisions: list[Decision]) -> None:
            for decision in decisions:
                if decision.verdict is not Verdict.ANSWER:
                    key = key_of(decision.effect)
                    waits.append(self._running.get(key) or self._start(decision.effect, _probe))

        await self._ledger.accept(effects, probe)
        for running in waits:
            await asyncio.shield(running.done)

    async def execute(self, effects: Sequence[participant.Effect], listener: Listener) -> None:
        """Accept effects that came together; the listener hears of each until it has ended.

        Raises:
            Unavailable: the ledger could not be written; whether they were accepted is not known.
        """

        def begin(decisions: list[Decision]) -> None:
            # Between this commit and the next one, so an effect is either running or recorded for whoever asks.
            for decision in decisions:
                self._follow(decision, listener)

        await self._ledger.accept(effects, begin)

    async def settle(self, request: participant.SettleRequest) -> participant.EffectRecord:
        """Return how an effect ended, after stopping it if that was asked; one that never came is refused for ever.

        Raises:
            StaleEpoch: another scheduler has adopted the operation.
            InvalidRequest: the key is malformed.
            Unavailable: the ledger is in doubt; ask again.
        """
        key = Key(request.step_key, int(request.phase), request.attempt)
        waits: list[_Running] = []

        def look(record: participant.EffectRecord | None) -> None:
            if record is None and key in self._running:
                waits.append(self._running[key])
                if request.stop:
                    self._running[key].stop()

        record = await self._ledger.settle(request, look)
        if record is None and not waits:
            raise Unavailable(f"{request.step_key} is just being taken up", retry_after=_RECORD_AGAIN)
        return record if record is not None else await asyncio.shield(waits[0].done)

    async def stop(self, keys: Iterable[Key]) -> None:
        """Stop those of these effects that are under way, and wait until they have ended."""
        stopped = [self._running[key] for key in keys if key in self._running]
        for running in stopped:
            running.stop()
        for running in stopped:
            await asyncio.shield(running.done)

    def forget(self, listener: Listener) -> None:
        """Tell this listener nothing more; its effects run on."""
        for running in self._running.values():
            running.listeners.discard(listener)

    @property
    def running(self) -> int:
        """Return how many effects are under way."""
        return len(self._running)

    def actions(self) -> list[participant.Action]:
        """Return every action of the catalogue, with why those that this host cannot do are not supported."""
        found = []
        for name, action in self._catalogue.items():
            reason = action.unsupported(self._host)
            found.append(participant.Action(message_type=name, supported=not reason, reason=reason))
        return found

    def _follow(self, decision: Decision, listener: Listener) -> None:
        key = key_of(decision.effect)
        if decision.verdict is Verdict.ANSWER:
            if decision.record is not None and decision.record.HasField("error"):
                self._metrics.note_violation(from_status(decision.record.error))
            listener(report_of(key, decision.record or participant.EffectRecord()))
        else:
            # Under way and not running means accepted by a commit in doubt, and not begun.
            running = self._running.get(key) or self._start(decision.effect, _do)
            running.listeners.add(listener)
            if running.latest is not None:
                listener(running.latest)

    def _take_up_soon(self) -> None:
        self._doubt = self._scope.start(self._take_up(), name="take up")

    async def _take_up(self) -> None:
        """Begin what was accepted by a commit whose outcome was unknown."""
        try:
            effects = await self._ledger.under_way()
        except VirtyardError as error:
            _log.error("the ledger cannot be read: %s", error)
            return
        for effect in effects:
            if key_of(effect) not in self._running:
                self._start(effect, _do)

    def _start(self, effect: participant.Effect, work: Work) -> _Running:
        # What must come before is looked up now: it can be running, or recorded as done, and nothing between.
        after = (effect.after, effect.phase)
        before = [other for key, other in self._running.items() if key[:2] == after] if effect.after else []
        running = _Running(effect, before)
        self._running[running.key] = running
        running.task = self._scope.start(self._run(running, work), name=f"effect {effect.step_key}")
        return running

    async def _run(self, running: _Running, work: Work) -> None:
        progress = Progress(running.effect, self._clock.now(), running.tell)
        try:
            record = await self._carried_out(running, work, progress)
        finally:
            running.ended = True
            progress.close()
        recorded = False
        while not recorded:
            try:
                await self._ledger.finish(running.key, record, lambda kept: self._ended(running, kept))
                recorded = True
            except Unavailable as error:
                _log.error("the result of %s is not recorded yet: %s", running.key.step_key, error)
                await asyncio.sleep(_RECORD_AGAIN)

    def _ended(self, running: _Running, record: participant.EffectRecord) -> None:
        del self._running[running.key]
        seconds = None if running.began is None else self._clock.monotonic() - running.began
        observe_effect(self._metrics, running.action, record, seconds)
        running.done.set_result(record)
        running.tell(report_of(running.key, record))

    async def _carried_out(self, running: _Running, work: Work, progress: Progress) -> participant.EffectRecord:
        """Return the record of an effect, whatever happens to it; only the agent's own end leaves it without one."""
        effect = running.effect
        record = participant.EffectRecord(step_key=effect.step_key, state=participant.EFFECT_STATE_FAILED)
        try:
            running.begin()
            outcome = await self._worked(running, work, progress)
            if self._hook is not None:
                self._hook("agent.acted")
                self._hook(f"agent.acted@{effect.step_key}")
            _fill(record, outcome)
        except asyncio.CancelledError:
            if not running.stopped:
                raise
            await self._record_stop(running, record)
        except KeyRefused as error:
            record.state = participant.EFFECT_STATE_NOT_BEGUN
            record.error.CopyFrom(self._describe(error))
        except VirtyardError as error:
            record.error.CopyFrom(self._describe(error))
        except LeftBehindError as error:
            record.state = participant.EFFECT_STATE_RESIDUE
            record.error.CopyFrom(self._describe(error.error))
            record.residue.extend(error.residue)
        except Exception as error:  # noqa: BLE001 - a defect of an action must still end in a record
            await self._record_defect(effect, record, error)
        return record

    async def _worked(self, running: _Running, work: Work, progress: Progress) -> Outcome:
        """Wait for the effect's turn and do it."""
        effect = running.effect
        await _wait_predecessors(running)
        asked = payload(effect)
        action = self._catalogue.get(type_of(asked))
        if action is None:
            raise Unsupported(f"this agent has no action for {type_of(asked)}")
        running.action = type_of(asked).rpartition(".")[2]
        reason = action.unsupported(self._host)
        if reason:
            raise Unsupported(reason)
        if effect.phase == participant.PHASE_UNDO and await self._did_nothing(effect):
            return Outcome(changed=False)
        name = f"action {type_of(asked).rpartition('.')[2]}"
        async with self._lanes.get(action.lane) or contextlib.nullcontext():
            with telemetry.span(name, effect.trace_context, job=effect.job, step_key=effect.step_key):
                running.working, running.began = True, self._clock.monotonic()
                outcome = await work(action, unpack(asked), self._context(effect, progress.advance))
        if outcome is None:
            raise Unavailable(
                f"the agent was stopped while it carried out {effect.step_key}; nothing is left of it", retry_after=1.0
            )
        return outcome

    async def _did_nothing(self, effect: participant.Effect) -> bool:
        """Tell whether the step found everything as wanted, so that undoing it means doing nothing (P9)."""
        record = await self._ledger.done_record(effect.step_key)
        return record is not None and not record.changed

    async def _record_stop(self, running: _Running, record: participant.EffectRecord) -> None:
        """Say what became of an effect that was stopped: the stop may have come when all was done (P1)."""
        effect = running.effect
        found = None
        if running.working:
            asked = payload(effect)
            context = self._context(effect, lambda done, total, stage: None)  # noqa: ARG005 - nobody listens any more
            try:
                found = await _probe(self._catalogue[type_of(asked)], unpack(asked), context)
            except Exception as error:  # noqa: BLE001 - what cannot be found out is told, not raised
                record.state = participant.EFFECT_STATE_RESIDUE
                record.error.CopyFrom(self._describe(Cancelled(f"{effect.step_key} was stopped on request")))
                record.residue.append(f"{type_of(asked)} may have left something: {type(error).__name__}: {error}")
                return
        if found is not None:
            _fill(record, found)
        else:
            record.state = participant.EFFECT_STATE_ABORTED
            record.error.CopyFrom(self._describe(Cancelled(f"{effect.step_key} was stopped on request")))

    async def _record_defect(
        self, effect: participant.Effect, record: participant.EffectRecord, error: Exception
    ) -> None:
        """Clean up after an action that broke its promises, and say what that came to."""
        _log.error("%s failed in an unforeseen way", effect.step_key, exc_info=error)
        asked = payload(effect)
        try:
            context = self._context(effect, lambda done, total, stage: None)  # noqa: ARG005 - nobody listens any more
            found = await _probe(self._catalogue[type_of(asked)], unpack(asked), context)
        except Exception as again:  # noqa: BLE001 - what cannot be cleaned up is told, not raised
            found = None
            record.state = participant.EFFECT_STATE_RESIDUE
            record.residue.append(f"{type_of(asked)} may have left something: {type(again).__name__}: {again}")
        if found is not None:
            _fill(record, found)
        else:
            defect = InternalError(f"{effect.step_key} failed: {type(error).__name__}: {error}")
            record.error.CopyFrom(self._describe(defect))

    def _context(self, effect: participant.Effect, progress: Callable[[int, int, str], None]) -> Context:
        return Context(
            host=self._host,
            mark=effect.step_key,
            undoing=effect.phase == participant.PHASE_UNDO,
            progress=progress,
        )


def _fill(record: participant.EffectRecord, outcome: Outcome) -> None:
    record.state, record.changed = participant.EFFECT_STATE_DONE, outcome.changed
    if outcome.result is not None:
        record.result.Pack(outcome.result)


async def _wait_predecessors(running: _Running) -> None:
    for before in running.before:
        record = await asyncio.shield(before.done)
        if record.state != participant.EFFECT_STATE_DONE:
            raise KeyRefused(f"{running.key.step_key} was never begun: {before.key.step_key} before it was not done")


async def _do(action: AnyAction, message: Message, context: Context) -> Outcome:
    return await action.do(message, context)


async def _probe(action: AnyAction, message: Message, context: Context) -> Outcome | None:
    return await action.probe(message, context)
