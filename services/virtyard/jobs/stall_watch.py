"""The watch over stalls: a step that makes no progress for longer than it may is told of, and so is its going on.

It is the lack of progress that counts, not age: a step that gets on is never stuck, and one that is tried again and
again without ever getting further is (P6). While its host is silent that is shown instead, as lost contact.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import stall
from virtyard.jobs.effects import STALL_SECONDS
from virtyard.jobs.keeper import Keeper
from virtyard.jobs.model import Operation
from virtyard.jobs.runner import Runner
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError

__all__ = ["StallWatch"]

Record = record_pb2.OperationRecord
_log = logging.getLogger(__name__)
_EVERY = 5.0
"""Seconds between two looks; progress itself is free of any work for this."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a step was when it last got on."""

    state: int
    """STARTED or UNDOING."""
    percent: float
    """The most that it ever told, over all its attempts."""
    done_units: int
    """The same in units."""
    since: float
    """Seconds of the monotonic clock."""

    def is_behind(self, other: _Mark) -> bool:
        """Tell whether the other one is further."""
        gone = other.percent > self.percent or other.done_units > self.done_units
        return other.state != self.state or gone


class StallWatch:
    """Watches the steps of every operation that is run."""

    def __init__(self, clock: Clock, runners: Mapping[int, Runner]) -> None:
        """Watch what these runners run."""
        self._clock = clock
        self._runners = runners
        self._marks: dict[int, dict[str, _Mark]] = {}

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.look()

    async def look(self) -> None:
        """Look at every step that is under way, and tell of those that are stuck, and that go on."""
        runners = list(self._runners.values())
        for runner in runners:
            operation, keeper = runner.operation, runner.keeper
            marks = self._marks.setdefault(operation.number, {})
            stuck, going = self._compare(operation, marks)
            if stuck or going:
                try:
                    await _tell(keeper, stuck, going)
                except VirtyardError as error:
                    # As where it ended in the meantime, or another scheduler has it; else the next look sees it again.
                    _log.info("the stall of %s is not told: %s", operation.name, error)
        for number in self._marks.keys() - {runner.operation.number for runner in runners}:
            del self._marks[number]

    def _compare(self, operation: Operation, marks: dict[str, _Mark]) -> tuple[list[str], list[str]]:
        """Return the steps that have just been found stuck, and those that were and go on; bring marks up to date."""
        now = self._clock.monotonic()
        stuck, going = [], []
        for reference, own in operation.record.steps.items():
            if own.state not in stall.UNDER_WAY:
                marks.pop(reference, None)
                continue
            live = operation.progress.get(reference)
            percent, done_units = (live.percent, live.done_units) if live is not None else (0.0, 0)
            mark = _Mark(int(own.state), percent, done_units, now)
            before = marks.get(reference)
            silent = operation.shape.steps[reference].step.participant in operation.contact_lost
            if before is None or before.is_behind(mark):
                marks[reference] = mark
                if before is not None and own.stalled:
                    going.append(reference)
            elif silent:
                marks[reference] = mark
            elif now - before.since >= STALL_SECONDS and not own.stalled:
                stuck.append(reference)
        return stuck, going


async def _tell(keeper: Keeper, stuck: list[str], going: list[str]) -> None:
    """Make the flags of these steps durable, with the events that tell of them."""

    def change(record: Record) -> None:
        keeper.stalled = True
        # Between the look and this commit a step may have ended; its own commit has seen to it then.
        stuck[:] = [each for each in stuck if record.steps[each].state in stall.UNDER_WAY]
        going[:] = [each for each in going if record.steps[each].stalled]
        for reference in stuck:
            record.steps[reference].stalled = True
            record.steps[reference].stalls += 1
        for reference in going:
            record.steps[reference].stalled = False

    await keeper.commit("jobs.stalled", change, news=partial(stall.events, stuck=stuck, going=going))
