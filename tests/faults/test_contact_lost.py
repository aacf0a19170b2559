"""A host that falls silent in the middle of an action: it is shown, nothing is guessed, and it goes on afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.longrunning import operations_pb2

from tests.acceptance.asking import (
    FAILED,
    LIMIT,
    SUCCEEDED,
    ask,
    create_machine,
    list_jobs,
    list_locks,
    new_disk,
    picture,
    prepare,
    run,
    start_machine,
    wait_offline,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from tests.faults.killing import done_twice, ledger_states, steps_in_flight
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import confirm_server_dead_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(180)

STEP = "Start the guest"
STOPPED_SECONDS, KILLED_SECONDS = 10.0, 5.0
"""In how many seconds the silence of a host that stands still, and of an agent that is gone, is shown."""


@pytest.fixture
async def place() -> AsyncIterator[tuple[Site, Client]]:
    """A site with a machine that is made; a guest takes 2 s to start."""
    with open_site("embedded", ("s1",)) as site:
        async with site.client() as client:
            await prepare(site, client)
            await run(client, create_machine(site, "web", [new_disk(8)]))
            (folder,) = site.folder.glob("state/**/sim")
            (folder / "settings.json").write_text(json.dumps({"start_seconds": 2}))
            await wait_unlocked(client)
            yield site, client


async def until(condition: Callable[[], Any], seconds: float = LIMIT) -> Any:
    """Return what the awaitable condition gives once that is true."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


async def begin_start(site: Site, client: Client) -> str:
    """Ask for the start of the machine, and return the operation once its host is in the middle of it."""
    operation = await ask(client, start_machine("web"))

    async def acts() -> bool:
        begun = [key for key, title in steps_in_flight(site).items() if title == STEP]
        return bool(begun) and ledger_states(site, "s1", begun[0]) == [participant.EFFECT_STATE_RUNNING]

    await until(acts)
    return str(operation.name)


async def metadata(client: Client, operation: str) -> operation_pb2.OperationMetadata:
    """Return what an operation shows of itself."""
    found = await client.longrunning.GetOperation(operations_pb2.GetOperationRequest(name=operation))
    assert not found.done
    return operation_pb2.OperationMetadata.FromString(found.metadata.value)


async def wait_lost(client: Client, operation: str, seconds: float) -> job_pb2.Job:
    """Wait until the loss of contact is shown, with the server that is meant; return the job."""

    async def is_lost() -> bool:
        return (await list_jobs(client, operation))[0].contact_lost

    await until(is_lost, seconds)
    assert "servers/s1" in (await metadata(client, operation)).waiting_for
    (job,) = await list_jobs(client, operation)
    assert [step.participant for step in job.steps if step.state == job_pb2.STEP_STATE_STARTED] == ["servers/s1"]
    return job


async def host_picture(site: Site, client: Client) -> dict[str, list[str]]:
    """Return what is there, less the processes."""
    return {name: seen for name, seen in (await picture(site, client)).items() if name != "processes"}


async def test_a_host_that_stands_still_is_waited_for(place: tuple[Site, Client]) -> None:
    """Contact is shown as lost, with the server; locks stay and nothing changes; then the operation goes on."""
    site, client = place
    name = await begin_start(site, client)
    before = await host_picture(site, client)
    assert before["locks"]
    with site.paused("s1"):
        await wait_lost(client, name, STOPPED_SECONDS)
        assert await host_picture(site, client) == before
    story = await client.wait(name, timeout=LIMIT)
    assert story.state == SUCCEEDED
    (job,) = await list_jobs(client, name)
    assert not job.contact_lost
    assert len(site.guests()) == 1
    await wait_unlocked(client)
    for process in ("up", "s1"):
        site.stop(process)
    assert not done_twice(site)


async def test_an_abort_waits_for_a_host_that_stands_still(place: tuple[Site, Client]) -> None:
    """It is accepted and shown with what it waits for; until then nothing is undone and no lock is freed."""
    site, client = place
    name = await begin_start(site, client)
    before = await host_picture(site, client)
    with site.paused("s1"):
        job = await wait_lost(client, name, STOPPED_SECONDS)
        answer = await client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job.name, reason="too slow"))
        assert not answer.too_late

        async def turns_round() -> bool:
            return (await list_jobs(client, name))[0].state == job_pb2.JOB_STATE_ROLLING_BACK

        await until(turns_round)
        shown = await metadata(client, name)
        assert (shown.abort_requested, shown.state) == (True, operation_pb2.OPERATION_STATE_ACTIVE)
        job = await wait_lost(client, name, STOPPED_SECONDS)
        assert job.abort_requested
        undone = {job_pb2.STEP_STATE_UNDOING, job_pb2.STEP_STATE_UNDONE}
        assert not undone & {step.state for step in job.steps}
        assert await host_picture(site, client) == before
    assert (await client.wait(name, timeout=LIMIT)).state == operation_pb2.OPERATION_STATE_CANCELLED
    assert site.guests() == []
    await wait_unlocked(client)
    await run(client, start_machine("web"))


async def test_an_agent_that_is_gone_is_waited_for(place: tuple[Site, Client]) -> None:
    """The same for one whose process ended: its successor finds what was begun, and the operation goes on."""
    site, client = place
    name = await begin_start(site, client)
    site.kill("s1")
    await wait_lost(client, name, KILLED_SECONDS)
    assert await list_locks(client)
    await asyncio.to_thread(site.start, "s1")
    assert (await client.wait(name, timeout=LIMIT)).state == SUCCEEDED
    assert len(site.guests()) == 1


async def test_a_host_that_is_confirmed_dead_is_waited_for_no_more(place: tuple[Site, Client]) -> None:
    """Its operation goes back and the locks are free; when its agent returns, what was settled is not done again."""
    site, client = place
    name = await begin_start(site, client)
    (key,) = [key for key, title in steps_in_flight(site).items() if title == STEP]
    site.kill("s1")
    await wait_lost(client, name, KILLED_SECONDS)
    confirm = confirm_server_dead_pb2.ConfirmServerDeadRequest(name="servers/s1", proof="its power cable is pulled")
    with pytest.raises(ClientError, match="it must have been silent until it is offline"):
        await ask(client, confirm)
    await wait_offline(client, "servers/s1")
    await run(client, confirm)
    assert (await client.wait(name, timeout=LIMIT)).state == FAILED
    await wait_unlocked(client)
    await asyncio.to_thread(site.start, "s1")

    async def told() -> bool:
        return ledger_states(site, "s1", key) == [participant.EFFECT_STATE_FAILED]

    await until(told)

    async def refreshed() -> bool:
        jobs = (await client.jobs.ListJobs(job_service_pb2.ListJobsRequest(filter='title = "Refresh Server"'))).jobs
        return [job.state for job in jobs] == [job_pb2.JOB_STATE_COMPLETED]

    await until(refreshed)
    assert site.guests() == []
    await run(client, start_machine("web"))
    await wait_unlocked(client)
    for process in ("up", "s1"):
        site.stop(process)
    assert not done_twice(site)


async def test_what_comes_later_shows_the_silence_too(place: tuple[Site, Client]) -> None:
    """An operation that begins while its host is silent shows it too, and goes on when the host is back."""
    site, client = place
    with site.paused("s1"):
        first = (await ask(client, start_machine("web"))).name
        await wait_lost(client, first, STOPPED_SECONDS)
    assert (await client.wait(first, timeout=LIMIT)).state == SUCCEEDED
