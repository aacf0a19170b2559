"""The people of the torture, who decide what the services leave to them.

Refused undos are tried again, or what they leave is accepted; operations that were set aside go on, and filters go: a
client whose operation a filter keeps back would ask for nothing more.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from contextlib import suppress

from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.jobs.v1 import job_control_pb2, job_pb2, job_service_pb2
from virtyard.api.operations.v1 import delete_filter_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

_PAUSE_SECONDS = 3.0
_LIMIT_SECONDS = 10.0
_ACCEPTED = 0.3
"""How often what is left is accepted rather than tried again."""


async def decide_for_ever(client: Client, over: asyncio.Event, rng: random.Random, count: Counter[str]) -> None:
    """Decide again and again until it is over."""
    while not over.is_set():
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(_LIMIT_SECONDS):
                await decide(client, rng, count)
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _PAUSE_SECONDS)


async def decide(client: Client, rng: random.Random, count: Counter[str]) -> None:
    """Have refused undos tried again or accepted, let go on what was set aside, and have every filter deleted."""
    held = "state = ROLLBACK_FAILED OR held = POISON OR held = PERSON"
    wanted = job_service_pb2.ListJobsRequest(filter=held, page_size=1000)
    for job in (await client.jobs.ListJobs(wanted)).jobs:
        with suppress(ClientError):  # it went on meanwhile, or its service is away
            if job.state != job_pb2.JOB_STATE_ROLLBACK_FAILED:
                await client.jobs.ReleaseJob(job_control_pb2.ReleaseJobRequest(name=job.name))
            elif rng.random() < _ACCEPTED:
                await client.jobs.AcceptJob(job_service_pb2.AcceptJobRequest(name=job.name))
                count["accept"] += 1
            else:
                await client.jobs.RetryJob(job_service_pb2.RetryJobRequest(name=job.name))
                count["retry"] += 1
    for each in (await client.inventory.ListFilters(inventory_service_pb2.ListFiltersRequest(page_size=1000))).filters:
        with suppress(ClientError):
            request = delete_filter_pb2.DeleteFilterRequest(name=each.name, request_id=str(uuid.uuid4()))
            await client.operations.DeleteFilter(request)
