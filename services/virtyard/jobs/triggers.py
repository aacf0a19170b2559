"""Triggers: an operation is submitted for each event that one waits for, exactly once, and within bounds (P31).

The operation's request id is derived from the trigger and the event, and its first commit holds the trigger's new run
state and how far the events were looked at. So a scheduler that ends anywhere in between submits it neither twice nor
never. Three things bound what triggers set off: an hourly limit, a longest chain of causes, and that nothing which an
operation of a trigger tells fires that trigger again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from virtyard.api.inventory.v1 import event_pb2, trigger_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.type.v1 import submission_pb2
from virtyard.internal.jobs.v1 import run_state_pb2
from virtyard.jobs.automatic import AutomaticSubmission, defect
from virtyard.jobs.causes import MOST_HOPS, Cause, began_since, hop
from virtyard.jobs.definitions import Definitions, concerns
from virtyard.jobs.due_events import due_event
from virtyard.jobs.model import Operation, operation_number
from virtyard.jobs.retries import Retries
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.store import JobStore
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import NotFound, RetryError, VirtyardError
from virtyard.kernel.event_types import EventType
from virtyard.kernel.templates import fill, values_of
from virtyard.runtime.database import Transaction

__all__ = ["Triggers"]

HOUR = timedelta(hours=1)
_USUAL_LIMIT = 60
_log = logging.getLogger(__name__)
Trail = Sequence[submission_pb2.ReasonHop]


class Triggers:
    """Fires the triggers that wait for an event."""

    def __init__(
        self,
        definitions: Definitions,
        states: RunStates,
        store: JobStore,
        submission: AutomaticSubmission,
        clock: Clock,
    ) -> None:
        """Work with these.

        Args:
            definitions: the triggers there are.
            states: what each has done.
            store: where the causes of an event's operation are found.
            submission: submits operations.
            clock: tells the hour of the limit.
        """
        self._definitions = definitions
        self._states = states
        self._store = store
        self._submission = submission
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self.retries = Retries(definitions, states, store, submission, clock, self._one_at_a_time)
        """Submits again what failed."""

    async def take(self, event: event_pb2.Event, token: str) -> None:
        """Fire what waits for an event; durable with the token when this returns, unless nothing waited for it.

        Args:
            event: the event.
            token: the resume token behind the event.

        Raises:
            RetryError: the inventory or the database cannot be reached; the event is to be taken again.
        """
        waiting = [trigger for trigger in self._definitions.triggers() if _waits_for(trigger, event)]
        async with self._one_at_a_time:
            await self.retries.note(event, "" if waiting else token)
            for place, trigger in enumerate(waiting, 1):
                # Of several that fire, each has its own commit; the token moves with the last one.
                last = token if place == len(waiting) else ""
                try:
                    await self._fire(trigger, event, last)
                except RetryError:
                    raise
                except Exception as error:  # noqa: BLE001 - one trigger's trouble must not end the others; it is told
                    named = defect(f"looking at {event.name}", error)
                    await self._fail(trigger, event, _request_id(trigger, event), named, last, ())

    async def _fire(self, trigger: trigger_pb2.Trigger, event: event_pb2.Event, token: str) -> None:
        request_id = _request_id(trigger, event)
        state = self._states.of(trigger.uid)
        if state.last_request_id == request_id:
            return
        now = self._clock.now()
        _forget_old(state, now)
        trail = await self._trail_of(event)
        if reason := _why_not(trigger, event, state, trail):
            await self._leave_out(trigger, event, state, reason, token)
            return
        link = hop(trigger.name, f"{event.type} on {event.object}", event.create_time.ToDatetime(UTC))

        state.name, state.last_request_id, state.last_error = trigger.name, request_id, ""
        repeated = run_state_pb2.RunState()
        repeated.CopyFrom(state)
        state.last_time.FromDatetime(now)
        state.recent_times.add().FromDatetime(now)
        state.runs += 1
        state.last_operation = ""

        def also(transaction: Transaction, operation: Operation) -> None:
            # Where it had been submitted before, that was counted then.
            if began_since(operation, now):
                state.last_operation = operation.name
            self._states.put(transaction, trigger.uid, state if state.last_operation else repeated, token)

        try:
            request = fill(trigger.request, values_of(event))
            operation = await self._submission.submit(
                request,
                owner=trigger.owner,
                request_id=request_id,
                reason=f"{trigger.name}: {event.message}",
                cause=Cause(origin=job_pb2.ORIGIN_EVENT, trail=[*trail, link], also=also),
            )
        except RetryError:
            await self._states.recall()
            raise
        except VirtyardError as error:
            await self._fail(trigger, event, request_id, error, token, [*trail, link])
            return
        if state.last_operation:
            self._states.keep(trigger.uid, state, token)
            _log.info("%s submitted %s for %s", trigger.name, operation.name, event.name)
        else:
            # Once more, as it may be that what was planned now could not be any more.
            await self._states.save(trigger.uid, repeated, token)

    async def _trail_of(self, event: event_pb2.Event) -> Trail:
        """Return what led to an event: the causes of its operation, and that operation."""
        number = operation_number(event.operation)
        if not number:
            return []
        try:
            record = (await self._store.get(number)).record
        except NotFound:
            return []
        return [*record.reason_trail, hop(event.operation, record.title, record.create_time.ToDatetime(UTC))]

    async def _leave_out(
        self,
        trigger: trigger_pb2.Trigger,
        event: event_pb2.Event,
        state: run_state_pb2.RunState,
        reason: str,
        token: str,
    ) -> None:
        state.name = trigger.name
        state.left_out += 1
        # One event in an hour tells of all that was left out in it for a reason.
        key = f"{trigger.uid}/{reason.partition(',')[0]}/{self._clock.now():%Y%m%d%H}"
        text = f"{trigger.name} submits nothing for {event.type} on {event.object}: {reason}"
        await self._save(trigger, state, token, key, event_types.TRIGGER_HELD_BACK, text)

    async def _fail(
        self,
        trigger: trigger_pb2.Trigger,
        event: event_pb2.Event,
        request_id: str,
        error: VirtyardError,
        token: str,
        trail: Trail,
    ) -> None:
        state = self._states.of(trigger.uid)
        state.name, state.last_request_id, state.last_error = trigger.name, request_id, str(error)
        state.failed += 1
        if self.retries.plan_refused(trigger, state, event, trail, error):
            await self._states.save(trigger.uid, state, token)
            return
        text = f"{trigger.name} could not submit its request for {event.type} on {event.object}: {error}"
        key = f"{trigger.uid}/failed/{event.name}"
        await self._save(trigger, state, token, key, event_types.TRIGGER_FAILED, text)

    async def _save(
        self,
        trigger: trigger_pb2.Trigger,
        state: run_state_pb2.RunState,
        token: str,
        key: str,
        kind: EventType,
        text: str,
    ) -> None:
        due = [due_event(key, kind, trigger.name, text)]
        await self._states.save(trigger.uid, state, token, due)
        _log.warning("%s", text)


def _waits_for(trigger: trigger_pb2.Trigger, event: event_pb2.Event) -> bool:
    return trigger.state != trigger_pb2.TRIGGER_STATE_DISABLED and concerns(trigger, event)


def _why_not(trigger: trigger_pb2.Trigger, event: event_pb2.Event, state: run_state_pb2.RunState, trail: Trail) -> str:
    """Return why a trigger submits nothing though it waits for the event; empty if it does."""
    if any(link.source == trigger.name for link in trail):
        return f"a loop, as {event.operation} goes back to this trigger"
    if len(trail) >= MOST_HOPS:
        return f"a chain, as {event.operation} has {len(trail)} causes already"
    limit = trigger.hourly_limit or _USUAL_LIMIT
    if len(state.recent_times) >= limit:
        return f"its limit, as it has submitted {limit} operations within the hour"
    return ""


def _forget_old(state: run_state_pb2.RunState, now: datetime) -> None:
    recent = [time for time in state.recent_times if now - time.ToDatetime(UTC) < HOUR]
    del state.recent_times[:]
    state.recent_times.extend(recent)


def _request_id(trigger: trigger_pb2.Trigger, event: event_pb2.Event) -> str:
    """Return the id that is the same for the same trigger and event, and for no other, also after a restore."""
    return str(uuid.uuid5(uuid.UUID(trigger.uid), f"{event.name} {event.create_time.ToJsonString()}"))
