"""Counted locks: so many steps of one kind at once on a server, as a gate in front of a step's intent (P22).

What is held follows from the records alone: the steps that are STARTED and name the lock. So it needs no commit of its
own and is known again after a restart, before anything is begun. Whoever waits holds nothing by it: a step takes its
one lock right before its intent, gives it back with the commit of its result, and its undo needs none. Waiters go by
the rank of their operations (P15), and nobody passes one whose demand does not fit yet. There are no tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from virtyard.api.jobs.v1 import operation_pb2, plan_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule
from virtyard.jobs.model import Operation, StepRef
from virtyard.kernel.errors import InternalError, InvalidRequest
from virtyard.kernel.job_states import StepState
from virtyard.locks.model import Rank

__all__ = ["COPY", "CountedLocks", "StepGate"]

COPY = "copy"
"""What copies of disk content on a server take one of."""
_NOT_BEGUN = frozenset({int(StepState.PENDING), 0})


@dataclass(slots=True)
class _Line:
    """Who has of one counted lock, and who waits for it: demands by operation and step."""

    held: dict[int, dict[str, int]] = field(default_factory=dict)
    waiting: dict[int, dict[str, int]] = field(default_factory=dict)

    @property
    def in_use(self) -> int:
        return sum(count for steps in self.held.values() for count in steps.values())


class CountedLocks:
    """Who has and who waits for the counted locks of one scheduler."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        """Let so many be taken at once on each server, by the last part of a lock's name."""
        self.limits = dict(limits)
        self._lines: dict[str, _Line] = {}
        self._names: dict[int, set[str]] = {}
        self._gates: dict[int, StepGate] = {}

    def check(self, plan: plan_pb2.Plan) -> None:
        """Refuse a plan with a step that could never begin.

        Raises:
            InvalidRequest: a step wants more of a lock than there is; the refusal names the request's field.
            InternalError: a step names a lock that does not exist.
        """
        for counted in (step.counted for job in plan.jobs for step in job.steps if step.HasField("counted")):
            if _kind(counted.name) not in self.limits:
                raise InternalError(f"there is no counted lock {counted.name}; known are {sorted(self.limits)}")
            limit = self._limit(counted.name)
            if counted.count > limit:
                text = f"it takes {counted.count} of {counted.name}, of which there are {limit}"
                raise InvalidRequest.of(counted.field, text)

    def note(self, operation: Operation) -> None:
        """Take over an operation's record: what it holds, whether it still waits; wake those whose turn has come."""
        number, counted = operation.number, operation.shape.counted
        names = self._names.pop(number, set())
        if not counted and not names:
            return
        states = {ref.reference: schedule.step_state(operation.record, ref.reference) for ref in counted}
        wants = {ref.reference: ref.step.counted for ref in counted}
        gate = self._gates.get(number) if _goes_forward(operation.record) else None
        touched = names | {each.name for each in wants.values()}
        for name in touched:
            line = self._lines.setdefault(name, _Line())
            before = line.waiting.pop(number, {})
            line.held.pop(number, None)
            own = {reference: each.count for reference, each in wants.items() if each.name == name}
            if held := {reference: own[reference] for reference in own if states[reference] == StepState.STARTED}:
                line.held[number] = held
            waiting = {reference: own[reference] for reference in before if states.get(reference) in _NOT_BEGUN}
            if waiting and gate is not None:
                line.waiting[number] = waiting
            if held or number in line.waiting:
                self._names.setdefault(number, set()).add(name)
        waits = {reference for name in touched for reference in self._lines[name].waiting.get(number, ())}
        for reference in operation.counted_waits.keys() - waits:
            del operation.counted_waits[reference]
        if not waits and (gone := self._gates.pop(number, None)) is not None:
            gone.begin_look()
        for name in touched:
            self._wake(name)

    def take(self, gate: StepGate, ref: StepRef) -> bool:
        """Take a step's counted lock if it is its turn; else have it wait, and its gate woken when the turn comes."""
        operation, counted = gate.operation, ref.step.counted
        number, line = operation.number, self._lines.setdefault(counted.name, _Line())
        if ref.reference in line.held.get(number, ()):
            return True  # taken by the same commit, whose first try was lost
        self._gates[number] = gate
        self._names.setdefault(number, set()).add(counted.name)
        waiting = line.waiting.setdefault(number, {})
        waiting[ref.reference] = counted.count
        if (number, ref.reference) not in self._turns(counted.name):
            limit = self._limit(counted.name)
            operation.counted_waits[ref.reference] = f"{counted.name}: {line.in_use} of {limit} in use"
            return False
        del waiting[ref.reference]
        if not waiting:
            del line.waiting[number]
        line.held.setdefault(number, {})[ref.reference] = counted.count
        return True

    def forget_wait(self, number: int) -> None:
        """Have an operation wait no more; what it holds stays."""
        self._gates.pop(number, None)

    def holders(self, name: str) -> list[int]:
        """Return the numbers of the operations that have of a counted lock, the oldest first."""
        line = self._lines.get(name)
        return sorted(line.held) if line is not None else []

    def ahead(self, name: str, number: int) -> list[int]:
        """Return the numbers of the operations that wait for a counted lock and come before another, the next first."""
        order = self._order(name)
        return order[: order.index(number)] if number in order else []

    def _turns(self, name: str) -> list[tuple[int, str]]:
        """Return the steps whose turn it is, by rank: one whose demand does not fit reserves what becomes free."""
        line = self._lines[name]
        in_use, turns = line.in_use, list[tuple[int, str]]()
        for number in self._order(name):
            for reference, count in line.waiting[number].items():
                # What was planned while there was more of it is let in alone.
                if in_use and in_use + count > self._limit(name):
                    return turns
                in_use += count
                turns.append((number, reference))
        return turns

    def _order(self, name: str) -> list[int]:
        line = self._lines.get(name)
        return sorted(line.waiting, key=self._rank) if line is not None else []

    def _rank(self, number: int) -> Rank:
        return Rank.of(number, self._gates[number].operation.record.options.priority)

    def _wake(self, name: str) -> None:
        line = self._lines[name]
        if not line.held and not line.waiting:
            del self._lines[name]
            return
        for number, _ in self._turns(name):
            self._gates[number].call()

    def _limit(self, name: str) -> int:
        return self.limits[_kind(name)]


class StepGate:
    """Lets the steps of one operation begin that name a counted lock."""

    def __init__(self, counted: CountedLocks, operation: Operation, wake: Callable[[], None]) -> None:
        """Stand before this operation, which nobody runs yet; `wake` is called when a step that waited may begin."""
        self.operation = operation
        self._counted = counted
        self._wake = wake
        counted.forget_wait(operation.number)
        counted.note(operation)
        # What waited when an earlier process ended looks for its turn beside the steps that are taken up again.
        self._called = any(
            schedule.step_state(operation.record, ref.reference) in _NOT_BEGUN for ref in operation.shape.counted
        )

    @property
    def is_due(self) -> bool:
        """Whether to look now which steps may begin."""
        return self._called and not self.operation.record.held

    def call(self) -> None:
        """Have the operation look again, once."""
        if not self._called:
            self._called = True
            self._wake()

    def begin_look(self) -> None:
        """Be called anew for what comes free from now on."""
        self._called = False

    def may_begin(self, ref: StepRef) -> bool:
        """Tell whether a step that is ready may begin now; one that may has its counted lock."""
        return not ref.step.HasField("counted") or self._counted.take(self, ref)

    def waiting_jobs(self) -> Iterator[str]:
        """Yield the jobs whose steps wait for a counted lock."""
        for reference in self.operation.counted_waits:
            yield self.operation.shape.steps[reference].job.id


def _goes_forward(record: record_pb2.OperationRecord) -> bool:
    """Tell whether steps of an operation may begin: it has not ended, is not set aside, and does not go back."""
    stopped = record.held or record.rolling_back or (record.abort_requested and not record.too_late)
    return record.state == operation_pb2.OPERATION_STATE_ACTIVE and not stopped


def _kind(name: str) -> str:
    return name.rpartition("/")[2]
