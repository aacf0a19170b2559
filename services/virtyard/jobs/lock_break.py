"""The break of one operation's locks, in two phases: settle what is under way, then free; and the way back (P11).

Whatever its runner does is ended by the break. It never resumes: what it did is undone under locks that are asked for
anew, or it waits for a person. A participant that is silent is waited for; only a person's insistence frees the locks
before, and then what it may still act on is in quarantine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import broken, outcome, schedule
from virtyard.jobs.admission import tokens_of
from virtyard.jobs.effects import step_key
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import StepRef, job_name
from virtyard.jobs.ranking import Ranking
from virtyard.jobs.rollback import Rollback, keep_undone
from virtyard.jobs.world import World
from virtyard.kernel.errors import DeadlineExceeded, RequestError, Unavailable, WrongState
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.view import changed_objects, select
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace
from virtyard.runtime.status import to_status

Record = record_pb2.OperationRecord
_PAUSE = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakRequest:
    """What a person asks for."""

    principal: str
    """Who asks, as `user/admin`."""
    reason: str
    """Why, in that person's own words."""
    object: str = ""
    """The object over which it is asked for; the first that the operation changes if empty."""
    force: bool = False
    """Free the locks before everything is settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A step that is not settled yet."""

    job: str
    """Resource name of its job."""
    title: str
    """What it does."""
    participant: str
    """Who carries it out."""
    why: str
    """What is known of the reason."""


class LockBreak:
    """Breaks the locks of the operation that a keeper keeps."""

    def __init__(self, keeper: Keeper, world: World, rollback: Rollback, ranking: Ranking) -> None:
        """Work beside the runner of that operation, with its way back and its place in the queues."""
        self._keeper = keeper
        self._world = world
        self._rollback = rollback
        self._ranking = ranking
        self._run: asyncio.Timeout | None = None
        world.quarantine.note(keeper.operation)
        self._forced = asyncio.Event()
        self._news = asyncio.Event()

    async def guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of the runner until the locks are broken, then lead the operation back."""
        if not self._is_broken:
            limit = self._run = asyncio.timeout(None)
            try:
                async with limit:
                    await work()
            except TimeoutError:
                if not limit.expired():
                    raise
            finally:
                self._run = None
        if self._is_broken and not self._keeper.ended:
            await self._lead_back()

    async def begin(self, asked: BreakRequest) -> None:
        """Begin to break the locks; durable when this returns. Asking again does nothing, but may insist.

        Raises:
            WrongState: the operation has ended, or its locks are free already.
        """
        record = self._keeper.operation.record
        if not self._is_broken:
            await self._keeper.commit(
                "jobs.breaking",
                lambda draft: self._break(draft, asked),
                everything=True,
                news=broken.event_of,
                after=self._interrupt,
            )
        elif broken.is_settled(record):
            raise WrongState(f"the locks of {self._keeper.operation.name} are broken already", resource=asked.object)
        if asked.force:
            self._forced.set()

    async def wait_freed(self, patience: float) -> list[Unsettled]:
        """Wait until the locks are free, for at most so many seconds; return the steps that are not settled then."""
        try:
            async with asyncio.timeout(patience):
                while not self._keeper.operation.record.broken.freed and not self._keeper.ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        return self.unsettled()

    def unsettled(self) -> list[Unsettled]:
        """Return the steps that are not settled, with what is known of the reason."""
        operation = self._keeper.operation
        found = []
        for ref in broken.unsettled(operation.shape, operation.record) if not self._keeper.ended else ():
            link = self._world.participants.link(ref.step.participant, ref.step.participant_address)
            why = "it is told to stop, and has not ended yet" if link.in_contact else "it does not answer"
            found.append(
                Unsettled(
                    job=job_name(operation.number, ref.job.id),
                    title=ref.step.title,
                    participant=ref.step.participant,
                    why=why,
                )
            )
        return found

    async def check_retry(self) -> None:
        """Refuse to have undos tried again where they have no locks, or would destroy what others have done since.

        Raises:
            WrongState: what is left can only be accepted, or others have to take back what they did first.
        """
        operation = self._keeper.operation
        record = operation.record
        if not record.broken.freed:
            return
        if not record.tokens:
            text = f"the locks of {operation.name} were broken, and nothing is undone without them"
            raise WrongState(f"{text}: accept what it left", resource=operation.name)
        changed = await self._changed(record.broken.changed)
        if changed:
            raise _changed_since(changed)

    @property
    def _is_broken(self) -> bool:
        return self._keeper.operation.record.HasField("broken")

    def _break(self, record: Record, asked: BreakRequest) -> None:
        shape = self._keeper.operation.shape
        record.epoch += 1
        record.held = job_pb2.HELD_REASON_BROKEN
        # Its locks are for anybody now: nobody makes its undo void. What it took over from another one it still owes.
        record.superseded_by = ""
        record.broken.principal, record.broken.reason = asked.principal, asked.reason
        record.broken.object = asked.object or shape.plan.result_object or shape.plan.jobs[0].object
        record.broken.time.FromDatetime(self._world.clock.now())

    def _interrupt(self) -> None:
        """End whatever the runner does; no commit of it is under way, as this is called within one."""
        if self._run is not None:
            self._run.reschedule(asyncio.get_running_loop().time())

    async def _lead_back(self) -> None:
        operation = self._keeper.operation
        if not broken.is_settled(operation.record):
            await self._settle_and_free()
        shape, record = operation.shape, operation.record
        if not record.tokens and broken.has_undos(shape, record):
            if broken.passed_pivot(shape, record):
                await self._give_up(WrongState("its locks were broken past the point of no return"))
            elif schedule.stuck_jobs(shape, record):
                await self._give_up(WrongState("its locks were broken while an undo before this one was refused"))
            else:
                await self._take_again()
        await self._rollback.run()

    async def _settle_and_free(self) -> None:
        """Settle every step, and free the locks then, or when somebody insists, whatever comes first."""
        operation = self._keeper.operation
        left = broken.unsettled(operation.shape, operation.record)
        for ref in left:
            # What was sent with the lower epoch is not to be sent again over a new connection.
            link = self._world.participants.link(ref.step.participant, ref.step.participant_address)
            link.forget({step_key(operation.number, ref.reference)})
        async with asyncio.TaskGroup() as tasks:
            asked = {ref.reference: tasks.create_task(self._settle(ref)) for ref in left}
            freeing = tasks.create_task(self._free_when_forced())
            if asked:
                await asyncio.wait(asked.values())
            if not self._forced.is_set():
                freeing.cancel()
        phases = {ref.reference: broken.phase_of(operation.record, ref) for ref in left}
        results = {reference: task.result() for reference, task in asked.items()}

        def change(record: Record) -> None:
            for reference, result in results.items():
                if phases[reference] == participant.PHASE_DO:
                    outcome.record_settled(record, reference, result)
            undone = {each: result for each, result in results.items() if phases[each] == participant.PHASE_UNDO}
            keep_undone(record, undone, operation.name)
            self._free(record)
            record.ClearField("held")
            broken.lift_quarantine(record)

        await self._keeper.commit("jobs.freed", change, everything=True)
        self._tell()

    async def _settle(self, ref: StepRef) -> participant.EffectRecord:
        return await self._rollback.settle(ref, broken.phase_of(self._keeper.operation.record, ref))

    async def _free_when_forced(self) -> None:
        await self._forced.wait()
        shape = self._keeper.operation.shape

        def change(record: Record) -> None:
            self._free(record)
            broken.quarantine(shape, record)

        await self._keeper.commit("jobs.forced", change, everything=True)
        self._tell()

    def _tell(self) -> None:
        self._world.quarantine.note(self._keeper.operation)
        self._news.set()

    def _free(self, record: Record) -> None:
        broken.turn_back(self._keeper.operation.shape, record)
        record.broken.freed = True
        del record.tokens[:]

    async def _take_again(self) -> None:
        """Ask for the locks of the undos as a new owner; what others changed since is left to a person."""
        operation = self._keeper.operation
        try:
            grant = await self._acquire()
        except RequestError as error:
            await self._give_up(error)
            return
        finally:
            operation.waiting_for = ""
        tokens = tokens_of(grant)
        expected = broken.expected(operation)
        changed = await self._changed(expected.values())

        def change(record: Record) -> None:
            record.tokens.extend(tokens)
            if changed:
                record.broken.changed.extend(expected[name] for name in changed)
                broken.refuse_undos(operation.shape, record, to_status(_changed_since(changed)))

        await self._keeper.commit("jobs.retaken", change, everything=True, news=outcome.stuck_events)

    async def _acquire(self) -> Grant:
        """Wait for the locks, however long the lock service cannot be told of another priority."""
        while True:
            try:
                return await self._ranking.acquire(self._lock_set, self._show_place)
            except (Unavailable, DeadlineExceeded) as error:
                _log.info("%s waits: %s", self._keeper.operation.name, error)
                await asyncio.sleep(_PAUSE)

    async def _give_up(self, error: RequestError) -> None:
        shape = self._keeper.operation.shape
        status = to_status(error)
        await self._keeper.commit(
            "jobs.stuck",
            lambda record: broken.refuse_undos(shape, record, status),
            everything=True,
            news=outcome.stuck_events,
        )

    async def _changed(self, expected: Collection[participant.ObjectVersion]) -> list[str]:
        """Return the objects that do not have these versions."""
        selections = [select(name) for name in sorted(each.object for each in expected)]
        view = None
        while view is None:
            try:
                view = await self._world.view(selections)
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(_PAUSE)
        return changed_objects(participant.Requirement(versions=expected), view.requirement())

    def _lock_set(self) -> LockSet:
        operation = self._keeper.operation
        record = operation.record
        wishes = [
            LockWish(object=lock.object, mode=LockMode(lock.mode), job=job_name(record.number, lock.job))
            for lock in broken.locks_to_undo(operation.shape, record)
        ]
        return LockSet(
            owner=broken.rollback_owner(record.number),
            epoch=record.epoch,
            locks=tuple(wishes),
            priority=record.options.priority,
            purpose=f"undo {record.title}, whose locks were broken",
            under=record.options.under,
        )

    def _show_place(self, place: QueuePlace) -> None:
        self._keeper.operation.waiting_for = "; ".join(
            f"{blocker.object}, held by {blocker.owner} ({blocker.purpose})" for blocker in place.blockers[:3]
        )
        self._keeper.show(())


def _changed_since(names: Sequence[str]) -> WrongState:
    """Return the refusal to undo what would destroy what others did to these objects."""
    text = f"{', '.join(names)} changed since the locks were broken; undoing this would destroy what others did"
    return WrongState(text, resource=names[0])
