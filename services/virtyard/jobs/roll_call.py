"""The roll call: which servers of deferrable jobs answer, asked right before their first steps are intended (P16).

Nobody's word but the server's own counts: that it has stopped reporting is no reason to put a job off, nor that it
reports one to begin it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import outcome, schedule
from virtyard.jobs.abort_signal import AbortSignal
from virtyard.jobs.model import Operation
from virtyard.jobs.participants import Participants
from virtyard.kernel.names import INVENTORY

PATIENCE = 5.0
"""Seconds that a server has to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a roll call found."""

    answering: frozenset[str] = frozenset()
    """The ids of the jobs whose servers answered."""
    silent: frozenset[str] = frozenset()
    """The ids of the jobs whose servers did not."""


NOBODY = Answers()
"""Nobody was asked."""


async def call_roll(
    operation: Operation,
    results: Mapping[str, participant.EffectRecord],
    participants: Participants,
    aborted: AbortSignal,
) -> Answers:
    """Ask the servers of the deferrable jobs whose turn comes with these results.

    Args:
        operation: the operation, which is not changed.
        results: results that have come and are not durable yet, by the steps' references.
        participants: the links to servers.
        aborted: ends the call; then nobody was asked.
    """
    if not operation.shape.deferrable:
        return NOBODY
    draft = record_pb2.OperationRecord()
    draft.CopyFrom(operation.record)
    for reference, result in results.items():
        outcome.record_done(draft, reference, result)
    jobs = schedule.awaiting_contact(operation.shape, draft)
    if not jobs:
        return NOBODY
    return await aborted.wait_for(_ask(jobs, participants)) or NOBODY


async def _ask(jobs: list[plan_pb2.PlannedJob], participants: Participants) -> Answers:
    async with asyncio.TaskGroup() as tasks:
        asked = {
            job.id: tasks.create_task(participants.link(_server_of(job)).answers(PATIENCE), name=f"roll call {job.id}")
            for job in jobs
        }
    answering = frozenset(job for job, task in asked.items() if task.result())
    return Answers(answering=answering, silent=frozenset(asked) - answering)


def _server_of(job: plan_pb2.PlannedJob) -> str:
    """Return the one server that a deferrable job works on; `plan_rules` sees to it that there is one."""
    return next(step.participant for step in job.steps if step.participant != INVENTORY)
