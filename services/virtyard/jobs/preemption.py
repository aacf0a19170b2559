"""Pre-emption: an operation yields to one whose end makes void whatever it would undo, as stop does to kill (P12).

The one that yields is stopped and settled, and keeps its locks. If something of it is left, the other one binds itself
by a commit of its own before that is given up: from then on it cannot be aborted. Only then does the one that yields
end, and its locks pass in one transaction. If the other one is gone by then, it is undone like any aborted operation.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Protocol

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation, Shape, operation_number
from virtyard.kernel.lock_modes import LockMode, covers, merge
from virtyard.locks.model import QueuePlace
from virtyard.operations.contract import OperationType
from virtyard.runtime.scope import TaskScope

__all__ = ["Preemption", "Preemptor", "is_bound", "mark_unfinished"]

Record = record_pb2.OperationRecord


def is_bound(record: Record) -> bool:
    """Tell whether an operation is bound to its end, as another one gave up its undo for that; a break frees it."""
    return bool(record.takes_over) and not record.HasField("broken")


def mark_unfinished(shape: Shape, record: Record) -> None:
    """Put into the bad end of an operation that it owes what it took over: the other one's steps are left as they are.

    Nothing here knows how far they are from what is recorded; the reports of the host tell the inventory.
    """
    first = shape.plan.jobs[0]
    left = f"{record.takes_over} gave up its undo for this; {first.object} is recorded as its host reports it"
    record.jobs[first.id].residue.append(left)
    record.state, record.outcome = operation_pb2.OPERATION_STATE_FAILED, job_pb2.OUTCOME_PARTIAL


class Preemptor(Protocol):
    """What runs an operation, as far as pre-emption goes."""

    def supersede(self, by: str) -> Coroutine[object, object, None]:
        """Stop the operation for the one that it yields to; durable when this returns."""
        ...

    def take_over(self, yielding: str) -> Coroutine[object, object, bool]:
        """Bind the operation to its end; durable when this returns. Returns False if it has another end in view."""
        ...


Steer = Callable[[int, Callable[[Preemptor], Coroutine[object, object, object]]], Coroutine[object, object, None]]


class Preemption:
    """Knows who yields to whom, and brings the two together."""

    def __init__(
        self,
        operations: Mapping[str, OperationType],
        find: Callable[[int], Operation | None],
        steer: Steer,
        tasks: TaskScope,
    ) -> None:
        """Work for the operations of one scheduler.

        Args:
            operations: the operation types by method.
            find: gives an operation that is being run.
            steer: does something to an operation by what runs it, nothing if it has ended.
            tasks: the scope of its tasks.
        """
        self._operations = operations
        self._find = find
        self._steer = steer
        self._tasks = tasks

    def notice_place(self, waiting: Operation, place: QueuePlace) -> None:
        """Have the one operation that holds what another one waits for stop, if it yields to that.

        One that shares the holding with others does not yield: its locks would not be enough for whoever waits.
        """
        owners = {blocker.owner for blocker in place.blockers if not blocker.waiting}
        holder = self._find(operation_number(owners.pop())) if len(owners) == 1 else None
        if holder is None or holder.record.superseded_by or not self._yields(holder, waiting):
            return

        stop = self._steer(holder.number, lambda runner: runner.supersede(waiting.name))
        _ = self._tasks.start(stop, name=f"supersede {holder.name}")

    async def take_over(self, yielding: str, by: str) -> bool:
        """Have an operation take over from one that has yielded to it; False if it is gone, aborted or set aside."""
        taken = False

        async def bind(runner: Preemptor) -> None:
            nonlocal taken
            taken = await runner.take_over(yielding)

        await self._steer(operation_number(by), bind)
        return taken

    def _yields(self, holder: Operation, waiting: Operation) -> bool:
        """Tell whether a holder yields, and what it holds is all that the other one waits for."""
        if waiting.record.method not in self._operations[holder.record.method].yields_to:
            return False
        held = merge((lock.object, LockMode(lock.mode)) for lock in holder.shape.plan.locks)
        asked = merge((lock.object, LockMode(lock.mode)) for lock in waiting.shape.plan.locks)
        return all(name in held and covers(held[name], mode) for name, mode in asked.items())
