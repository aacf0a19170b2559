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
from collections.abc import Awaitable, Callable
from datetime import UTC
from enum import Enum

from virtyard.api.jobs.v1 import operation_pb2
from virtyard.jobs.due import DueWork
from virtyard.jobs.metrics import observe_end, show_open
from virtyard.jobs.model import Operation, operation_number
from virtyard.jobs.runner import Runner
from virtyard.jobs.world import World
from virtyard.kernel.errors import Unavailable, WrongState
from virtyard.kernel.invariants import Invariant
from virtyard.locks.model import Blocker
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
        self._due = due
        self.before_start: Callable[[], Awaitable[None]] | None = None
        """Is waited for before anything is adopted."""
        world.participants.listen(self.notice_contact)

    async def start(self) -> None:
        """Adopt every open operation with a higher epoch, run it on, and begin to see to what is due."""
        if self.before_start is not None:
            await self.before_start()
        for operation in await self.world.store.adopt():
            self._begin(operation)
        self.state = SchedulerState.RUNNING
        waiting, self._waiting = self._waiting, []
        for operation in waiting:
            # One that was stored before the adoption is adopted, and runs already with the higher epoch.
            self.run(operation)
        await self._due.recall()
        _ = self._tasks.start(self._due.run(), name="due")

    def run(self, operation: Operation) -> None:
        """Run an operation that has just become durable; one that is run already is left alone."""
        if operation.number in self._runners or operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE:
            return
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

    async def abort(self, number: int, reason: str) -> bool:
        """Abort an operation; durable when this returns. Returns False if it was too late.

        Raises:
            NotFound: there is no such operation.
            Unavailable: the scheduler is starting.
        """
        runner = self._runners.get(number)
        if runner is not None:
            return await runner.abort(reason)
        operation = await self.world.store.get(number)
        if operation.record.state == operation_pb2.OPERATION_STATE_ACTIVE:
            raise Unavailable(f"{operation.name} is not being run yet; try again", retry_after=1.0)
        return operation.record.state == operation_pb2.OPERATION_STATE_CANCELLED

    async def retry_undo(self, number: int, job: str) -> None:
        """Have the refused undos of a job tried again; durable when this returns.

        Raises:
            WrongState: none of its undos was refused, or its operation has ended.
            NotFound: there is no such operation.
        """
        await (await self._running(number)).retry_undo(job)

    async def accept_residue(self, number: int, job: str) -> None:
        """Leave what the refused undos of a job left; durable when this returns.

        Raises:
            WrongState: none of its undos was refused, or its operation has ended.
            NotFound: there is no such operation.
        """
        await (await self._running(number)).accept_residue(job)

    async def _running(self, number: int) -> Runner:
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

    def _notice_blocker(self, waiting: Operation, blocker: Blocker) -> None:
        """Have an operation that is in the way of one it yields to stop (P12).

        The one that waits is queued by now, so the lock is its own in the transaction in which the other gives it up.
        """
        holder = self._runners.get(operation_number(blocker.owner))
        if holder is None or holder.operation.record.superseded_by:
            return
        yields_to = self.world.operations[holder.operation.record.method].yields_to
        targets = {job.object for job in holder.operation.shape.plan.jobs}
        if waiting.record.method in yields_to and blocker.object in targets:
            _ = self._tasks.start(holder.supersede(waiting.name), name=f"supersede {holder.operation.name}")

    def _begin(self, operation: Operation) -> None:
        runner = self._runners[operation.number] = Runner(operation, self.world, self._notice_blocker)
        run = self._tasks.start(self._run(runner), name=operation.name)
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

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
            if over:
                self._remember(runner.operation)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                with contextlib.suppress(Unavailable):
                    runner = Runner(await self.world.store.get(number), self.world, self._notice_blocker)
                over = runner.operation.record.state != operation_pb2.OPERATION_STATE_ACTIVE
                if not over:
                    self._runners[number] = runner

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
        self._metrics.contact_lost.set(len(self.world.participants.silent()))

    def _set_deadline(self, runner: Runner) -> asyncio.TimerHandle | None:
        options = runner.operation.record.options
        if not options.HasField("deadline"):
            return None
        left = (options.deadline.ToDatetime(UTC) - self.world.clock.now()).total_seconds()
        return asyncio.get_running_loop().call_later(max(left, 0), self._lapse, runner)

    def _lapse(self, runner: Runner) -> None:
        _ = self._tasks.start(runner.abort("its deadline came"), name=f"deadline {runner.operation.name}")
