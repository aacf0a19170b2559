"""The scheduler: accepts operations, runs each in a task, adopts what an earlier process left, and sees to what is due.

States of the control plane: STARTING until every open operation is adopted (reads answer, mutations are stored),
RUNNING, then STOPPING, in which running operations are left as they are, to be resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from functools import partial

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.jobs import job_abort
from virtyard.jobs.abort_request import AbortRequest
from virtyard.jobs.deadline import DEADLINE, Alarm, deadline_of
from virtyard.jobs.decisions import Decision
from virtyard.jobs.due import DueWork
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.lock_break import BreakRequest, Unsettled
from virtyard.jobs.metrics import observe_end, show_open
from virtyard.jobs.model import Operation, operation_name
from virtyard.jobs.orphans import sweep_for_ever
from virtyard.jobs.person_locks import PersonLocks
from virtyard.jobs.preemption import Preemption
from virtyard.jobs.probation import Probation, in_order
from virtyard.jobs.runner import Runner
from virtyard.jobs.stall_watch import StallWatch
from virtyard.jobs.world import World
from virtyard.kernel.errors import NotFound, Unavailable, WrongState
from virtyard.kernel.invariants import Invariant
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.scope import TaskScope

_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_MOST_REMEMBERED = 256
_log = logging.getLogger(__name__)


class SchedulerState(Enum):
    """What the scheduler does with operations now."""

    STARTING = "starting"
    """Open operations are being adopted; new ones are stored and wait."""
    RUNNING = "running"
    """Operations run."""
    STOPPING = "stopping"
    """Nothing is begun any more; what runs is left to be resumed."""


class Scheduler:
    """Runs operations."""

    def __init__(self, world: World, due: DueWork, tasks: TaskScope, metrics: Metrics) -> None:
        """Make a scheduler that is not started.

        Args:
            world: the ports of its runners.
            due: sees to what is due in other services.
            tasks: the scope of its tasks.
            metrics: where operations and jobs are counted.
        """
        self._metrics = metrics
        metrics.on_scrape("jobs.scheduler", self._show_metrics)
        self.world = world
        self.state = SchedulerState.STARTING
        self._tasks = tasks
        self._runners: dict[int, Runner] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._waiting: list[Operation] = []
        self._ended: OrderedDict[int, Operation] = OrderedDict()
        self._under: dict[str, set[int]] = {}
        self._due = due
        self._probation = Probation(world.clock)
        self.stalls = StallWatch(world.clock, self._runners)
        self.people = PersonLocks(
            world.store.database, world.locks, world.clock, tasks, due.add, self.under, world.view
        )
        self._preemption = Preemption(world.operations, self.find, self._steer, tasks)
        self._others: list[Callable[[], Coroutine[object, object, None]]] = []
        self.before_start: Callable[[], Awaitable[None]] | None = None
        """Is waited for before anything is adopted."""
        world.participants.listen(self.notice_contact)

    async def start(self) -> None:
        """Adopt every open operation with a higher epoch, run it on, and begin to see to what is due.

        After crashes they are begun one by one, which goes on when this has returned; the state is STARTING till then.
        """
        if self.before_start is not None:
            await self.before_start()
        adopted = await self.world.store.adopt(self._probation.note_start)
        for operation in adopted:
            self.world.counted.note(operation)
            self._count_under(operation)
        if self._probation.is_on:
            _ = self._tasks.start(self._try_one_by_one(adopted), name="probation")
        else:
            for operation in adopted:
                self._begin(operation)
            self._go()
        await self.people.recall()
        await self._due.recall()
        _ = self._tasks.start(self._due.run(), name="due", vital=True)
        sweeping = sweep_for_ever(self.world.store, self.world.locks, self.people.owners)
        _ = self._tasks.start(sweeping, name="orphans", vital=True)
        _ = self._tasks.start(self.stalls.run(), name="stalls", vital=True)
        for other in self._others:
            _ = self._tasks.start(other(), name="automation", vital=True)

    def _go(self) -> None:
        """Begin what has waited for the adoption."""
        self.state = SchedulerState.RUNNING
        waiting, self._waiting = self._waiting, []
        for operation in waiting:
            # One that was stored before the adoption is adopted, and runs already with the higher epoch.
            self.run(operation)

    async def _try_one_by_one(self, adopted: list[Operation]) -> None:
        """Begin what was adopted one by one, each behind its mark, and then what has waited (P21)."""
        for operation in in_order(adopted):
            runner = Runner(operation, self.world, self._preemption)
            await self._probation.hold_poison(runner.keeper)
            if not operation.record.held:
                await self._probation.mark(runner.keeper)
            if self.state is not SchedulerState.STARTING:
                return
            run = self._begin_runner(runner)
            if operation.record.trying:
                await self._probation.watch_trial(partial(self._keeper_of, operation.number), run)
        if self.state is SchedulerState.STARTING:
            self._go()

    def also_run(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Have something run beside, from the start on until the scheduler's tasks end."""
        self._others.append(work)

    def _keeper_of(self, number: int) -> Keeper | None:
        runner = self._runners.get(number)
        return runner.keeper if runner is not None else None

    def run(self, operation: Operation) -> None:
        """Run an operation that has just become durable; one that is run already is left alone."""
        if operation.number in self._runners or operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
            return
        self._count_under(operation)
        if self.state is SchedulerState.STARTING:
            self._waiting.append(operation)
        elif self.state is SchedulerState.RUNNING:
            self._begin(operation)

    def stop(self) -> None:
        """Begin nothing any more: what is stored from now on is left for the next start, as is what runs.

        A host's answer that comes while watchers are told would else have the next step sent.
        """
        self.state = SchedulerState.STOPPING
        for run in self._runs:
            run.cancel()

    def under(self, lock: str) -> list[str]:
        """Return the names of the open operations that run under a person's lock, the oldest first.

        They count from when they are stored or adopted until they end, whether or not anything runs them just then: in
        probation, and between a runner and its successor, nothing does (P23).
        """
        return [operation_name(number) for number in sorted(self._under.get(lock, ()))]

    def _count_under(self, operation: Operation) -> None:
        if under := operation.record.options.under:
            self._under.setdefault(under, set()).add(operation.number)

    def find(self, number: int) -> Operation | None:
        """Return an operation that is being run, with its live progress; None if it is not."""
        runner = self._runners.get(number)
        return runner.operation if runner is not None else None

    async def look(self, number: int) -> Operation:
        """Return an operation: with its live progress if it is being run, else as it is stored.

        Raises:
            NotFound: there is no such operation.
        """
        return self.find(number) or self._ended.get(number) or await self.world.store.get(number)

    async def abort(self, number: int, asked: AbortRequest) -> bool:
        """Abort an operation, or a job of it; durable when this returns. Returns False if it was too late.

        Raises:
            NotFound: there is no such operation.
            WrongState: it is too early for the abort of one job.
            Unavailable: the scheduler is starting.
        """
        runner = self._runners.get(number)
        if runner is not None:
            return await runner.abort(asked)
        operation = await self.world.store.get(number)
        if operation.record.state == operation_pb2.OPERATION_STATE_ACTIVE:
            raise Unavailable(f"{operation.name} is not being run yet; try again", retry_after=1.0)
        given_up = bool(asked.job) and job_abort.is_aborted(operation.record, asked.job)
        return given_up or operation.record.state == operation_pb2.OPERATION_STATE_CANCELLED

    async def retry(self, number: int, asked: Decision) -> None:
        """Have the refused undos of a job, or its refused steps past the pivot, tried again; durable at the return.

        Raises:
            WrongState: nothing of it was refused, or its operation has ended.
            NotFound: there is no such operation.
        """
        await (await self.running(number)).retry(asked)

    async def accept(self, number: int, asked: Decision) -> None:
        """Leave what the refused undos of a job, or its refused steps past the pivot, left; durable when this returns.

        Raises:
            WrongState: nothing of it was refused, or its operation has ended.
            NotFound: there is no such operation.
        """
        await (await self.running(number)).accept(asked)

    async def break_locks(self, number: int, asked: BreakRequest, patience: float) -> list[Unsettled]:
        """Break the locks of an operation; durable when this returns. Return the steps that are not settled by then.

        Raises:
            WrongState: it has ended, or its locks are broken and free already.
            NotFound: there is no such operation.
        """
        return await (await self.running(number)).break_locks(asked, patience)

    def open_operations(self) -> list[Operation]:
        """Return every operation that is being run, the oldest first."""
        return [self._runners[number].operation for number in sorted(self._runners)]

    async def running(self, number: int) -> Runner:
        """Return what runs an operation.

        Raises:
            WrongState: it has ended.
            NotFound: there is no such operation.
            Unavailable: the scheduler is starting.
        """
        runner = self._runners.get(number)
        if runner is None:
            operation = await self.world.store.get(number)
            if operation.record.state == operation_pb2.OPERATION_STATE_ACTIVE:
                raise Unavailable(f"{operation.name} is not being run yet; try again", retry_after=1.0)
            raise WrongState(f"{operation.name} has ended; nothing of it waits for a decision", resource=operation.name)
        return runner

    def notice_contact(self, silent: frozenset[str]) -> None:
        """Tell every runner which participants are silent."""
        for runner in self._runners.values():
            runner.notice_contact(silent)

    def _begin(self, operation: Operation) -> None:
        _ = self._begin_runner(Runner(operation, self.world, self._preemption))

    def _begin_runner(self, runner: Runner) -> asyncio.Task[None]:
        self._runners[runner.operation.number] = runner
        run = self._tasks.start(self._run(runner), name=runner.operation.name)
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return run

    async def _run(self, runner: Runner) -> None:
        """Run an operation to its end; after a defect take it up again from what is durable."""
        number, pause = runner.operation.number, _PAUSE
        over = False
        while not over:
            timer = self._set_deadline(runner)
            try:
                await runner.run()
                over = True
            except Exception as error:  # noqa: BLE001 - see the next line; it is logged with its trace
                # One operation's trouble must not stop the others; it keeps its locks meanwhile.
                _log.exception("%s was interrupted and is taken up again", runner.operation.name)
                self._metrics.note_violation(error)
                if isinstance(error, sqlite3.IntegrityError):
                    self._metrics.violated(Invariant.STATE_TABLE)
            finally:
                if timer is not None:
                    timer.cancel()
                if self._runners.get(number) is runner:
                    del self._runners[number]
            if not over:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                runner = await self._successor(runner)
                over = runner.operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE
                if not over:
                    self._runners[number] = runner
        self._remember(runner.operation)
        if under := runner.operation.record.options.under:
            others = self._under.pop(under, set()) - {number}
            if others:
                self._under[under] = others
            await self.people.operation_ended(under)

    async def _successor(self, runner: Runner) -> Runner:
        """Return what runs an operation on from what is durable, which nobody changes any more through the old one."""
        await runner.keeper.retire()
        while True:
            try:
                stored = await self.world.store.get(runner.operation.number)
            except Unavailable as error:
                _log.warning("%s cannot be taken up yet: %s", runner.operation.name, error)
                await asyncio.sleep(_PAUSE)
            else:
                return Runner(stored, self.world, self._preemption)

    async def _steer(self, number: int, steer: Callable[[Runner], Coroutine[object, object, object]]) -> None:
        """Do something to an operation by what runs it; by the successor, if a defect comes in between."""
        with contextlib.suppress(WrongState, NotFound):  # it has ended
            while True:
                try:
                    _ = await steer(await self.running(number))
                except Unavailable:
                    await asyncio.sleep(_PAUSE)
                else:
                    return

    def _remember(self, operation: Operation) -> None:
        """Keep an operation for those who ask for it right after its end, as most clients do."""
        if operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
            observe_end(self._metrics, operation)
            self._ended[operation.number] = operation
            if len(self._ended) > _MOST_REMEMBERED:
                self._ended.popitem(last=False)

    async def _show_metrics(self) -> None:
        """Set the gauges to what is being run and due now."""
        show_open(self._metrics, (runner.operation for runner in self._runners.values()))
        self._metrics.due_items.set(self._due.pending)
        self._metrics.contact_lost.set(self.world.participants.waited_for())

    def _set_deadline(self, runner: Runner) -> Alarm | None:
        due = deadline_of(runner.operation.record.options)
        return Alarm(self.world.clock, due, lambda: self._lapse(runner)) if due is not None else None

    def _lapse(self, runner: Runner) -> None:
        number = runner.operation.number
        asked = AbortRequest(cause=DEADLINE, reason="its deadline came")
        abort = self._steer(number, lambda present: present.abort(asked))
        _ = self._tasks.start(abort, name=f"deadline {runner.operation.name}")
