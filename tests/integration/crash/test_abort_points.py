"""An abort at every durable transition of every operation type (R11): all is put back, or it came too late.

In between there is nothing: whoever is told that the abort came in time finds the site as it was before, and whoever is
told that it was too late finds the operation succeeded.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.integration.crash.previews import check_preview
from tests.integration.crash.stage import EXAMPLES, TORTURE, WHOLE, Stage, at, chosen, ended, opened
from tools.points import note
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, plan_pb2
from virtyard.jobs import runner
from virtyard.jobs.model import Operation
from virtyard.jobs.roll_call import call_roll

pytestmark = pytest.mark.timeout(2400 if TORTURE else 240)
CANCELLED = (operation_pb2.OPERATION_STATE_CANCELLED, job_pb2.OUTCOME_NONE)
SUCCEEDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, job_pb2.OUTCOME_COMPLETE)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_an_abort_takes_all_back_or_comes_too_late(name: str, tmp_path: Path) -> None:
    """Previewed it leaves nothing; at each point the answer, the end, the site's objects and the checker agree."""
    async with opened(tmp_path, EXAMPLES[name]) as stage:
        await check_preview(stage)
        found = await stage.points()
        points = chosen(name, found)
        runs = [run for point in points if (run := await abort_at(stage, point)) is not None]
        pivot = any(
            step.kind == plan_pb2.STEP_KIND_PIVOT for job in (await fresh_plan(stage)).jobs for step in job.steps
        )
    ends = [end for end, _ in runs]
    note(name, "abort", len(ends), len(found))
    assert len(ends) > len(points) * 0.7 or name not in WHOLE, "which points of children share a commit may differ"
    if len(points) > 5:
        assert CANCELLED in ends
        # Before the pivot, or before the last result, it is never too late. How far a run is tells the order: one that
        # has children side by side comes to its pivot after fewer or more commits.
        in_time = [begun for end, begun in runs if end == CANCELLED and begun is not None]
        too_late = [begun for end, begun in runs if end == SUCCEEDED and begun is not None]
        assert ends[0] == CANCELLED
        assert max(in_time, default=0) <= min(too_late, default=sys.maxsize)
        assert ends.count(SUCCEEDED) > 2 or not pivot


@pytest.mark.parametrize("name", ["kill_virtual_machine", "delete_virtual_machine"])
async def test_an_abort_that_was_in_time_is_kept_over_what_was_on_its_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made durable while the first, or the next, intents are being prepared, it lets none of them be written."""
    async with opened(tmp_path, EXAMPLES[name]) as stage:
        for nth in (1, 2, 3):
            await stage.ready()
            before = await stage.picture()
            operation_name = await stage.next_name()
            answers: list[bool] = []
            calls = itertools.count(1)

            async def abort_first(*arguments: Any, **named: Any) -> Any:
                if next(calls) == nth:  # noqa: B023 - called within the turn
                    answers.append(await abort(stage, operation_name))  # noqa: B023
                return await call_roll(*arguments, **named)

            monkeypatch.setattr(runner, "call_roll", abort_first)
            await stage.site.submit(stage.request())
            _, metadata = await ended(stage.site, operation_name)
            await stage.check()
            if answers:
                assert (metadata.state, metadata.outcome) == (CANCELLED if answers[0] else SUCCEEDED), nth
            if answers and answers[0]:
                assert await stage.picture() == before, nth
            assert nth > 1 or answers == [True]


async def fresh_plan(stage: Stage) -> plan_pb2.Plan:
    """Return the plan of the example, once it can be asked."""
    await stage.ready()
    return await stage.plan()


async def abort_at(stage: Stage, point: tuple[str, int]) -> tuple[tuple[int, int], int | None] | None:
    """Ask for the example, abort it at a point, and return its end, which is that of the abort's answer.

    Beside it stands how many of its steps had begun at the point, None where nobody was at work on it.

    Returns None where this run had no such point: results of children that come together share a commit.
    """
    await stage.ready()
    before = await stage.picture()
    name = await stage.next_name()
    aborts: list[asyncio.Task[bool]] = []
    begun: list[int | None] = []

    def act() -> None:
        begun.append(steps_begun(stage, name))
        aborts.append(asyncio.ensure_future(abort(stage, name)))

    stage.site.on_transition = at(point, act)
    try:
        assert (await stage.site.submit(stage.request())).name == name
        operation, metadata = await ended(stage.site, name)
        await stage.site.wait_released()
    finally:
        stage.site.on_transition = lambda _: None
    end = metadata.state, metadata.outcome
    if not aborts:
        assert end == SUCCEEDED, (point, operation.error)
        return None
    in_time = await aborts[0]
    assert end == (CANCELLED if in_time else SUCCEEDED), (point, operation.error)
    await stage.check()
    if in_time:
        assert await stage.picture() == before, point
    return end, begun[0]


def steps_begun(stage: Stage, name: str) -> int | None:
    """Return how many steps of an operation have begun; None if nobody is at work on it."""
    operation: Operation | None = stage.site.jobs.scheduler.find(int(name.partition("/")[2]))
    if operation is None:
        return None
    return sum(step.state != job_pb2.STEP_STATE_PENDING for step in operation.record.steps.values())


async def abort(stage: Stage, name: str) -> bool:
    """Abort an operation as soon as that can be answered; tell whether it came in time."""
    request = job_service_pb2.AbortJobRequest(name=f"jobs/{name.partition('/')[2]}-1", reason="for a test")
    async with asyncio.timeout(20):
        while True:
            try:
                return not (await stage.site.service.AbortJob(request)).too_late
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0)
