"""Every undo of every operation type is refused once, for good: what remains is told, and both ways out lead out.

`job retry` ends with nothing left; `job accept` ends with the residue that was told, and no lock held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.crash.stage import EXAMPLES, TORTURE, Stage, chosen, ended, opened
from tests.integration.crash.test_abort_points import CANCELLED, abort
from tools.points import note
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, plan_pb2
from virtyard.api.participant.v1.participant_service_pb2 import EffectRecord
from virtyard.jobs import rollback, runner
from virtyard.jobs.model import Operation
from virtyard.jobs.roll_call import Answers, call_roll
from virtyard.kernel.errors import WrongState

pytestmark = pytest.mark.timeout(2400 if TORTURE else 240)
ACCEPTED = (operation_pb2.OPERATION_STATE_FAILED, job_pb2.OUTCOME_PARTIAL)
STUCK = job_pb2.JOB_STATE_ROLLBACK_FAILED


class Refusal:
    """Has an operation aborted once a step of it has acted, and the step's undo refused until that is lifted."""

    def __init__(self, stage: Stage, name: str, reference: str) -> None:
        """Refuse the undo of this step of this operation."""
        self._stage = stage
        self._name = name
        self._reference = reference
        self.lifted = False
        self.changed: bool | None = None
        """Whether the step changed anything; a host answers the undo of one that did not without carrying it out."""

    def refuse(self, key: str, when: str) -> None:
        """Be told of a step; see `processes/faults.py`."""
        if key == f"{self._name.partition('/')[2]}/{self._reference}" and when == "undo" and not self.lifted:
            raise WrongState("it cannot be undone, for a test", resource=key)

    async def call_roll(self, operation: Operation, results: Mapping[str, EffectRecord], **named: Any) -> Answers:
        """Abort while the step's result is there and not durable, so before the end even if it is the last one."""
        if operation.name == self._name and self._reference in results:
            self.changed = results[self._reference].changed
            assert await abort(self._stage, self._name), "no pivot has begun"
        return await call_roll(operation, results, **named)


@contextmanager
def refusing(stage: Stage, name: str, reference: str) -> Iterator[Refusal]:
    """Refuse an undo while the block runs."""
    refusal = Refusal(stage, name, reference)
    stage.site.faults.on_step = refusal.refuse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "call_roll", refusal.call_roll)
        yield refusal
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
    """Run the example up to a step, have its undo refused, and take a way out; False if there was nothing to undo."""
    await stage.ready()
    before = await stage.picture()
    name = await stage.next_name()
    with refusing(stage, name, reference) as refusal:
        await stage.site.submit(stage.request())
        first = job = await stuck_or_ended(stage, name)
        assert first or refusal.changed is False, f"the undo of {reference} was not asked for"
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
    accepted = accept and first
    assert (metadata.state, metadata.outcome) == (ACCEPTED if accepted else CANCELLED), (reference, operation.error)
    if accepted:
        # What is left may refer to what is gone; that is the residue which a person took.
        found = await asyncio.to_thread(stage.findings, running=True)
        assert [line for line in found if not line.endswith("which is not there")] == []
    else:
        await stage.check()
        assert await stage.picture() == before, reference
    return bool(first)


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
        for reference in tried[:1]:
            assert await refuse_undo(stage, reference, accept=True)
