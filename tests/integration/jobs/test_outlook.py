"""How far and how long, from the agent's rate to what watchers see, told by one place."""

from __future__ import annotations

import asyncio

from google.protobuf.message import Message

from tests.integration.jobs.site import LIMIT, Site, machine
from virtyard.agent.actions.contract import Context
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, wait_explanation_pb2


async def test_a_transfer_tells_its_rate_and_its_end_until_it_is_over(site: Site) -> None:
    """Job and operation say when they are expected to end, from one place; what has ended says nothing."""
    gate = asyncio.Event()

    async def write(_: Message, context: Context) -> None:
        done = 0
        while not gate.is_set():
            done = min(done + 1, 9_000)
            context.progress(done, 10_000, "Writing")
            await asyncio.sleep(0.02)

    site.faults.before["CreateDiskFile"] = write
    name = (await site.submit(machine("web", disks=1, vnics=0))).name
    percents: list[float] = []
    jobs: dict[str, job_pb2.Job] = {}
    metadata = operation_pb2.OperationMetadata()
    async with asyncio.timeout(LIMIT):
        async for frame in site.service.WatchOperation(job_service_pb2.WatchOperationRequest(name=name)):
            if frame.HasField("job"):
                jobs[frame.job.name] = frame.job
                continue
            if not frame.HasField("operation"):
                continue
            metadata = operation_pb2.OperationMetadata.FromString(frame.operation.metadata.value)
            percents.append(metadata.progress.percent)
            told = [job for job in jobs.values() if _tells(job, metadata)]
            if told and not gate.is_set():
                await _check_explanation(site, told[0])
                gate.set()
    assert gate.is_set(), "the end was foretold while it ran"
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert not metadata.progress.HasField("expected_end_time")
    assert not any(job.HasField("operation_progress") for job in jobs.values())
    assert not any(job.progress.HasField("expected_end_time") for job in jobs.values())


def _tells(job: job_pb2.Job, metadata: operation_pb2.OperationMetadata) -> bool:
    """Tell whether a job is measured, has an end of its own, and says of the operation what that says of itself.

    Frames of the two that were folded may be of two moments; some are of one.
    """
    return (
        job.progress.units_per_second > 0
        and job.progress.HasField("expected_end_time")
        and metadata.progress.HasField("expected_end_time")
        and job.operation_progress.percent == metadata.progress.percent
        and job.operation_progress.expected_end_time == metadata.progress.expected_end_time
        and job.operation_progress.update_time.ToDatetime() < job.progress.expected_end_time.ToDatetime()
    )


async def _check_explanation(site: Site, job: job_pb2.Job) -> None:
    """Check that an explanation has its estimate from the same place."""
    told = await site.service.ExplainWait(wait_explanation_pb2.ExplainWaitRequest(name=job.name))
    assert told.job.estimate == wait_explanation_pb2.ESTIMATE_SOURCE_PROGRESS
    assert told.job.percent >= job.operation_progress.percent
