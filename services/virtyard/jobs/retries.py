"""Retries of what triggers submitted: an operation that failed is submitted again after a pause, a few times.

What waits for its time is part of the trigger's run state, and is taken off it in the first commit of the operation
that comes of it. Each try adds a link to the chain of causes, and is counted by that: no other memory of it is needed.
A try is dropped when an event passes by that ends what the first event told of, or that fires the trigger anew.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message

from virtyard.api.inventory.v1 import event_pb2, trigger_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.type.v1.submission_pb2 import ReasonHop
from virtyard.internal.jobs.v1 import run_state_pb2
from virtyard.jobs.automatic import AutomaticSubmission
from virtyard.jobs.causes import Cause, began_since, hop
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.due_events import due_event
from virtyard.jobs.model import Operation, operation_number
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.store import JobStore
from virtyard.kernel import event_types
from virtyard.kernel.any import unpack
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import (
    CapacityExhausted,
    NotFound,
    RetryError,
    VirtyardError,
    WrongState,
)
from virtyard.kernel.plan import pack
from virtyard.kernel.templates import fill, values_of
from virtyard.runtime.database import Transaction

__all__ = ["Retries"]

_FIRST_PAUSE = timedelta(seconds=10)
_PASSING = (CapacityExhausted, WrongState)
"""Refusals that another try may not meet any more."""
_LONGEST_SLEEP = 60.0
_AGAIN = 1.0
_log = logging.getLogger(__name__)


class Retries:
    """Submits again what failed."""

    def __init__(
        self,
        definitions: Definitions,
        states: RunStates,
        store: JobStore,
        submission: AutomaticSubmission,
        clock: Clock,
        one_at_a_time: asyncio.Lock,
    ) -> None:
        """Work with these.

        Args:
            definitions: the triggers there are.
            states: what each has done, and what is to be tried again.
            store: where operations that failed are found.
            submission: submits operations.
            clock: tells when a pause is over.
            one_at_a_time: is held by whoever changes the run states of triggers.
        """
        self._definitions = definitions
        self._states = states
        self._store = store
        self._submission = submission
        self._clock = clock
        self._one_at_a_time = one_at_a_time
        self._changed = asyncio.Event()

    async def note(self, event: event_pb2.Event, token: str) -> None:
        """Plan another try of what an event says has failed, and drop those that another has made needless.

        Args:
            event: the event.
            token: the resume token behind it, to be durable with what came of it; empty if something else comes of it.

        Raises:
            RetryError: the database cannot be written; the event is to be taken again.
        """
        await self._drop_needless(event, token)
        if event.type == event_types.JOB_FAILED.name and operation_number(event.operation):
            try:
                await self._plan_failed(event, token)
            except RetryError:
                raise
            except Exception:  # noqa: BLE001 - one operation's trouble must not keep back what comes later; it is logged
                _log.exception("%s is not tried again", event.operation)

    def plan_refused(
        self,
        trigger: trigger_pb2.Trigger,
        state: run_state_pb2.RunState,
        event: event_pb2.Event,
        trail: Sequence[ReasonHop],
        error: VirtyardError,
    ) -> bool:
        """Add another try to a state, which the caller stores, where a request was refused; False if none is to be.

        Args:
            trigger: the trigger.
            state: what it has done.
            event: the event for which its request was refused.
            trail: the chain of causes, the trigger as its last link.
            error: why it was refused.
        """
        if not isinstance(error, _PASSING):
            return False
        request = fill(trigger.request, values_of(event))
        planned = self._add(trigger, state, request, trail, f"it was refused: {error}", state.last_request_id)
        if planned:
            self._changed.set()
        return planned

    async def run(self) -> None:
        """Submit what is due until cancelled."""
        await self._definitions.loaded()
        while True:
            self._changed.clear()
            troubled = [trigger for trigger in self._definitions.triggers() if not await self._look_at(trigger)]
            wait = _AGAIN if troubled else self._until_next()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _look_at(self, trigger: trigger_pb2.Trigger) -> bool:
        """Submit what is due of one trigger; return False if it has to be looked at again soon."""
        try:
            async with self._one_at_a_time:
                await self._submit_due(trigger)
        except (RetryError, OSError) as error:
            _log.debug("a retry of %s waits: %s", trigger.name, error)
            return False
        except Exception:  # noqa: BLE001 - one trigger's trouble must not end what serves all; it is logged
            _log.exception("retries of %s are looked at again", trigger.name)
            return False
        return True

    async def _plan_failed(self, event: event_pb2.Event, token: str) -> None:
        try:
            operation = await self._store.get(operation_number(event.operation))
        except NotFound:
            return
        record = operation.record
        trigger = self._trigger_of(operation)
        if trigger is None or record.state != operation_pb2.OPERATION_STATE_FAILED:
            return
        state = self._states.of(trigger.uid)
        if any(each.cause == operation.name for each in state.retries):
            return  # another job's event of the same failure
        request: Any = unpack(operation.request)
        request.request_id = ""
        key = f"{operation.name} {record.create_time.ToJsonString()}"
        reason = f"{operation.name} failed: {record.error.message}"
        if self._add(trigger, state, request, record.reason_trail, reason, key):
            state.retries[-1].cause = operation.name
            await self._states.save(trigger.uid, state, token)
            self._changed.set()
        elif trigger.retry_limit:
            await self._give_up(trigger, state, reason, key, token)

    def _trigger_of(self, operation: Operation) -> trigger_pb2.Trigger | None:
        """Return the trigger that submitted an operation, if it is still there and acts."""
        trail = operation.record.reason_trail
        if operation.record.origin != job_pb2.ORIGIN_EVENT or not trail:
            return None
        trigger = self._definitions.find(trail[-1].source, trigger_pb2.Trigger)
        return trigger if trigger is not None and trigger.state != trigger_pb2.TRIGGER_STATE_DISABLED else None

    def _add(
        self,
        trigger: trigger_pb2.Trigger,
        state: run_state_pb2.RunState,
        request: Message,
        trail: Sequence[ReasonHop],
        reason: str,
        key: str,
    ) -> bool:
        """Add another try to a state; False if there were enough."""
        tries = _tries(trigger, trail)
        if tries > trigger.retry_limit:
            return False
        now = self._clock.now()
        first = next(link for link in trail if link.source == trigger.name)
        again = hop(trigger.name, f"{first.reason}, try {tries + 1} of {trigger.retry_limit + 1}: {reason}", now)
        retry = state.retries.add(
            request=pack(request), trail=[*trail, again], request_id=_request_id(trigger, key), told=first.reason
        )
        retry.due_time.FromDatetime(now + _FIRST_PAUSE * 3 ** (tries - 1))
        _log.info("%s tries again at %s: %s", trigger.name, retry.due_time.ToJsonString(), reason)
        return True

    async def _submit_due(self, trigger: trigger_pb2.Trigger) -> None:
        now = self._clock.now()
        for due in [each for each in self._states.of(trigger.uid).retries if each.due_time.ToDatetime(UTC) <= now]:
            state = self._states.of(trigger.uid)
            state.retries.remove(due)
            if trigger.state == trigger_pb2.TRIGGER_STATE_DISABLED:
                await self._states.save(trigger.uid, state)
                continue
            await self._submit(trigger, state, due, now)

    async def _submit(
        self, trigger: trigger_pb2.Trigger, state: run_state_pb2.RunState, due: run_state_pb2.Retry, now: datetime
    ) -> None:
        repeated = run_state_pb2.RunState()
        repeated.CopyFrom(state)
        state.last_time.FromDatetime(now)
        state.runs += 1
        state.last_operation = ""

        def also(transaction: Transaction, operation: Operation) -> None:
            # Where it had been submitted before, that was counted then.
            if began_since(operation, now):
                state.last_operation = operation.name
            self._states.put(transaction, trigger.uid, state if state.last_operation else repeated)

        reason = f"{trigger.name}: {due.trail[-1].reason}"
        cause = Cause(origin=job_pb2.ORIGIN_EVENT, trail=list(due.trail), also=also)
        try:
            request = unpack(due.request)
            operation = await self._submission.submit(
                request, owner=trigger.owner, request_id=due.request_id, reason=reason, cause=cause
            )
        except RetryError:
            await self._states.recall()
            raise
        except VirtyardError as error:
            await self._refused(trigger, due, error)
            return
        if state.last_operation:
            self._states.keep(trigger.uid, state)
            _log.info("%s submitted %s again", trigger.name, operation.name)
        else:
            # Once more, as it may be that what was planned now could not be any more.
            await self._states.save(trigger.uid, repeated)

    async def _refused(self, trigger: trigger_pb2.Trigger, due: run_state_pb2.Retry, error: VirtyardError) -> None:
        state = self._states.of(trigger.uid)
        state.retries.remove(due)
        state.failed += 1
        state.last_error = str(error)
        reason = f"it was refused: {error}"
        passing = isinstance(error, _PASSING)
        if passing and self._add(trigger, state, unpack(due.request), due.trail, reason, due.request_id):
            await self._states.save(trigger.uid, state)
        else:
            await self._give_up(trigger, state, reason, due.request_id, "")

    async def _give_up(
        self, trigger: trigger_pb2.Trigger, state: run_state_pb2.RunState, reason: str, key: str, token: str
    ) -> None:
        text = f"{trigger.name} does not try again: {reason}"
        due = [due_event(f"{trigger.uid}/gave up/{key}", event_types.TRIGGER_GAVE_UP, trigger.name, text)]
        state.name = trigger.name
        await self._states.save(trigger.uid, state, token, due)
        _log.warning("%s", text)

    async def _drop_needless(self, event: event_pb2.Event, token: str) -> None:
        for trigger in self._definitions.triggers():
            waiting = self._states.of(trigger.uid).retries
            needless = [each for each in waiting if _ends(event, each)]
            if needless:
                state = self._states.of(trigger.uid)
                for each in needless:
                    state.retries.remove(each)
                await self._states.save(trigger.uid, state, token)

    def _until_next(self) -> float:
        """Return how many seconds to sleep, at most."""
        now = self._clock.now()
        waits = [(due - now).total_seconds() for due in self._due_times()]
        return max(min([*waits, _LONGEST_SLEEP]), 0.0)

    def _due_times(self) -> Iterator[datetime]:
        for trigger in self._definitions.triggers():
            for each in self._states.of(trigger.uid).retries:
                yield each.due_time.ToDatetime(UTC)


def _tries(trigger: trigger_pb2.Trigger, trail: Sequence[ReasonHop]) -> int:
    """Return how often a trigger has submitted something already because of one event."""
    return sum(link.source == trigger.name for link in trail)


def _ends(event: event_pb2.Event, retry: run_state_pb2.Retry) -> bool:
    """Tell whether an event makes a try needless: it ends what the first event told of, or tells the same anew."""
    kind_name, _, subject = retry.told.partition(" on ")
    kind = event_types.find(kind_name)
    return event.object == subject and kind is not None and event.type in (kind_name, *kind.cleared_by)


def _request_id(trigger: trigger_pb2.Trigger, key: str) -> str:
    """Return the id of the try that follows something that failed, the same for the same and for no other."""
    return str(uuid.uuid5(uuid.UUID(trigger.uid), f"after {key}"))
