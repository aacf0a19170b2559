"""The end of the torture: the site becomes quiet, or what does not is told; no wait here is without a bound."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from typing import Any

from tests.acceptance.site import Site
from tests.torture.aim import is_stopped
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, wait_explanation_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

_LINES = 3


async def ended_in(tasks: Collection[asyncio.Task[Any]], seconds: float) -> list[str]:
    """Wait until tasks have ended, and tell where those are that have not; they are cancelled."""
    _, stuck = await asyncio.wait(tasks, timeout=seconds)
    found = []
    for task in stuck:
        frames = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in task.get_stack()]
        where = " < ".join(reversed(frames[-_LINES:]))
        found.append(f"{task.get_name()} did not end in {seconds:.0f} s; it is at {where}")
        task.cancel()
    return found


async def become_quiet(site: Site, client: Client, seconds: float) -> list[str]:
    """Wait until no operation is open, and tell why each is that still is after so long."""
    deadline = time.monotonic() + seconds
    while numbers := await asyncio.to_thread(open_numbers, site):
        if time.monotonic() > deadline:
            still = [f"{name} stands still" for name in site.addresses if is_stopped(site.record(name))]
            reasons = [(number, await _why(client, number)) for number in numbers]
            return still + [f"operations/{number} did not end in {seconds:.0f} s: {why}" for number, why in reasons]
        await asyncio.sleep(0.25)
    return []


def open_numbers(site: Site) -> list[int]:
    """Return the operations that are open, as jobs.db has them."""
    (path,) = (site.folder / "state").glob("**/jobs.db")
    with closing(sqlite3.connect(path, timeout=10)) as sql:
        return [number for (number,) in sql.execute("SELECT number FROM operation WHERE open ORDER BY number")]


async def _why(client: Client, number: int) -> str:
    """Return what the services themselves say about an operation that goes on."""
    try:
        async with asyncio.timeout(10):
            asked = job_service_pb2.ListJobsRequest(filter=f'operation = "operations/{number}"', page_size=1000)
            told = []
            for job in (await client.jobs.ListJobs(asked)).jobs:
                held = f" held {job_pb2.HeldReason.Name(job.held)}" if job.held else ""
                wait = await client.jobs.ExplainWait(wait_explanation_pb2.ExplainWaitRequest(name=job.name))
                told.append(f"{job.title} {job_pb2.JobState.Name(job.state)}{held}: {wait.summary}")
            return "; ".join(told)
    except (ClientError, TimeoutError) as error:
        return f"nothing is said about it: {type(error).__name__} {error}"
