"""The hold on one operation: durable in its record; while it is on, nothing of the way forward begins (P20).

It is a flag and no state. What runs ends and is recorded, locks are kept, an abort and the way back are not kept back;
an operation that has no locks yet does not ask for them. What it was planned from is read again before it begins.
A person's hold takes the place of a filter's, which takes it back when the person lets go; a person lifts no filter's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from virtyard.api.jobs.v1 import hold_pb2, job_pb2, operation_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import decisions, hold_flag, stamps
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.control_events import event_of
from virtyard.jobs.decisions import Decision
from virtyard.jobs.job_filters import JobFilters
from virtyard.jobs.keeper import Keeper
from virtyard.kernel import event_types
from virtyard.kernel.errors import StaleEpoch, WrongState
from virtyard.kernel.event_types import EventType

Record = record_pb2.OperationRecord
PERSON, BROKEN = job_pb2.HELD_REASON_PERSON, job_pb2.HELD_REASON_BROKEN


class Hold:
    """Sets one operation aside, and lets it go on."""

    def __init__(self, keeper: Keeper, filters: JobFilters, wake: Callable[[], None]) -> None:
        """Hold the operation that the keeper keeps, beside these filters; `wake` is called when it may go on."""
        self._keeper = keeper
        self._filters = filters
        self._wake = wake
        self._lifted = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether the operation is set aside."""
        return bool(self._keeper.operation.record.held)

    async def put_on(self, principal: str, reason: str) -> None:
        """Set the operation aside; durable when this returns. One that is set aside already stays as it is.

        One that a filter keeps back is set aside all the same, and stays so when the filter is gone.

        Raises:
            WrongState: it has ended, or is on its way back.
        """
        name = self._keeper.operation.name
        if hold_flag.is_aside(self._keeper.operation.record) and not _goes_back(self._keeper.operation.record):
            return

        def change(record: Record) -> None:
            if record.state != operation_pb2.OPERATION_STATE_ACTIVE or _goes_back(record):
                what = "is on its way back" if _goes_back(record) else "has ended"
                raise WrongState(f"{name} {what}; only what goes forward can be set aside", resource=name)
            record.held = PERSON
            record.hold.CopyFrom(hold_pb2.Hold(principal=principal, reason=reason))
            stamps.ask(record.hold.time)
            decisions.note(record, Decision(principal=principal, reason=reason), "set it aside")

        text = f"{principal} set {name} ({self._keeper.operation.record.title}) aside"
        await self._commit("jobs.held", change, event_types.OPERATION_HELD, text, reason)

    async def lift(self, principal: str, reason: str) -> None:
        """Let the operation go on that somebody set aside; durable when this returns. A filter may keep it back still.

        Raises:
            WrongState: it is not set aside, a filter keeps it back, or its locks were broken, so that it can only be
                undone.
        """
        name = self._keeper.operation.name

        def change(record: Record) -> None:
            if not record.held:
                raise WrongState(f"{name} is not set aside", resource=name)
            if record.held == BROKEN:
                text = f"the locks of {name} were broken, so it can only be undone; it never goes on"
                raise WrongState(text, resource=name)
            if record.held == hold_flag.FILTER:
                raise _kept_back(name, record.hold.principal)
            hold_flag.clear(record)
            if kept_by := self._filters.keeping(self._keeper.operation):
                hold_flag.keep_back(record, kept_by)
            record.strikes = 0
            decisions.note(record, Decision(principal=principal, reason=reason), "let it go on")

        text = f"{principal} let {name} ({self._keeper.operation.record.title}) go on"
        await self._commit("jobs.released", change, event_types.OPERATION_RELEASED, text, reason)
        self._lifted.set()
        self._filters.look_again()
        self._wake()

    async def wait_lifted(self, aborted: AbortSignal) -> None:
        """Return at once if the operation is not set aside; else when it may go on, or is aborted in time."""
        while self.is_on:
            record = self._keeper.operation.record
            if _goes_back(record):
                return
            self._lifted.clear()
            if record.too_late:
                await self._lifted.wait()
            else:
                await aborted.wait_for(self._lifted.wait())

    async def _commit(
        self, transition: str, change: Callable[[Record], None], kind: EventType, text: str, reason: str
    ) -> None:
        told = partial(event_of, kind=kind, text=text, reason=reason)
        try:
            await self._keeper.commit(transition, change, everything=True, news=told)
        except StaleEpoch:
            name = self._keeper.operation.name
            raise WrongState(f"{name} has ended, or another scheduler has it", resource=name) from None


def _kept_back(name: str, filtered: str) -> WrongState:
    """Return the refusal to let go on what only the change of a filter lets go on."""
    by = filtered or "a filter"
    text = f"{by} keeps {name} back; it goes on when the filter is changed, disabled or deleted"
    return WrongState(text, resource=name, metadata={"filter": filtered} if filtered else {})


def _goes_back(record: Record) -> bool:
    """Tell whether an operation is undone, or is about to be."""
    return record.rolling_back or (record.abort_requested and not record.too_late)
