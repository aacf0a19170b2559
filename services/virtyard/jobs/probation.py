"""Probation: finds the operation that brings the scheduler down, and sets it aside (P21).

After two crashes, the last one within a minute of its process's start, the open operations are begun one at a time,
each behind a durable mark. A crash counts against the marked one alone; a step that is newly done forgives it, and a
clean stop counts for nothing. At the third strike the operation is held: it keeps its state and its locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from virtyard.api.jobs.v1 import job_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import Operation, job_name
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import StaleEpoch, Unavailable
from virtyard.runtime.database import Database, Transaction

__all__ = ["MOST_STRIKES", "Probation", "in_order", "note_clean_stop"]

MOST_STRIKES = 3
"""Crashes of one operation, tried alone, after which it is set aside."""
_SHORT_LIFE = 60.0
"""Seconds from a process's start to its last commit; what was idle since counts as short: it cannot be told apart."""
_TRIAL = 2.0
"""Seconds for which an operation is tried, if no step of it is done before."""
_LOOK = 0.05
POISON = job_pb2.HELD_REASON_POISON
_log = logging.getLogger(__name__)


class Probation:
    """Knows whether this process must be careful, and tries operations one by one."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        self.is_on = False

    def note_start(self, transaction: Transaction, adopted: Iterable[Operation]) -> None:
        """Note in the commit that adopts operations that a process begins, and what the last one's end counts for.

        Args:
            transaction: of the adoption.
            adopted: the operations, whose marks become strikes if the last process crashed.
        """
        now = self._clock.now().timestamp()
        row = transaction.execute("SELECT started, clean, crashes FROM life").fetchone()
        (last,) = transaction.execute("SELECT last_time FROM feed").fetchone()
        crashes, marked = 0, False
        if row is not None and not row[1]:
            # Its last commit is the last sign of life: how long the machine was down then does not matter.
            crashes = row[2] + 1 if last - row[0] <= _SHORT_LIFE else 1
        transaction.execute(
            "INSERT INTO life (id, started, clean, crashes) VALUES (1, ?, 0, ?) ON CONFLICT (id)"
            " DO UPDATE SET started = excluded.started, clean = 0, crashes = excluded.crashes",
            (now, crashes),
        )
        for operation in adopted:
            if operation.record.trying:
                operation.record.trying = False
                operation.record.strikes += 1 if crashes else 0
                marked = crashes > 0
        self.is_on = marked or crashes >= 2

    async def hold_poison(self, keeper: Keeper) -> None:
        """Set an operation aside if it has brought the scheduler down too often."""
        record = keeper.operation.record
        if record.strikes < MOST_STRIKES or record.held:
            return

        def change(record: record_pb2.OperationRecord) -> None:
            record.held = POISON

        await keeper.commit("jobs.poisoned", change, everything=True, news=_poison_event)
        _log.error("%s is set aside: it brought the scheduler down %d times", keeper.operation.name, record.strikes)

    async def mark(self, keeper: Keeper) -> None:
        """Make durable that this operation is the one that is tried."""

        def change(record: record_pb2.OperationRecord) -> None:
            record.trying = True

        await keeper.commit("jobs.trying", change)

    async def watch_trial(self, present: Callable[[], Keeper | None], run: asyncio.Task[None]) -> None:
        """Wait until what is tried has ended, has got on, or has run for long enough, and take its mark off.

        Args:
            present: gives the keeper that the operation has now, another one after a defect; None if it has ended.
            run: ends with the operation.
        """
        loop = asyncio.get_running_loop()
        end, done = loop.time() + _TRIAL, _done_count(present())
        while loop.time() < end and not run.done() and _done_count(present()) == done:
            await asyncio.wait([run], timeout=_LOOK)
        keeper = present()
        if keeper is None:
            return

        def change(record: record_pb2.OperationRecord) -> None:
            record.trying = False

        try:
            await keeper.commit("jobs.tried", change)
        except StaleEpoch:
            _log.debug("%s ended while it was tried", keeper.operation.name)


def _done_count(keeper: Keeper | None) -> int:
    return keeper.operation.record.done_count if keeper is not None else -1


async def note_clean_stop(database: Database) -> None:
    """Make durable that the process ends because it was told to."""

    def write(transaction: Transaction) -> None:
        transaction.execute("UPDATE life SET clean = 1")
        transaction.transition("jobs.stopped")

    try:
        await database.write(write)
    except Unavailable as error:
        _log.warning("the stop cannot be noted, so it will look like a crash: %s", error)


def in_order(operations: Iterable[Operation]) -> list[Operation]:
    """Return operations in the order in which they are tried: suspects first, so that others are soon left alone."""
    return sorted(operations, key=lambda each: (not each.record.held, -each.record.strikes, each.number))


def _poison_event(operation: Operation) -> control_service_pb2.RaiseEventsRequest:
    record, job = operation.record, operation.shape.plan.jobs[0]
    subject = operation.shape.plan.result_object or job.object
    text = f"{operation.name} ({record.title}) brought the scheduler down {record.strikes} times, and is set aside"
    event = event_types.new_event(
        event_types.OPERATION_POISONED, subject, text, operation=operation.name, job=job_name(record.number, job.id)
    )
    request = control_service_pb2.RaiseEventsRequest()
    request.events.add(key=f"{operation.name}/poisoned/{record.epoch}", event=event)
    return request
