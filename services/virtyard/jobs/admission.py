"""Admission: an operation gets its locks, with a plan that is still true under them (P4).

A plan is provisional until its first effect is done. What it was made from is read again under the locks; if that
changed, the plan is made again, within the held locks if they suffice, else all are given up and asked for at the
original rank.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from virtyard.api.jobs.v1 import job_pb2, plan_pb2
from virtyard.api.type.v1 import lock_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import lock_wait, schedule
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.hold import Hold
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import Shape, job_name, owner_name
from virtyard.jobs.on_failure import check_policy
from virtyard.jobs.ranking import Ranking
from virtyard.jobs.world import World
from virtyard.kernel.any import unpack
from virtyard.kernel.blocking import check_blocks
from virtyard.kernel.errors import Contended
from virtyard.kernel.lock_modes import LockMode, supremum
from virtyard.kernel.names import INVENTORY
from virtyard.kernel.plan import Ids
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace
from virtyard.runtime import telemetry

Tokens = Sequence[lock_pb2.LockToken]
MOST_REPLANS = 5


def new_record(record: record_pb2.OperationRecord, shape: Shape) -> None:
    """Give the record of an operation that has done nothing the jobs of its plan, the first ones waiting for locks."""
    record.steps.clear()
    record.jobs.clear()
    first = schedule.first_jobs(shape)
    for job in shape.plan.jobs:
        waits = job.id in first
        record.jobs[job.id].state = job_pb2.JOB_STATE_WAITING_FOR_LOCKS if waits else job_pb2.JOB_STATE_PENDING


class Admission:
    """Gets the locks of one operation."""

    def __init__(
        self, keeper: Keeper, world: World, on_place: Callable[[QueuePlace], None], hold: Hold, ranking: Ranking
    ) -> None:
        """Work for the operation that the keeper keeps; `on_place` is told its place while it waits."""
        self._keeper = keeper
        self._world = world
        self._on_place = on_place
        self._hold = hold
        self._ranking = ranking

    async def admit(self, aborted: AbortSignal) -> Tokens | None:
        """Return the tokens of the held locks once the plan is known to be true under them; None if aborted first.

        Raises:
            RequestError: the operation cannot be planned any more, or an event blocks it.
            Contended: it was planned again too often.
            OwnerClosed, StaleEpoch: another scheduler ended or has the operation.
        """
        while True:
            await self._hold.wait_lifted(aborted)
            tokens = await self._acquire(aborted)
            if tokens is None or self._is_checked_by_first_step():
                return tokens
            if not await self._world.has_changed(self._plan.read_set, self._plan.inventory_sequence):
                return tokens
            if await self._replan(tokens):
                return tokens

    async def admit_again(self, aborted: AbortSignal) -> Tokens | None:
        """Plan again after the first step was refused because the read set had changed; else as `admit`."""
        held = list(self._keeper.operation.record.tokens)
        if await self._replan(held):
            return held
        return await self.admit(aborted)

    @property
    def _plan(self) -> plan_pb2.Plan:
        return self._keeper.operation.shape.plan

    def _is_checked_by_first_step(self) -> bool:
        """Tell whether the first round is the inventory's alone, which checks the read set in its own transaction."""
        shape = self._keeper.operation.shape
        first_jobs = [job.id for job in self._plan.jobs if not job.after and not job.parent]
        # A job whose steps all come after its children begins with these, and so with hosts.
        firsts = [shape.steps[own[0]].step.participant if (own := shape.own_first[job]) else "" for job in first_jobs]
        return firsts == [INVENTORY]

    async def _acquire(self, aborted: AbortSignal) -> Tokens | None:
        operation, clock = self._keeper.operation, self._world.clock
        lock_wait.asked(operation, clock.now())
        grant = await aborted.wait_for(self._ranking.acquire(self._lock_set, self._show_place))
        if grant is not None:
            lock_wait.granted(operation, clock.now())
        operation.waiting_for = ""
        self._world.quarantine.check(self._world.operations[operation.record.method], operation)
        aborted_in_time = operation.record.abort_requested and not operation.record.too_late
        return None if grant is None or aborted_in_time else tokens_of(grant)

    def _lock_set(self) -> LockSet:
        record = self._keeper.operation.record
        wishes = [
            LockWish(object=lock.object, mode=LockMode(lock.mode), job=job_name(record.number, lock.job))
            for lock in self._plan.locks
        ]
        return LockSet(
            owner=owner_name(record.number),
            epoch=record.epoch,
            locks=tuple(wishes),
            priority=record.options.priority,
            purpose=record.title,
            round=record.lock_round,
            trace_context=telemetry.inject() or dict(record.trace_context),
            under=record.options.under,
        )

    def _show_place(self, place: QueuePlace) -> None:
        operation = self._keeper.operation
        texts = [
            f"{blocker.object}, {'asked for' if blocker.waiting else 'held'} by {blocker.owner} ({blocker.purpose})"
            for blocker in place.blockers[:3]
        ]
        operation.waiting_for = "; ".join(texts)
        waiting = [
            job.id
            for job in self._plan.jobs
            if operation.record.jobs[job.id].state == job_pb2.JOB_STATE_WAITING_FOR_LOCKS
        ]
        self._keeper.show(waiting)
        self._on_place(place)

    async def _replan(self, held: Tokens) -> bool:
        """Make the plan again and commit it; tell whether the held locks suffice for it."""
        operation = self._keeper.operation
        record = operation.record
        if record.replans >= MOST_REPLANS:
            raise Contended(
                f"what {record.title} needs kept changing; it was planned {record.replans + 1} times", retry_after=1.0
            )
        kind = self._world.operations[record.method]
        request = unpack(operation.request)
        view = await self._world.view(list(kind.selections(request)))
        shape = Shape.of(kind.plan(request, view, Ids(uuid.UUID(hex=record.seed))))
        check_blocks(kind.method, shape.plan, view)
        check_policy(record.options, shape.plan)
        self._world.counted.check(shape.plan)
        suffices = _suffice(held, shape.plan.locks)

        def change(draft: record_pb2.OperationRecord) -> None:
            if any(own.HasField("abort_hop") for own in draft.jobs.values()):
                raise Contended(f"jobs of {record.title} were aborted while it was planned again", retry_after=1.0)
            draft.replans += 1
            # Steps of the new plan may have the keys of refused ones, so they begin with a higher attempt (P8).
            draft.first_attempt = max((step.attempt for step in draft.steps.values()), default=draft.first_attempt) + 1
            if not suffices:
                draft.lock_round += 1
                del draft.tokens[:]
            new_record(draft, shape)

        await self._keeper.commit("jobs.replan", change, shape=shape)
        return suffices


def tokens_of(grant: Grant) -> Tokens:
    """Return the tokens of a grant as effects carry them."""
    return [
        lock_pb2.LockToken(object=lock.object, fencing_token=lock.token, mode=int(lock.mode))  # type: ignore[arg-type]
        for lock in grant.locks
    ]


def _suffice(held: Tokens, wanted: Sequence[plan_pb2.PlannedLock]) -> bool:
    modes = {token.object: LockMode(token.mode) for token in held}
    return all(
        lock.object in modes and supremum(modes[lock.object], LockMode(lock.mode)) == modes[lock.object]
        for lock in wanted
    )
