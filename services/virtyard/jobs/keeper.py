"""The keeper of one operation's record: the one place where it is committed, ended and shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from google.rpc import status_pb2

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import (
    broken,
    lock_uses,
    lock_wait,
    outcome,
    outlook,
    preemption,
    render,
    schedule,
    stall,
    stamps,
)
from virtyard.jobs.model import Operation, Shape, StepRef
from virtyard.jobs.store import EVENTS, RELEASE, Due
from virtyard.jobs.world import World
from virtyard.kernel.errors import StaleEpoch, Unavailable

Record = record_pb2.OperationRecord
T = TypeVar("T")
_PAUSE = 0.1
_log = logging.getLogger(__name__)


class Keeper:
    """Commits changes of one operation, one at a time."""

    def __init__(self, operation: Operation, world: World) -> None:
        """Keep this operation."""
        self.operation = operation
        self.granted: Sequence[lock_pb2.LockToken] | None = None
        self.stalled = stall.any_stalled(operation.record)
        self._world = world
        self._one_at_a_time = asyncio.Lock()
        self._retired = False

    async def commit(
        self,
        transition: str,
        change: Callable[[Record], T],
        *,
        everything: bool = False,
        shape: Shape | None = None,
        news: Callable[[Operation], control_service_pb2.RaiseEventsRequest] | None = None,
        after: Callable[[], None] | None = None,
    ) -> T:
        """Make a change of the record durable and take it over; return what the change returned.

        Args:
            transition: name of the durable transition.
            change: changes the copy of the record that it is given; may be called again.
            everything: write all jobs, not just those that the change touched.
            shape: a new plan that goes with the change.
            news: gives the events that are due with the change, beside those of the operation's end.
            after: is called once the change is taken over, before the next one may begin.

        Raises:
            StaleEpoch: another scheduler has the operation.
            Unavailable: the operation is taken up again after a defect; nothing was changed.
        """
        async with self._one_at_a_time:
            if self._retired:
                name = self.operation.name
                raise Unavailable(f"{name} is just being taken up again; try again", resource=name, retry_after=1.0)
            while True:
                draft = Record()
                draft.CopyFrom(self.operation.record)
                result = change(draft)
                over = stall.end_stalls(draft) if self.stalled else []
                candidate = replace(self.operation, record=draft, shape=shape or self.operation.shape)
                jobs = candidate.shape.jobs if everything or shape else _changed(self.operation, candidate)
                now = self._world.clock.now()
                stamps.fill(draft, jobs, now)
                lock_wait.fill(draft, self.operation)
                candidate.outlook = outlook.take(candidate, now)
                ended = _due(candidate)
                freed = () if ended else broken.releases(self.operation.record, draft, ended=False)
                due = ended or [*_due_early(self.operation.record, draft), *freed]
                if news is not None:
                    due = [*due, *_due_news(candidate, transition, news(candidate))]
                if over:
                    due = [*due, *_due_news(candidate, transition, stall.events(candidate, going=over))]
                try:
                    await self._world.store.save(
                        candidate,
                        jobs,
                        "jobs.Ct" if ended else transition,
                        steps=_intended(result),
                        due=due,
                        new_plan=shape is not None,
                        raised=draft.epoch - self.operation.record.epoch,
                        after=partial(self._take_over, candidate, after),
                    )
                except Unavailable as error:
                    if not await self._was_committed(draft, error):
                        continue
                    if self.operation.record is not draft:
                        self._take_over(candidate, after)
                except asyncio.CancelledError:
                    # It is committed all the same; whoever is next must begin with it, and not write over it.
                    with contextlib.suppress(Unavailable):
                        await self._world.store.settle()
                    raise
                self._world.on_due(due)
                if uses := lock_uses.take_changes(self.operation, jobs):
                    self._world.locks.note_uses(broken.owner_of_locks(draft), uses)
                return result

    async def retire(self) -> None:
        """Commit nothing any more, once what is under way is known: a successor begins with what is durable then.

        It has its own copy of the record, which a commit made here afterwards would put back, or be lost in.
        """
        async with self._one_at_a_time:
            self._retired = True

    def mark_ended(self, record: Record, status: status_pb2.Status, *, cancelled: bool) -> None:
        """Put an end with an error into a record that has nothing left to undo; it is committed with that (Ct)."""
        record.state = operation_pb2.OPERATION_STATE_CANCELLED if cancelled else operation_pb2.OPERATION_STATE_FAILED
        record.outcome = job_pb2.OUTCOME_NONE
        if record.takes_over:
            preemption.mark_unfinished(self.operation.shape, record)
        if status is not record.error:
            record.error.CopyFrom(status)
        stamps.ask(record.end_time)

    @property
    def ended(self) -> bool:
        """Whether the operation has ended."""
        return self.operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE

    def mark_succeeded(self, record: Record) -> None:
        """Put a good end into a record whose jobs are all completed; it is committed with them (Ct)."""
        record.state, record.outcome = operation_pb2.OPERATION_STATE_SUCCEEDED, job_pb2.OUTCOME_COMPLETE
        if schedule.deferred_jobs(self.operation.shape, record) or any(own.residue for own in record.jobs.values()):
            record.state, record.outcome = operation_pb2.OPERATION_STATE_PARTIAL, job_pb2.OUTCOME_PARTIAL
        stamps.ask(record.end_time)
        record.response.CopyFrom(outcome.response_of(replace(self.operation, record=record)))

    def show_progress(self, reference: str, progress: participant.Progress) -> None:
        """Show how far a step is; it never falls."""
        known = self.operation.progress.get(reference)
        if known is not None and progress.percent < known.percent:
            return
        self.operation.progress[reference] = progress
        ref = self.operation.shape.steps.get(reference)
        if ref is not None:
            self.show([ref.job.id, ref.job.parent] if ref.job.parent else [ref.job.id])

    def show(self, jobs: Iterable[str]) -> None:
        """Show the operation and some of its jobs as they are now, without a commit."""
        operation = self.operation
        operation.outlook = outlook.take(operation, self._world.clock.now())
        for job in jobs:
            rendered = render.render_job(operation, operation.shape.jobs[job])
            body = operation.bodies[rendered.name] = rendered.SerializeToString()
            self._world.show("job", rendered.name, body)
        body = operation.bodies[operation.name] = render.render_operation(operation).SerializeToString()
        self._world.show("operation", operation.name, body)

    def _take_over(self, candidate: Operation, after: Callable[[], None] | None) -> None:
        """Make the candidate the operation; between its commit and its news, so that memory never lags behind these."""
        self.operation.record = candidate.record
        self.operation.shape = candidate.shape
        self.operation.outlook = candidate.outlook
        self._world.counted.note(self.operation)
        if after is not None:
            after()

    async def _was_committed(self, draft: Record, error: Unavailable) -> bool:
        """Find out what became of a commit whose outcome is unknown (P28)."""
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                stored = await self._world.store.get(draft.number)
            except Unavailable as again:
                _log.warning("%s: %s; %s", self.operation.name, error, again)
                continue
            if stored.record.epoch not in (draft.epoch, self.operation.record.epoch):
                raise StaleEpoch(f"{self.operation.name} was adopted", resource=self.operation.name)
            return stored.record == draft


def _intended(result: object) -> list[str]:
    """Return the steps whose intents a change wrote: one that writes intents returns the rounds to send."""
    rounds = result if isinstance(result, list) else []
    return [ref.reference for refs in rounds if isinstance(refs, list) for ref in refs if isinstance(ref, StepRef)]


def _changed(before: Operation, after: Operation) -> set[str]:
    """Return the ids of the jobs that look different: changed ones, those with changed steps, and their parents."""
    changed = {job for job in after.shape.jobs if before.record.jobs[job] != after.record.jobs[job]}
    for reference, ref in after.shape.steps.items():
        now_there = reference in after.record.steps
        if now_there and (
            reference not in before.record.steps or before.record.steps[reference] != after.record.steps[reference]
        ):
            changed.add(ref.job.id)
    for job in list(changed):
        parent = after.shape.jobs[job].parent
        while parent:
            changed.add(parent)
            parent = after.shape.jobs[parent].parent
    return changed


def _due_news(operation: Operation, transition: str, events: control_service_pb2.RaiseEventsRequest) -> list[Due]:
    """Return what must follow a change that is no end."""
    if not events.events:
        return []
    key = f"events {operation.number} {transition} {events.events[0].key}"
    return [Due(key=key, kind=EVENTS, body=events.SerializeToString())]


def _due_early(before: Record, after: Record) -> list[Due]:
    """Return what is due for the tokens that a change took out of the record; nothing where it takes all of them."""
    if not after.tokens or len(after.tokens) >= len(before.tokens):
        return []
    keep = [lock_service_pb2.LockRequest(object=token.object, mode=token.mode) for token in after.tokens]
    release = lock_service_pb2.OwnerRelease(owner=broken.owner_of_locks(after), epoch=after.epoch, keep=keep)
    return [Due(key=f"release {after.number} down to {len(keep)}", kind=RELEASE, body=release.SerializeToString())]


def _due(operation: Operation) -> list[Due]:
    """Return what must follow the end of an operation in other services (P5)."""
    record = operation.record
    if record.state == operation_pb2.OPERATION_STATE_ACTIVE:
        return []
    due = list(broken.releases(record, record, ended=True))
    events = outcome.events_of(operation)
    if events.events:
        due.append(Due(key=f"events {record.number}", kind=EVENTS, body=events.SerializeToString()))
    return due
