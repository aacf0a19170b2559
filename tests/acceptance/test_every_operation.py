"""Every operation type on a real site: as previewed, refused without a trace, undone at each step.

Each type is covered by its example in `tests/examples`; a type that has none is named here. What kills do to them is in
`tests/faults/test_crash_points.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
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
    wait_offline,
    wait_unlocked,
)
from tests.acceptance.lives import check_lives, check_taken_back, versions
from tests.acceptance.site import Site, open_site
from tests.examples.contract import Bad, Example, load
from tests.integration.crash.stage import TORTURE
from tests.invariants.check import lasting_findings
from tools.points import note
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard.operations.catalogue import load as load_types
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(1800 if TORTURE else 180)

EXAMPLES = load()
SERVERS = ("s1", "s2", "s3", "s4")
WHEN = ("", "acted")
"""When a step fails: before it acts, and after it did all its work."""
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
            if example.gone:
                site.kill(example.gone)
                await wait_offline(client, f"servers/{example.gone}")
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


def generic(request: Any) -> list[Bad]:
    """Return how every request of this shape must be refused: for an unknown object, and for a stale etag.

    The object is named by the request itself, or by the object in one of its fields.
    """
    found = []
    inner = [field.name for field in request.DESCRIPTOR.fields if field.message_type and not field.is_repeated]
    for path in ["", *(name for name in inner if request.HasField(name))]:
        at = f"{path}." if path else ""
        for field, value, reason in (("name", "x", "NOT_FOUND"), ("etag", "old", "ETAG_MISMATCH")):
            wrong = type(request)()
            wrong.CopyFrom(request)
            named = getattr(wrong, path) if path else wrong
            # What is to be made has no name yet.
            if {"name", "etag"} <= set(named.DESCRIPTOR.fields_by_name) and named.name:
                setattr(named, field, getattr(named, field) + value)
                found.append(Bad(request=partial(_same, wrong), reason=reason, field=at + field))
    return found


def _same(request: Any, _: Site) -> Any:
    return request


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_it_is_refused_without_a_trace_undone_at_each_step_and_runs_as_previewed(name: str) -> None:
    """Bad requests change nothing; a step that fails leaves everything as before; then the same request succeeds."""
    example = EXAMPLES[name]
    async with prepared(example) as (site, client):
        before = await picture(site, client)
        for case in [*example.bad, *generic(example.request(site))]:
            request = case.request(site)
            with pytest.raises(ClientError) as refused:
                await ask(client, request)
            said = refused.value.code, refused.value.reason, _field(refused.value, case.field)
            assert said == (case.code, case.reason, case.field), request
        plan = await preview(client, example.request(site))
        assert await picture(site, client) == before
        assert [job.title for job in plan.jobs] == list(example.titles)

        # What is done only where a job is put off is not reached here, where every host answers.
        steps = [(job, step) for job in plan.jobs for step in job.steps if not step.if_deferred]
        for job, step in steps:
            for when in WHEN if step.kind == plan_pb2.STEP_KIND_UNDOABLE else ():
                with failing(site, job, step, when):
                    failed = await run(client, example.request(site), ended=FAILED)
                await wait_unlocked(client)
                await check_taken_back(client, failed.name)
                now = without_versions(await picture(site, client))
                assert now == without_versions(before), f"{job.title}: {step.title} failed {when}"
                found = await asyncio.to_thread(lasting_findings, site.folder, site.shared, site.effect_log)
                assert found == [], f"{job.title}: {step.title} failed {when}"

        present = await versions(client)
        ran = await run_past_failures(site, client, example.request(site), steps)
        note(name, "step", len(steps) * len(WHEN), len(steps) * len(WHEN))
        await check_lives(client, ran[0].operation, present)
        assert [(job.title, job.object) for job in ran] == [(job.title, job.object) for job in plan.jobs]
        assert [[step.title for step in job.steps] for job in ran] == [
            [step.title for step in job.steps] for job in plan.jobs
        ]
        await wait_unlocked(client)
        assert not await list_locks(client)
        assert await asyncio.to_thread(lasting_findings, site.folder, site.shared, site.effect_log) == []


async def run_past_failures(
    site: Site, client: Client, request: Any, steps: Sequence[tuple[plan_pb2.PlannedJob, plan_pb2.PlannedStep]]
) -> list[job_pb2.Job]:
    """Run an operation whose steps fail from the point of no return on: each is tried again until it is done."""
    faults = [(job, step, when) for job, step in steps if step.kind != plan_pb2.STEP_KIND_UNDOABLE for when in WHEN]
    name = ""
    for job, step, when in faults:
        # The next fault takes the place of the last one, so no try comes in between.
        set_fault(site, job, step, when)
        name = name or (await ask(client, request)).name
        attempts = await tried(client, name, job, step)
        async with asyncio.timeout(LIMIT):
            # The first of these may have begun before the fault was there.
            while await tried(client, name, job, step) < attempts + 2:
                await asyncio.sleep(0.02)
    site.fail_file.unlink(missing_ok=True)
    story = await client.wait(name, timeout=LIMIT) if name else await run(client, request)
    assert story.state == SUCCEEDED, story.error
    return await list_jobs(client, story.name)


@contextmanager
def failing(site: Site, job: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep, when: str) -> Iterator[None]:
    """Have a step of any operation fail for a while."""
    set_fault(site, job, step, when)
    try:
        yield
    finally:
        site.fail_file.unlink()


def set_fault(site: Site, job: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep, when: str) -> None:
    """Have a step of any operation fail from now on, and no other one."""
    aside = site.fail_file.with_suffix(".new")
    aside.write_text(f"{job.id}/{step.id} {when}".strip())
    aside.replace(site.fail_file)


async def tried(client: Client, operation: str, job: plan_pb2.PlannedJob, step: plan_pb2.PlannedStep) -> int:
    """Return how often a step has been tried."""
    (found,) = [each for each in await list_jobs(client, operation) if each.name.endswith(f"-{job.id}")]
    return next(each.attempt for each in found.steps if each.id == step.id)


def _field(error: ClientError, wanted: str) -> str:
    """Return the field that a refusal names; the wanted one if it is among several."""
    named = [violation.field for violation in error.violations] or [error.metadata.get("field", "")]
    return wanted if wanted in named else ", ".join(named)
