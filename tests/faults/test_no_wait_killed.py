"""A person's lock that is not to wait, and a scheduler that dies between its commit and its being granted or queued."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from tests.acceptance.asking import LIMIT
from tests.acceptance.site import Site, open_site, until
from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(180)
SERVICE = "virtyard.api.jobs.v1.LockControlService"
OBJECT = "triggers/catch-up"
"""An object that is there from the start."""


async def take(client: Client, request_id: str = "", *, no_wait: bool = False) -> Any:
    """Take a lock for an hour."""
    request = pb.TakeLockRequest(
        object=OBJECT, purpose="backup", duration=Duration(seconds=3600), no_wait=no_wait, request_id=request_id
    )
    return await client.call(SERVICE, "TakeLock", request, pb.PersonLock)


async def locks(client: Client) -> list[Any]:
    """Return everybody's locks; nothing while the scheduler is away."""
    try:
        answer = await client.call(SERVICE, "ListPersonLocks", pb.ListPersonLocksRequest(), pb.ListPersonLocksResponse)
    except ClientError as error:
        if not error.unreachable:
            raise
        return []
    return list(answer.locks)


async def cut(site: Site, client: Client, request_id: str) -> None:
    """Take a lock of which the scheduler dies as soon as it is durable, and start that again."""
    site.stop("jobs")
    site.start("jobs", kill_at="jobs.lock_taken")
    with pytest.raises(ClientError) as told:
        await take(client, request_id, no_wait=True)
    assert told.value.unreachable
    await asyncio.to_thread(until, lambda: not site.is_alive("jobs"), LIMIT, "the scheduler is dead")
    site.start("jobs")


async def test_what_was_not_to_wait_does_not_wait_after_a_crash() -> None:
    """It is refused as soon as the next scheduler is told its place, and its request id is free; else it is held."""
    with open_site("split", servers=(), nursed=True) as site:
        async with site.client() as client:
            holder = await take(client)
            asked = "0d2c2c3e-5f3f-4a4e-9d4c-0f9b7f0c1a11"
            await cut(site, client, asked)
            async with asyncio.timeout(LIMIT):
                while [each.name for each in await locks(client)] != [holder.name]:
                    await asyncio.sleep(0.05)
            with pytest.raises(ClientError, match=f"cannot be locked at once.*{holder.name}"):
                await take(client, asked, no_wait=True)
            await client.call(SERVICE, "ReleaseLock", pb.ReleaseLockRequest(name=holder.name), pb.PersonLock)
            await cut(site, client, asked)
            async with asyncio.timeout(LIMIT):
                while [each.state for each in await locks(client)] != [pb.PERSON_LOCK_STATE_HELD]:
                    await asyncio.sleep(0.05)
            (held,) = await locks(client)
            assert (await take(client, asked, no_wait=True)).name == held.name
