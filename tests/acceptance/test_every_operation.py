"""Every operation type on a real site: as previewed, refused without a trace, undone at each step, done once if killed.

Each type is covered by its example in `tests/examples`; a type that has none is named here.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from tests.acceptance.asking import (
    FAILED,
    LIMIT,
    SUCCEEDED,
    ask,
    create_pool,
    create_repository,
    list_jobs,
    list_locks,
    picture,
    run,
    wait_unlocked,
)
from tests.acceptance.killing import done_twice, run_through_the_kill
from tests.acceptance.lives import check_lives, check_taken_back, versions
from tests.acceptance.site import Site, open_site
from tests.examples.contract import Example, load
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard.operations.catalogue import load as load_types
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(180)

EXAMPLES = load()
SERVERS = ("s1", "s2", "s3", "s4")
KILLS = ("jobs.C1", "jobs.C2", "jobs.Ct", "inventory.I", "locks.L1")
AGENT_KILLS = ("agent.A1", "agent.acted", "agent.A2")
TORTURE = bool(os.environ.get("VIRTYARD_TORTURE"))
"""Kill at every moment and not at two for each type; `make torture` sets it."""
_CHANGES = re.compile(r"'(generation|etag|updateTime)': '[^']*',? ?")


def test_every_operation_type_has_an_example() -> None:
    """A type that is added without one is named by this test."""
    types = {re.sub(r"(?<!^)(?=[A-Z])", "_", name.rpartition(".")[2]).lower() for name in load_types()}
    assert types == set(EXAMPLES)


@asynccontextmanager
async def prepared(example: Example) -> AsyncIterator[tuple[Site, Client]]:
    """Run a site that is as the example needs it."""
    with open_site("embedded", SERVERS) as site:
        async with site.client() as client:
            await asyncio.gather(
                *(
                    run(
                        client,
                        discover_server_pb2.DiscoverServerRequest(
                            server_id=server, server=server_pb2.Server(agent_address=site.addresses[server])
                        ),
                    )
                    for server in SERVERS
                )
            )
            await run(client, create_pool(site, "pool", ["s1", "s2"], clustered=example.clustered))
            await run(client, create_repository(site, "shared"))
            for request in example.prepare(site):
                await run(client, request)
            await wait_unlocked(client)
            yield site, client


async def preview(client: Client, request: Any) -> plan_pb2.Plan:
    """Return the plan of a request, which changes nothing."""
    asked = type(request)()
    asked.CopyFrom(request)
    asked.validate_only = True
    return operation_pb2.OperationMetadata.FromString((await ask(client, asked)).metadata.value).plan


def without_versions(seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return a picture less what tells only that an object was written: a rolled back write raises it too."""
    return {**seen, "objects": sorted(_CHANGES.sub("", each) for each in seen["objects"])}


def generic(request: Any) -> list[tuple[Any, str, str]]:
    """Return what every request of this shape must be refused: an unknown object, a stale etag."""
    found = []
    fields = request.DESCRIPTOR.fields_by_name
    if {"name", "etag"} <= set(fields):
        unknown, stale = type(request)(), type(request)()
        unknown.CopyFrom(request)
        unknown.name += "x"
        stale.CopyFrom(request)
        stale.etag = "old"
        found += [(unknown, "NOT_FOUND", "name"), (stale, "ETAG_MISMATCH", "etag")]
    return found


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_it_is_refused_without_a_trace_undone_at_each_step_and_runs_as_previewed(name: str) -> None:
    """Bad requests change nothing; a step that fails leaves everything as before; then the same request succeeds."""
    example = EXAMPLES[name]
    async with prepared(example) as (site, client):
        before = await picture(site, client)
        bad = [(case.request(site), case.reason, case.field) for case in example.bad]
        for request, reason, field in [*bad, *generic(example.request(site))]:
            with pytest.raises(ClientError) as refused:
                await ask(client, request)
            assert (refused.value.reason, field) == (reason, _field(refused.value, field)), request
        plan = await preview(client, example.request(site))
        assert await picture(site, client) == before
        assert [job.title for job in plan.jobs] == list(example.titles)

        # What is done only where a job is put off is not reached here, where every host answers.
        steps = [(job, step) for job in plan.jobs for step in job.steps if not step.if_deferred]
        for job, step in steps:
            if step.kind == plan_pb2.STEP_KIND_UNDOABLE:
                with failing(site, job, step):
                    failed = await run(client, example.request(site), ended=FAILED)
                await wait_unlocked(client)
                await check_taken_back(client, failed.name)
                now = without_versions(await picture(site, client))
                assert now == without_versions(before), f"{job.title}: {step.title} failed"

        # From the point of no return on a step is tried again until it is done.
        ran: list[job_pb2.Job] = []
        present = await versions(client)
        pivots = [(job, step) for job, step in steps if step.kind == plan_pb2.STEP_KIND_PIVOT]
        for job, step in pivots:
            with failing(site, job, step):
                operation = await ask(client, example.request(site))
                await tried_again(client, operation.name, job, step)
            assert (await client.wait(operation.name, timeout=LIMIT)).state == SUCCEEDED
            ran = await list_jobs(client, operation.name)
        if not pivots:
            ran = await list_jobs(client, (await run(client, example.request(site))).name)
        await check_lives(client, ran[0].operation, present)
        assert [(job.title, job.object) for job in ran] == [(job.title, job.object) for job in plan.jobs]
        assert [[step.title for step in job.steps] for job in ran] == [
            [step.title for step in job.steps] for job in plan.jobs
        ]
        await wait_unlocked(client)
        assert not await list_locks(client)


@contextmanager
def failing(site: Site, job: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep) -> Iterator[None]:
    """Have a step of any operation refused for a while."""
    site.fail_file.write_text(f"{job.id}/{step.id}")
    try:
        yield
    finally:
        site.fail_file.unlink()


async def tried_again(client: Client, operation: str, job: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep) -> None:
    """Wait until a step has been tried more often than once."""
    async with asyncio.timeout(LIMIT):
        while True:
            jobs = await list_jobs(client, operation)
            if any(
                each.name.endswith(f"-{job.id}") and tried.id == step.id and tried.attempt > 1
                for each in jobs
                for tried in each.steps
            ):
                return
            await asyncio.sleep(0.02)


def _field(error: ClientError, wanted: str) -> str:
    """Return the field that a refusal names; the wanted one if it is among several."""
    named = [violation.field for violation in error.violations] or [error.metadata.get("field", "")]
    return wanted if wanted in named else ", ".join(named)


def kills(number: int, plan: plan_pb2.Plan) -> list[tuple[Sequence[str], str]]:
    """Return who is killed when: all moments in the torture, else two that differ from type to type."""
    on_hosts = any(step.participant != "inventory" for job in plan.jobs for step in job.steps)
    # Which server does a piece of work is chosen anew for each request, so every agent is to die if it is the one.
    agents = [(SERVERS, moment) for moment in AGENT_KILLS] if on_hosts else []
    control = [(("up",), moment) for moment in KILLS]
    if TORTURE:
        return [*control, *agents]
    return [agents[number % len(agents)] if agents and number % 2 else control[number % len(control)]]


@pytest.mark.parametrize(("number", "name"), list(enumerate(sorted(EXAMPLES))))
async def test_it_is_done_once_whoever_is_killed(number: int, name: str) -> None:
    """Killed in the middle and started again, a process takes part to the end: succeeded, one effect for each step."""
    example = EXAMPLES[name]
    moments: list[tuple[Sequence[str], str]] = []
    while True:
        async with prepared(example) as (site, client):
            plan = await preview(client, example.request(site))
            moments = moments or kills(number, plan)
            victims, moment = moments.pop(0)
            for victim in victims:
                site.stop(victim)
                site.start(victim, kill_at=moment)
            story = await run_through_the_kill(site, client, victims, example.request(site))
            assert story.state == SUCCEEDED, (moment, story.error)
            assert [job.title for job in await list_jobs(client, story.name)] == list(example.titles)
            await wait_unlocked(client)
            for process in (*site.control_plane, *SERVERS):
                site.stop(process)
            assert not done_twice(site), moment
        if not moments:
            return
