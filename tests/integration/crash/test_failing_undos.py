"""Every undo of every operation type is refused once, for good: what remains is told, and both ways out lead out.

`job retry` ends with nothing left; `job accept` ends with the residue that was told, and no lock held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.crash.stage import EXAMPLES, TORTURE, WHOLE, Stage, chosen, ended, opened
from tests.integration.crash.test_abort_points import CANCELLED, abort
from tools.points import note
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, plan_pb2
from virtyard.jobs import rollback
from virtyard.kernel.errors import WrongState

pytestmark = pytest.mark.timeout(2400 if TORTURE else 240)
ACCEPTED = (operation_pb2.OPERATION_STATE_FAILED, job_pb2.OUTCOME_PARTIAL)
_TRIES = 5
"""What is done in the last round may end the operation before the abort comes; then it is tried again."""
_FEW = 2
STUCK = job_pb2.JOB_STATE_ROLLBACK_FAILED


class Refusal:
    """Has an operation aborted while a step of it acts, and the step's undo refused until that is lifted."""

    def __init__(self, stage: Stage, name: str, reference: str) -> None:
        """Refuse the undo of this step of this operation."""
        self._stage = stage
        self._name = name
        self._key = f"{name.partition('/')[2]}/{reference}"
        self._aborted: asyncio.Task[bool] | None = None
        self._loop = asyncio.get_running_loop()
        self.lifted = False

    def __call__(self, key: str, when: str) -> None:
        """Be told of a step; see `processes/faults.py`."""
        if key == self._key and when == "acted":
            # The inventory tells it in its database's thread.
            self._loop.call_soon_threadsafe(self._abort)
        if key == self._key and when == "undo" and not self.lifted:
            raise WrongState("it cannot be undone, for a test", resource=key)

    def _abort(self) -> None:
        self._aborted = self._aborted or asyncio.ensure_future(abort(self._stage, self._name))


@contextmanager
def refusing(stage: Stage, name: str, reference: str) -> Iterator[Refusal]:
    """Refuse an undo while the block runs."""
    refusal = stage.site.faults.on_step = Refusal(stage, name, reference)
    try:
        yield refusal
    finally:
        stage.site.faults.on_step = lambda _key, _when: None


async def stuck_or_ended(stage: Stage, name: str) -> str:
    """Wait until a job of the operation is stuck, and return its name; empty if the operation ended instead."""
    async with asyncio.timeout(20):
        while True:
            jobs = await stage.site.jobs_of(name)
            for job in jobs:
                if job.state == STUCK:
                    assert job.residue, "a stuck job tells what remains"
                    return str(job.name)
            if jobs and (await stage.site.jobs.scheduler.look(int(name.partition("/")[2]))).record.HasField("end_time"):
                return ""
            await asyncio.sleep(0.005)


async def refuse_undo(stage: Stage, reference: str, *, accept: bool) -> bool:
    """Run the example up to a step, have its undo refused, and take a way out; False if it was not undone."""
    await stage.ready()
    before = await stage.picture()
    name = await stage.next_name()
    with refusing(stage, name, reference) as refusal:
        await stage.site.submit(stage.request())
        first = job = await stuck_or_ended(stage, name)
        # What is accepted may be in the way of the undos before it, and these are then to be accepted as well.
        while job:
            assert await stage.site.held_locks(), "what is stuck keeps its locks"
            assert await asyncio.to_thread(stage.findings, running=True) == []
            refusal.lifted = True
            if accept:
                await stage.site.service.AcceptJob(job_service_pb2.AcceptJobRequest(name=job))
            else:
                await stage.site.service.RetryJob(job_service_pb2.RetryJobRequest(name=job))
            job = await stuck_or_ended(stage, name)
        operation, metadata = await ended(stage.site, name)
        await stage.site.wait_released()
    if not first:
        return False
    assert (metadata.state, metadata.outcome) == (ACCEPTED if accept else CANCELLED), (reference, operation.error)
    if accept:
        # What is left may refer to what is gone; that is the residue which a person took.
        found = await asyncio.to_thread(stage.findings, running=True)
        assert [line for line in found if not line.endswith("which is not there")] == []
    else:
        await stage.check()
        assert await stage.picture() == before, reference
    return True


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_a_refused_undo_is_told_and_has_two_ways_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `job retry` the site is as before; with `job accept` the operation ends, what was told is left."""
    monkeypatch.setattr(rollback, "_PAUSE", 0.001)
    async with opened(tmp_path, EXAMPLES[name]) as stage:
        steps = [
            f"{job.id}/{step.id}"
            for job in (await stage.plan()).jobs
            for step in job.steps
            if step.kind == plan_pb2.STEP_KIND_UNDOABLE and not step.if_deferred
        ]
        tried = [reference for reference in chosen(name, steps, 1) if await refuse_undo(stage, reference, accept=False)]
        note(name, "undo", len(tried), len(steps))
        # What is done in the last round may end the operation before the abort comes.
        assert len(tried) * 2 >= len(steps) or name not in WHOLE, (tried, steps)
        for reference in tried[:1]:
            for _ in range(_TRIES):
                if await refuse_undo(stage, reference, accept=True):
                    break
            else:
                assert len(steps) <= _FEW, reference
