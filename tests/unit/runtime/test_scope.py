"""The task scope: nothing outlives it and nothing fails silently."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from virtyard.runtime.scope import TaskScope, end_process_by


async def test_close_cancels_and_awaits_what_runs() -> None:
    """A closed scope has no task left, also none that was started by a task that was being cancelled."""
    cleaned: list[str] = []

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("clean")

    scope = TaskScope("tests")
    tasks = [scope.start(run()), scope.start(run())]
    await asyncio.sleep(0)
    assert scope.running == 2
    await scope.close()
    assert (scope.running, cleaned) == (0, ["clean", "clean"])
    assert all(task.cancelled() for task in tasks)
    with pytest.raises(RuntimeError):
        _ = scope.start(run())


async def test_close_lets_tasks_end_within_its_patience() -> None:
    """With patience, what is nearly done gets done."""
    scope = TaskScope("tests")
    gate = asyncio.Event()
    task = scope.start(gate.wait())
    asyncio.get_running_loop().call_soon(gate.set)
    await scope.close(patience=2)
    assert task.result()


async def test_failure_is_logged_and_raised_by_close(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that leaves a task is in the log at once and in the group that close raises."""

    async def fail() -> None:
        raise ValueError("broken")

    scope = TaskScope("tests")
    task = scope.start(fail())
    await asyncio.wait({task})
    with pytest.raises(BaseExceptionGroup) as failed:
        await scope.close()
    assert failed.group_contains(ValueError, match="broken")
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("vital", [True, False])
async def test_a_vital_task_that_fails_ends_the_process(vital: bool) -> None:
    """Any other is told of, and the process goes on; a cancelled one has not failed."""

    async def fail() -> None:
        raise ValueError("broken")

    ended: list[str] = []
    context = contextvars.copy_context()
    context.run(end_process_by, lambda: ended.append("told"))
    scope = context.run(TaskScope, "tests")
    cancelled = scope.start(asyncio.Event().wait(), vital=True)
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait({cancelled, scope.start(fail(), vital=vital)})
    with pytest.raises(BaseExceptionGroup):
        await scope.close()
    assert ended == (["told"] if vital else [])
