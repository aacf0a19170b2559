"""SIGTERM to the control plane in the middle of an operation: watchers hear it first, and nothing is begun or lost."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from typing import Any

import grpc
import pytest

from tests.acceptance.asking import LIMIT, ask, create_machine, list_jobs, new_disk, prepare, wait_unlocked
from tests.acceptance.site import Site, open_site
from tools import processes
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from virtyard.api.type.v1 import watch_pb2
from virtyard.runtime.pki import Credentials
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(180)

GOODBYE = watch_pb2.FRAME_KIND_GOODBYE
BEGUN = (job_pb2.STEP_STATE_STARTED, job_pb2.STEP_STATE_DONE)
SHAPES = ["embedded", "split"]


def stored_jobs(site: Site) -> list[job_pb2.Job]:
    """Return the jobs as the database has them; nobody has it open any more."""
    (file,) = (site.folder / "state").glob("**/jobs.db")
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return [job_pb2.Job.FromString(body) for (body,) in connection.execute("SELECT body FROM job ORDER BY name")]
    finally:
        connection.close()


def begun(jobs: list[job_pb2.Job]) -> set[str]:
    """Return the steps that were ever sent to anybody, by job and number."""
    return {f"{job.name} {number}" for job in jobs for number, step in enumerate(job.steps) if step.state in BEGUN}


async def held_at_a_disk(client: Client, operation: str) -> list[job_pb2.Job]:
    """Wait until a host has been sent its step, and return the jobs as they are then."""
    async with asyncio.timeout(LIMIT):
        while True:
            jobs = await list_jobs(client, operation)
            started = [step for job in jobs for step in job.steps if step.state == job_pb2.STEP_STATE_STARTED]
            if any(step.participant != "inventory" for step in started):
                return jobs
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_stop_tells_watchers_first_and_begins_nothing_more(shape: str) -> None:
    """The watcher's last frame is GOODBYE; the operation is left where it was, and goes on after the next start."""
    with open_site(shape) as site:
        process = site.process_of("jobs")
        async with site.client() as client:
            await prepare(site, client)
        credentials = Credentials.load(site.folder / "pki" / "user" / "admin").for_channel()
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.secure_channel(site.addresses[process], credentials, options=options) as channel:
            stub = job_service_pb2_grpc.JobServiceStub(channel)
            with site.paused("s1"):
                async with site.client() as client:
                    request = create_machine(site, "web", [new_disk(2), new_disk(2)], 1)
                    operation = await ask(client, request)
                    before = await held_at_a_disk(client, operation.name)
                frames: Any = stub.WatchOperation(job_service_pb2.WatchOperationRequest(name=operation.name))
                first = await anext(aiter(frames))
                assert first.kind == watch_pb2.FRAME_KIND_SNAPSHOT
                processes.send(site.record(process), signal.SIGTERM)
                kinds, token = [], ""
                async with asyncio.timeout(LIMIT):
                    async for frame in frames:
                        kinds.append(frame.kind)
                        token = frame.resume_token
                assert kinds[-1] == GOODBYE
                assert kinds.count(GOODBYE) == 1
                assert await frames.code() == grpc.StatusCode.OK
            # The host answers now, to a scheduler that may still be there: it begins nothing with the answer.
            async with asyncio.timeout(LIMIT):
                while site.is_alive(process):
                    await asyncio.sleep(0.01)
        after = [job for job in stored_jobs(site) if job.operation == operation.name]
        assert begun(after) == begun(before)

        site.start(process)
        async with site.client() as client:
            story = await client.wait(operation.name, timeout=LIMIT)
            assert story.error is None
            rest = [change async for change, _ in client.watch_operation(operation.name, token)]
            assert rest, "the token of the goodbye leads on"
            await wait_unlocked(client)
            assert len(site.images()) == 2


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_stop_is_quick_and_says_that_operations_go_on(shape: str) -> None:
    """A watcher that never reads on and a running operation do not hold the process up."""
    with open_site(shape) as site:
        process = site.process_of("jobs")
        async with site.client() as client:
            await prepare(site, client)
            with site.paused("s1"):
                operation = await ask(client, create_machine(site, "web", [new_disk(2)]))
                await held_at_a_disk(client, operation.name)
                assert not processes.end([site.record(process)], 15.0), "it had to be killed"
            site.start(process)
            story = await client.wait(operation.name, timeout=LIMIT)
            assert story.error is None
