"""Bugs that are put into the processes of a test, to see that the tests find them; no product code knows of them.

The nursery applies the one that `VIRTYARD_SEED_BUG` names, before a process begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from virtyard.api.jobs.v1 import job_pb2

VARIABLE = "VIRTYARD_SEED_BUG"
Put = Callable[[object, str, object], None]
"""Puts something in the place of an attribute: `setattr`, or one that takes it back after a test."""


def drop_token_check(put: Put) -> None:
    """A participant accepts whatever token an effect carries."""
    import virtyard.agent.ledger
    import virtyard.inventory.round

    for module in (virtyard.agent.ledger, virtyard.inventory.round):
        put(module, "check_tokens", lambda *_: None)


def answer_before_commit(put: Put) -> None:
    """A new operation is acknowledged while its commit is still under way."""
    from virtyard.jobs.render import render_operation
    from virtyard.jobs.store import JobStore
    from virtyard.runtime import database

    insert, run_batch = JobStore.insert, vars(database)["run_batch"]

    async def hasty(self: Any, operation: Any, request_id: str, **options: Any) -> Any:
        task = asyncio.ensure_future(insert(self, operation, request_id, **options))
        while not task.done() and not operation.record.number:
            await asyncio.sleep(0)
        if not operation.record.number:
            return await task
        operation.bodies[operation.name] = render_operation(operation).SerializeToString()
        return operation

    def slow(connection: Any, *arguments: Any, commit: Any, **options: Any) -> Any:
        def late(sql: Any) -> None:
            time.sleep(0.02)
            commit(sql)

        return run_batch(connection, *arguments, commit=late, **options)

    put(database, "run_batch", slow)
    put(JobStore, "insert", hasty)


def skip_undo(put: Put) -> None:
    """A rollback counts the last step that was done as undone, and does not undo it."""
    from virtyard.jobs import schedule

    begin = schedule.begin_rollback

    def begin_rollback(shape: Any, record: Any, *arguments: Any, **options: Any) -> None:
        begin(shape, record, *arguments, **options)
        done = [step for step in record.steps.values() if step.state == job_pb2.STEP_STATE_DONE]
        if done:
            max(done, key=lambda step: step.order).state = job_pb2.STEP_STATE_UNDONE

    put(schedule, "begin_rollback", begin_rollback)


def reuse_step_key(put: Put) -> None:
    """Two operations that follow each other use the same keys."""
    from virtyard.jobs import effects, rollback

    def step_key(number: int, reference: str) -> str:
        # Not 0: below the first operation every key is refused.
        return f"{max(1, number - number % 2)}/{reference}"

    for module in (effects, rollback):
        put(module, "step_key", step_key)


def forget_lock(put: Put) -> None:
    """The end of an operation writes no release of its locks."""
    from virtyard.jobs import keeper
    from virtyard.jobs.store import RELEASE

    due = vars(keeper)["_due"]
    put(keeper, "_due", lambda operation: [item for item in due(operation) if item.kind != RELEASE])


def drop_clock_floor(put: Put) -> None:
    """A clock begins with the machine's time, whatever was written before."""
    from virtyard.runtime.clock import SystemClock

    put(SystemClock, "not_before", lambda *_: None)


BUGS: dict[str, Callable[[Put], None]] = {
    "token-check-dropped": drop_token_check,
    "answer-before-commit": answer_before_commit,
    "undo-skipped": skip_undo,
    "step-key-reused": reuse_step_key,
    "lock-forgotten": forget_lock,
}
"""Those that the torture must find."""
OTHERS: dict[str, Callable[[Put], None]] = {"clock-floor-dropped": drop_clock_floor}
"""Those that a test of their own must find, as the torture sets no clock."""
